"""What one batch order for all epochs costs: article C's network without penalties.

Run r of every kind starts from the same weights, in a process of its own: a seed of TensorFlow
stays for the rest of a process. `fit` gets the arrays, `shuffle=True` and a large
`steps_per_execution`, which changes its speed and not its orders (tests/engine/test_shuffling.py).
A finished run is added to shuffling.csv at once, so that the next call trains only the others.
"""

import csv
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from unittest import mock

import keras
import numpy as np
from scipy import stats

import pipeline.engine
from benchmarks.processes import alone
from benchmarks.work import WORKS
from pipeline import datasets
from pipeline.datasets import Dataset, origins, raw
from pipeline.datasets.idx import ImagesData
from pipeline.datasets.sources import prepare
from pipeline.engine import Engine, Member, backend, batch_order
from pipeline.models.initial import initial_weights
from pipeline.stages.fetch import PARTIAL, RAW

CSV = Path(__file__).with_suffix(".csv")
STUDY = "fashion_mnist"
WORK = WORKS["fashion"]
RUNS = 10
STEPS_PER_EXECUTION = 375  # a fifth of an epoch
CONFIDENCE = 0.95
# All training images are trained on. The engine also validates, on the first of them; not used.
DATA = ImagesData(
    input="data/sources/fashion_mnist.yaml",
    validation=100,
    validation_from="first",
    article_trains_on_validation=True,
)


@dataclass(frozen=True)
class Line:
    """A finished run, as in the file."""

    kind: str
    run: int
    test_accuracy: float  # of the 10,000 test images, after the last epoch
    train_loss: float  # mean over the batches of the last epoch


# Trains the model in the run with this number, and returns its train loss.
Train = Callable[[keras.Sequential, Dataset, int], float]


def shuffling() -> None:
    """Fashion-MNIST, all 60,000 images: one batch order for all epochs, and fresh ones."""
    mirror = os.environ.get("DATA_MIRROR") or None
    raw.fetch(STUDY, origins.read(DATA.input), RAW / STUDY, PARTIAL / STUDY, mirror)
    with tempfile.TemporaryDirectory() as name:
        prepared = Path(name) / f"{STUDY}.npz"
        datasets.save(prepare(STUDY, DATA, 1, RAW / STUDY), prepared)
        for kind, run in missing(finished(CSV)):
            line = alone(measure, kind, run, prepared)
            append(line, CSV)
            print(f"  {kind} {run}: {line.test_accuracy:.2%}", flush=True)
    print("\n".join(f"  {line}" for line in table(finished(CSV))))


def seeded(model: keras.Sequential, dataset: Dataset, run: int) -> float:
    """`fit` after `keras.utils.set_random_seed`: one order for all epochs."""
    keras.utils.set_random_seed(run)
    return _fit(model, dataset)


def unseeded(model: keras.Sequential, dataset: Dataset, run: int) -> float:
    """`fit` without a seed of TensorFlow: an order for each epoch, of which `run` decides none."""
    return _fit(model, dataset)


def engine(model: keras.Sequential, dataset: Dataset, run: int) -> float:
    """The engine: an order for each epoch, from the seed `run`."""
    rows, val_rows = dataset.rows("article", "train", 0), dataset.rows("article", "val", 0)
    member = Member(model, model.get_weights(), WORK.learning_rate, rows, val_rows, seed=run)
    (trained,) = Engine().train([member], WORK.training(WORK.epochs), dataset.x, dataset.y)
    model.set_weights(trained.weights)
    return float(trained.curves["train_loss"][-1])


def engine_one_order(model: keras.Sequential, dataset: Dataset, run: int) -> float:
    """The engine, made to use the order of its first epoch in all of them."""

    def first(seed: int, epoch: int, rows: int) -> np.ndarray:
        return batch_order(seed, 0, rows)

    with mock.patch.object(pipeline.engine, "batch_order", first):
        return engine(model, dataset, run)


KINDS: Mapping[str, Train] = {
    "seeded": seeded,
    "unseeded": unseeded,
    "engine": engine,
    "engine_one_order": engine_one_order,
}
# One order and fresh ones, or two ways to fresh ones.
DIFFERENCES = (
    ("seeded", "unseeded"),
    ("seeded", "engine"),
    ("engine_one_order", "engine"),
    ("engine", "unseeded"),
)


def _fit(model: keras.Sequential, dataset: Dataset) -> float:
    """`fit(shuffle=True)` on arrays, without validation."""
    model.compile(
        keras.optimizers.SGD(WORK.learning_rate),
        "sparse_categorical_crossentropy",
        steps_per_execution=STEPS_PER_EXECUTION,
    )
    x, y = dataset.split("article", "train", 0)
    history = model.fit(x, y, WORK.batch_size, WORK.epochs, verbose=0, shuffle=True).history
    return float(history["loss"][-1])


def measure(kind: str, run: int, prepared: Path) -> Line:
    """One run; the process must be a fresh one."""
    backend.set_up(deterministic=True)
    dataset, model = datasets.load(prepared), WORK.model()
    model.set_weights(initial_weights(model, run))
    train_loss = KINDS[kind](model, dataset, run)
    x, y = dataset.split("article", "test", 0)
    predicted = model.predict(x, batch_size=1_000, verbose=0).argmax(axis=1)
    return Line(kind, run, float(np.mean(predicted == y)), train_loss)


def missing(lines: Sequence[Line]) -> Iterator[tuple[str, int]]:
    """Kind and number of the runs to train, in turn: at any time kinds have equally many."""
    done = {(line.kind, line.run) for line in lines}
    for run in range(RUNS):
        yield from ((kind, run) for kind in KINDS if (kind, run) not in done)


def finished(file: Path) -> list[Line]:
    """The runs in the file, none if it does not exist."""
    if not file.exists():
        return []
    with file.open(encoding="utf-8", newline="") as lines:
        return [
            Line(
                row["kind"], int(row["run"]), float(row["test_accuracy"]), float(row["train_loss"])
            )
            for row in csv.DictReader(lines)
        ]


def append(line: Line, file: Path) -> None:
    """Adds a run to the file, which begins with the names of its columns."""
    new = not file.exists()
    with file.open("a", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        if new:
            writer.writerow(field.name for field in fields(Line))
        kind, run, test_accuracy, train_loss = astuple(line)
        writer.writerow([kind, run, f"{test_accuracy:.4f}", f"{train_loss:.5f}"])


def table(lines: Sequence[Line]) -> Iterator[str]:
    """Markdown: each kind's test accuracy in %, and differences of runs with the same number."""
    accuracies: dict[str, dict[int, float]] = {kind: {} for kind in KINDS}
    losses: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for line in lines:
        accuracies[line.kind][line.run] = 100 * line.test_accuracy
        losses[line.kind].append(line.train_loss)
    yield "| kind | runs | mean, % | 95 % interval | least to most | SD | train loss |"
    yield "|---|---|---|---|---|---|---|"
    for kind, of_runs in accuracies.items():
        values = list(of_runs.values())
        yield (
            f"| {kind} | {len(values)} | {np.mean(values):.2f} | {interval(values, '.2f')} "
            f"| {min(values):.2f} to {max(values):.2f} | {np.std(values, ddof=1):.2f} "
            f"| {np.mean(losses[kind]):.3f} |"
        )
    yield ""
    yield "| difference | pairs | mean, points | 95 % interval |"
    yield "|---|---|---|---|"
    for one, other in DIFFERENCES:
        both = sorted(accuracies[one].keys() & accuracies[other].keys())
        values = [accuracies[one][run] - accuracies[other][run] for run in both]
        yield (
            f"| {one} - {other} | {len(both)} | {np.mean(values):+.2f} "
            f"| {interval(values, '+.2f')} |"
        )


def interval(values: Sequence[float], spec: str) -> str:
    """Student's t interval for the mean."""
    low, high = stats.t.interval(
        CONFIDENCE, len(values) - 1, loc=np.mean(values), scale=stats.sem(values)
    )
    return f"[{low:{spec}}, {high:{spec}}]"
