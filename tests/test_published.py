"""The published baselines are trained as they say, and tell what is left of their networks."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import published
from benchmarks.published import BASELINES, architecture, lines
from pipeline.datasets import Dataset, Ints, Part
from pipeline.engine import Engine
from pipeline.engine.gates import HardConcrete
from pipeline.models import building
from pipeline.models.architectures import Mlp
from pipeline.models.plain import plain
from pipeline.techniques.changes import Change
from pipeline.techniques.fit import misfit
from pipeline.techniques.penalties import Gates
from pipeline.techniques.registry import combination
from pipeline.training import exports
from pipeline.training.runs import Result, Run
from pipeline.training.trainer import Trainer


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Three hundred images of 4 x 4 pixels; the test images come last, as in MNIST."""
    rng = np.random.default_rng(0)
    x, y = rng.random((300, 4, 4), np.float32), rng.integers(10, size=300).astype(np.int32)
    rows = np.arange(300, dtype=np.int32)[None]
    parts: dict[Part, Ints] = {
        "train": rows[:, :200],
        "val": rows[:, 190:200],
        "test": rows[:, 200:],
    }
    return Dataset("mnist", 10, x, y, {"article": parts, "leak_free": parts})


@pytest.mark.slow
def test_each_baseline_is_trained_and_told(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = {title: replace(b, hidden=(8,) * len(b.hidden)) for title, b in BASELINES.items()}
    monkeypatch.setattr(published, "BASELINES", narrow)
    results: list[Result] = []
    trained: list[Run] = []

    def train(runs: Sequence[Run], title: str) -> Iterable[Result]:
        trained.extend(runs)
        results.extend(Trainer(dataset, Engine("graph")).run(runs, [None] * len(runs)))
        return results[-len(runs) :]

    text = list(lines(dataset, train, epochs=1, seeds=1))
    assert [line for line in text if not line.startswith("  ")] == [
        f"{title}: 16-{'-'.join(map(str, b.hidden))}; epochs: 1, of 2 steps"
        for title, b in narrow.items()
    ]
    for run, baseline, result in zip(trained, narrow.values(), results, strict=True):
        assert run.values == baseline.values
        assert run.training.epochs == 1
        error = 100 * (1 - result.measures["test_accuracy"])
        assert f"  mean {error:.2f} %; seeds: 1" in text
        assert sum(line.startswith(f"  {error:.2f} %, 16-") for line in text) == 1


@pytest.mark.parametrize("title", BASELINES)
def test_a_baseline_is_a_technique_that_fits_and_trains_all_images(title: str) -> None:
    baseline = BASELINES[title]
    (run,) = baseline.plan("digest", None, 1).article("published")
    assert run.training.epochs == baseline.epochs
    change = combination(baseline.techniques).apply(baseline.values)
    assert run.change == change
    assert misfit(change, run.model) is None
    assert published.DATA.article_trains_on_validation


def test_the_architecture_is_what_open_gates_leave() -> None:
    model = building.build(Mlp("mlp", (9, 5)), Change(Gates(0.1)), (4, 4), 3)
    open_gates = iter([(16, 7), (9, 4), (5, 2)])
    for layer in model.layers:
        if isinstance(layer, HardConcrete):
            size, kept = next(open_gates)
            layer.log_alpha.assign(np.where(np.arange(size) < kept, 3.0, -3.0))
    assert architecture(Result("key", {}, model=exports.saved(plain(model)))) == (7, 4, 2)
