"""Two published results on MNIST, and those of the same networks trained here.

The networks train on all 60,000 training images, as in the articles, and nothing is chosen: the
error is that on the 10,000 test images after the last epoch, from the exported Keras model.
"""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import keras
import numpy as np

from pipeline import datasets
from pipeline.config import sections
from pipeline.config.sections import Final, Study, TechniqueParams, Training, Tuning
from pipeline.datasets import Dataset, origins, raw
from pipeline.datasets.idx import ImagesData
from pipeline.datasets.sources import prepare
from pipeline.execution.executor import LocalExecutor
from pipeline.execution.journal import Journal
from pipeline.execution.runner import Runner
from pipeline.models.architectures import Mlp
from pipeline.stages.fetch import PARTIAL, RAW
from pipeline.training.runs import Plan, Result, Run

# Validation images are also trained on, as in the articles; their scores are not used.
DATA = ImagesData(
    input="data/sources/mnist.yaml",
    validation=100,
    validation_from="last",
    article_trains_on_validation=True,
)
SEEDS = 2

Train = Callable[[Sequence[Run], str], Iterable[Result]]


@dataclass(frozen=True)
class Baseline:
    """A network of an article, its training here, and its published result."""

    hidden: tuple[int, ...]  # units of each layer
    techniques: tuple[str, ...]
    values: Mapping[str, float]  # hyperparameters of the techniques
    batch_size: int
    epochs: int  # two seeds take about five minutes on two cores
    published: str
    differences: str  # between the article's training and this one

    def plan(self, data_digest: str, epochs: int | None, seeds: int) -> Plan:
        """The plan of a study of this network alone; it has runs in the article's setting."""
        study = Study(
            data=DATA,
            model=Mlp("mlp", self.hidden),
            training=Training("adam", 1e-3, self.batch_size, epochs or self.epochs),
            tuning=Tuning(trials=1, seeds=1, round=1, epochs=1),
            final=Final(seeds),
            techniques={"published": TechniqueParams(article=self.values, combine=self.techniques)},
        )
        return Plan("mnist", data_digest, study, study_seed=1, engine=sections.Engine())


BASELINES: Mapping[str, Baseline] = {
    "L0 gates, Louizos, Welling and Kingma 2018": Baseline(
        hidden=(300, 100),
        # The article averages the weights; its code by 0.999 in each step.
        techniques=("l0", "ema"),
        values={"l0.strength": 0.1, "ema.horizon": 1000},
        batch_size=100,
        epochs=200,
        published="1.4 %, 219-214-100 left, at lambda 0.1 / N as here; 1.8 %, 266-88-33 left, with "
        "a lambda for each layer; 200 epochs",
        differences="Glorot's initial weights instead of He's; log_alpha is not clipped to "
        "[log(0.01), log(100)]",
    ),
    "dropout and max-norm, Srivastava et al. 2014": Baseline(
        hidden=(1024, 1024, 1024),
        techniques=("input_dropout", "dropout", "max_norm"),
        values={"input_dropout.rate": 0.2, "dropout.rate": 0.5, "max_norm.max_norm": 2},
        batch_size=128,
        epochs=20,
        published="1.06 % with max-norm, 1.25 % without; a million steps",
        differences="Adam at 0.001 instead of SGD with momentum and a falling learning rate",
    ),
}


def published(epochs: int | None = None, seeds: int = SEEDS) -> None:
    """MNIST, 60,000 training images: error after the last epoch, and published errors."""
    mirror = os.environ.get("DATA_MIRROR") or None
    raw.fetch("mnist", origins.read(DATA.input), RAW / "mnist", PARTIAL / "mnist", mirror)
    dataset = prepare("mnist", DATA, 1, RAW / "mnist")
    with tempfile.TemporaryDirectory() as name:
        prepared = Path(name) / "mnist.npz"
        datasets.save(dataset, prepared)
        journal = Journal("mnist", Path(name))
        with Runner(LocalExecutor(prepared, sections.Engine(), journal), journal) as runner:
            for line in lines(dataset, runner.run, epochs, seeds):
                print(f"  {line}", flush=True)


def lines(dataset: Dataset, train: Train, epochs: int | None, seeds: int) -> Iterator[str]:
    """The table: each network's runs as they finish, and its published result.

    `train` trains runs; its second argument is a title. `epochs` replaces each network's own.
    """
    for title, baseline in BASELINES.items():
        plan = baseline.plan(dataset.digest, epochs, seeds)
        runs = plan.article("published")
        shape = "-".join(map(str, (int(np.prod(dataset.input_shape)), *baseline.hidden)))
        steps = -(-dataset.rows("article", "train", 0).size // baseline.batch_size)
        trained = runs[0].training.epochs
        yield f"{title}: {shape}; epochs: {trained}, of {steps} steps"
        errors = []
        for result in train(runs, "published"):
            errors.append(100 * (1 - result.measures["test_accuracy"]))
            left = "-".join(map(str, architecture(result)))
            yield f"  {errors[-1]:.2f} %, {left} left, {result.measures['seconds']:.0f} s"
        yield f"  mean {mean(errors):.2f} %; seeds: {seeds}"
        yield f"  published: {baseline.published}"
        yield f"  differences to the published training: {baseline.differences}"


def architecture(result: Result) -> tuple[int, ...]:
    """Of an exported network, the number of inputs with a weight and of units per hidden layer."""
    assert result.model is not None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        path.write_bytes(result.model)
        model = keras.models.load_model(path, safe_mode=True)
    first, *others = (weight for weight in model.get_weights() if weight.ndim == 2)
    return (int(np.count_nonzero(first.any(axis=1))), *(len(kernel) for kernel in others))
