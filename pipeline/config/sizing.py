"""A study that fits the data and the time: its network, its searches, and how long they take.

The time is that of a training step times the number of steps, beside what a study takes whatever
its size. The constants are those of two cores without a GPU, by a study of 341 training rows and 30
columns, which took 330 s where they say 325.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

FIXED = 45.0  # s: starting the stages, tables, figures and pages
PROGRAM = 6.0  # s of one core, to compile the program of one technique
STEP = 2.1e-4  # s of one core for a step of one member, whatever its size
WORK = 4.5e-11  # s per multiplication of weights and examples, forward and backward
RUN = 0.03  # s of one core for each run: weights, measures, records
FINAL = 0.35  # s of one core for each final run, whose model is measured and stored
SETTINGS = 2  # of final runs: chosen by the score, and by the loss
FEWEST_EPOCHS, MOST_EPOCHS = 30, 300
TRIALS, ROUND = 12, 6
FACTOR = 3  # of the pruning: after a third of the epochs, a third of a round goes on
REPLICATES, LARGE = 10, 2_000  # from so many rows on there are FEW replicates
ROUNDED = 2  # rows that are in no part because shares are rounded
FEW = 5  # replicates of a study with many rows, and at each number of rows
FEWEST_ROWS = 20  # of training, where numbers of rows are compared
MOST_TRAIN = 4_000  # training rows, unless there is more time


@dataclass(frozen=True)
class Shape:
    """What decides the cost of training on some data."""

    rows: int  # that can be used
    inputs: int  # values of an example
    outputs: int  # units of the last layer


@dataclass(frozen=True)
class Sizes:
    """How much is trained, and on how many rows."""

    train: int
    validation: int
    test: int
    replicates: int
    hidden: tuple[int, ...]
    batch: int
    epochs: int
    trials: int

    def steps(self, techniques: int) -> float:
        """All training steps: of trials, of which most end early, and of final runs."""
        rungs = (1 + (FACTOR - 1) / FACTOR) / FACTOR  # epochs of a trial, as a share of all
        epochs = self.epochs * techniques * self.replicates * (self.trials * rungs + SETTINGS)
        return epochs * math.ceil(self.train / self.batch)

    def seconds(self, shape: Shape, techniques: int, cores: int) -> float:
        """The time that a study takes."""
        layers = (shape.inputs, *self.hidden, shape.outputs)
        weights = sum(a * b for a, b in pairwise(layers))
        step = STEP + WORK * 3 * weights * self.batch
        runs = techniques * self.replicates
        busy = self.steps(techniques) * step + runs * (self.trials * RUN + SETTINGS * FINAL)
        return FIXED + (busy + PROGRAM * techniques) / cores


def sizes(shape: Shape, techniques: int, minutes: float, cores: int) -> Sizes:
    """Sizes of a study that takes at most so many minutes, if there is a way.

    More time goes into more epochs, then into more training rows, then into more trials. With too
    little, there are fewer training rows, then fewer replicates.
    """
    test = min(10_000, max(1, round(shape.rows * 0.2)))
    train = min(MOST_TRAIN, max(1, round(shape.rows * 0.6)))
    found = Sizes(
        train=train,
        validation=max(1, min(round(train / 3), shape.rows - train - test)),
        test=test,
        replicates=REPLICATES if shape.rows < LARGE else FEW,
        hidden=_hidden(shape),
        batch=32 if train <= 2_000 else 64,
        epochs=FEWEST_EPOCHS,
        trials=TRIALS,
    )
    return _grown(
        _shrunk(found, shape, techniques, minutes, cores), shape, techniques, minutes, cores
    )


def _hidden(shape: Shape) -> tuple[int, ...]:
    width = 64 if shape.inputs <= 128 else 128
    return (width, width)


def _fits(found: Sizes, shape: Shape, techniques: int, minutes: float, cores: int) -> bool:
    return found.seconds(shape, techniques, cores) <= 60 * minutes


def _shrunk(found: Sizes, shape: Shape, techniques: int, minutes: float, cores: int) -> Sizes:
    """Fewer training rows, then fewer replicates, until it fits or nothing can be less."""
    while not _fits(found, shape, techniques, minutes, cores):
        if found.train > 500:
            train = max(500, found.train // 2)
            found = replace(found, train=train, validation=max(1, train // 3))
        elif found.replicates > FEW:
            found = replace(found, replicates=FEW)
        elif found.trials > ROUND:
            found = replace(found, trials=ROUND)
        else:
            break
    return found


def _grown(found: Sizes, shape: Shape, techniques: int, minutes: float, cores: int) -> Sizes:
    """More epochs, then more training rows, then more trials, as long as it fits."""
    for more in (_more_epochs, _more_rows, _more_trials):
        while (larger := more(found, shape)) is not None and _fits(
            larger, shape, techniques, minutes, cores
        ):
            found = larger
    return found


def _more_epochs(found: Sizes, shape: Shape) -> Sizes | None:
    return replace(found, epochs=found.epochs + 15) if found.epochs < MOST_EPOCHS else None


def _more_rows(found: Sizes, shape: Shape) -> Sizes | None:
    train = min(2 * found.train, round(shape.rows * 0.6))
    validation = min(round(train / 3), shape.rows - train - found.test)
    return replace(found, train=train, validation=validation) if train > found.train else None


def _more_trials(found: Sizes, shape: Shape) -> Sizes | None:
    return replace(found, trials=found.trials + ROUND) if found.trials < 4 * TRIALS else None


def sections(
    found: Sizes, techniques: Sequence[str], outcomes: Sequence[str] = ()
) -> dict[str, Any]:
    """The parts of a study but `data`, as params.yaml has them."""
    return {
        "model": {"architecture": "mlp", "hidden": [*found.hidden], "activation": "relu"},
        "training": {
            "optimizer": "adam",
            "learning_rate": 0.001,
            "batch_size": found.batch,
            "epochs": found.epochs,
        },
        "tuning": {
            "trials": found.trials,
            "seeds": 1,
            "round": ROUND,
            "epochs": found.epochs,
            "learning_rate": {"low": 1.0e-4, "high": 3.0e-2, "log": True},
            "pruning": {"first": found.epochs // FACTOR, "factor": FACTOR},
        },
        "final": {"replicates": found.replicates},
        "outcomes": [*outcomes],
        "techniques": {name: {} for name in techniques},
    }


def rows_sections(found: Sizes, techniques: Sequence[str]) -> dict[str, Any]:
    """The parts of a study but `data` that is repeated at four numbers of training rows."""
    made = sections(replace(found, trials=ROUND, replicates=FEW), techniques)
    ladder = np.geomspace(max(FEWEST_ROWS, found.train // 20), found.train, 4).round().astype(int)
    return {**made, "final": {"replicates": FEW, "vary": {"rows": sorted({*ladder.tolist()})}}}


def rows_of(found: Sizes, shape: Shape) -> Mapping[str, Any]:
    """The rows of each part as the `data` section has them, and how they are split.

    Draws share no row where there are enough rows for that, but those of one test set.
    """
    apart = found.test + found.replicates * (found.train + found.validation) <= shape.rows
    unused = shape.rows - found.train - found.validation - found.test
    return {
        "splits": "one_test" if apart else "repeated",
        "test": found.test,
        "validation": found.validation,
        **({} if unused <= ROUNDED else {"train": found.train}),
        "draws": found.replicates,
    }
