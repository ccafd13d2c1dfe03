"""The worked examples of docs/adding-a-technique.md train as they say."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.engine import Engine
from pipeline.models import building
from pipeline.models.stack import hidden_layers
from pipeline.techniques import noise, registry, training
from pipeline.techniques.registry import TECHNIQUES, combination

from .engine.problem import Problem, typical
from .engine.test_equals_fit import check

EXAMPLE = Path("docs/adding-a-technique.md")
MODULES = {
    "pipeline/techniques/noise.py": noise,
    "pipeline/techniques/training.py": training,
    "pipeline/techniques/registry.py": registry,
}
XLA, GRAPH = Engine("xla", 2), Engine("graph", 1)
ENGINES = pytest.mark.parametrize("engine", [XLA, GRAPH], ids=["xla", "graph"])


def blocks() -> list[tuple[str, str]]:
    """(file that the text names before it, code) of each example."""
    text = EXAMPLE.read_text("utf-8")
    pattern = r"`(pipeline/techniques/\w+\.py)`:\n\n```python\n(.*?)```"
    return re.findall(pattern, text, re.S)


@pytest.fixture(autouse=True)
def added(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The example's techniques are registered, as if its code stood in the files that it names."""
    classes: dict[str, Any] = {}
    entries: dict[str, Any] = {}
    for path, code in blocks():
        names = {**vars(MODULES[path]), **classes}
        if path.endswith("registry.py"):
            entries |= eval(f"{{{code}}}", names)
        else:
            exec(code, names)
            classes |= {name: names[name] for name in names.keys() - vars(MODULES[path]).keys()}
    for name, technique in entries.items():
        monkeypatch.setitem(TECHNIQUES, name, technique)
    return entries


def test_a_technique_is_a_class_and_an_entry(added: dict[str, Any]) -> None:
    text = EXAMPLE.read_text("utf-8")
    assert len(blocks()) == text.count("```python") == 2 * len(added) == 4


def test_the_added_layer_trains_as_in_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    check(Problem(), "hidden_noise", typical("hidden_noise"), [XLA, GRAPH], monkeypatch)


def test_the_added_layer_can_be_on_one_layer_and_combined() -> None:
    mixed = combination(["hidden_noise/first", "l2"])
    change = mixed.apply(dict.fromkeys(mixed.search, 0.1))
    problem = Problem()
    model = building.build(problem.architecture, change, problem.shape, 3)
    assert [layer.name for layer in model.layers if "noise" in layer.name] == [
        "hidden_1_hidden_noise"
    ]
    assert all(layer.kernel_regularizer for layer in hidden_layers(model.layers))


@ENGINES
def test_the_added_step_removes_whole_units_and_does_nothing_at_zero(engine: Engine) -> None:
    problem = Problem()
    technique = "proximal_units"
    found = {}
    for strength in (0.0, 4.0):
        values = {"strength": strength}
        member = problem.member(technique, values)
        how = problem.training(technique, values)
        (found[strength],) = engine.train([member], how, *problem.data())
    (baseline,) = problem.train(engine, [problem.member()])
    for name, curve in baseline.curves.items():
        np.testing.assert_allclose(found[0.0].curves[name], curve, rtol=1e-4, atol=1e-6)
    *kernels, output = found[4.0].weights[::2]
    removed = [np.all(kernel == 0, axis=0) for kernel in kernels]
    assert 0 < np.mean(np.concatenate(removed)) < 1
    for kernel, units in zip(kernels, removed, strict=True):
        assert np.all(kernel[:, ~units] != 0)
    assert np.all(output != 0)


def test_values_that_the_added_parts_cannot_have_are_rejected() -> None:
    with pytest.raises(ValueError, match=r"`stddev` must lie in \[0, 1\], but got stddev=2"):
        TECHNIQUES["hidden_noise"].apply({"stddev": 2})
    with pytest.raises(ValueError, match="`strength` must be finite and >= 0"):
        TECHNIQUES["proximal_units"].apply({"strength": -1})
