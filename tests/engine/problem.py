"""A small problem and the pieces to train it with the engine and with Keras."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np

from pipeline.config import sections
from pipeline.datasets.task import CLASSIFICATION, Task
from pipeline.engine import Engine, Member, Trained, Training
from pipeline.models import building, whitening
from pipeline.models.architectures import Autoencoder, Cnn, Lstm, Mlp, Model
from pipeline.models.initial import initial_weights
from pipeline.models.stack import WHITENING
from pipeline.techniques.fit import misfit
from pipeline.techniques.ranges import Range
from pipeline.techniques.registry import TECHNIQUES
from pipeline.techniques.structure import Whitening
from pipeline.training.trainer import member_hyperparameters, planned, training_of

ROWS, VAL_ROWS, WIDTH = 50, 30, 6
POINT, IMAGE = (WIDTH,), (6, 6)
AUTOENCODER = Autoencoder("autoencoder", (9,), code=4)
# What the techniques are tested on: each on the first that it fits.
SETTINGS: tuple[tuple[Model, tuple[int, ...]], ...] = (
    (Mlp("mlp", (12, 9, 7), "relu"), POINT),
    (Mlp("mlp", (12, 9)), IMAGE),
    (Cnn("cnn", (4,), hidden=(7,)), IMAGE),
    (Lstm("lstm", (5,)), IMAGE),
)


@dataclass(frozen=True)
class Problem:
    """Data with `n_classes` classes, and how members are trained on it."""

    n_classes: int = 3
    batch_size: int = 25  # 50 rows: two batches, which compile in half the time of three and a rest
    epochs: int = 4
    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: float = 0.01
    architecture: Model = SETTINGS[0][0]
    shape: tuple[int, ...] = POINT
    momentum: float = 0.0
    task: Task = CLASSIFICATION
    confidence: float = 1.0  # how often larger than usual a member's first output kernel is

    @property
    def aim(self) -> Task:
        """The task of the models."""
        return self.architecture.own_task or self.task

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(0)
        x = rng.normal(size=(ROWS + VAL_ROWS, *self.shape)).astype(np.float32)
        flat = x.reshape(len(x), -1)
        scores = flat @ rng.normal(size=(flat.shape[1], self.n_classes))
        if self.aim.quantity:  # far from 0, in a unit that is large
            return x, (1000 + 30 * scores[:, 0]).astype(np.float32)
        return x, scores.argmax(axis=1).astype(np.int32)

    def model(self, technique: str, values: Mapping[str, float]) -> keras.Sequential:
        change = TECHNIQUES[technique].apply(values)
        return building.build(
            self.architecture, change, self.shape, self.n_classes, ROWS, self.task
        )

    def training(self, technique: str, values: Mapping[str, float]) -> Training:
        how = sections.Training(
            self.optimizer, self.learning_rate, self.batch_size, self.epochs, self.momentum
        )
        change = TECHNIQUES[technique].apply(values)
        n_classes = self.n_classes if self.aim.labels else None
        model = self.model(technique, values)
        return training_of(change, model, how, n_classes, self.aim.quantity)

    def member(
        self,
        technique: str = "none",
        values: Mapping[str, float] | None = None,
        seed: int = 0,
        learning_rate: float | None = None,
    ) -> Member:
        values = values or {}
        model, change = self.model(technique, values), TECHNIQUES[technique].apply(values)
        fitted = {}
        if wanted := change.get(Whitening):
            spectrum = whitening.fit(self.data()[0][:ROWS])
            fitted[WHITENING] = spectrum.layer(wanted.epsilon)
        weights = initial_weights(model, seed, fitted)
        rows = ROWS + VAL_ROWS if planned(change, self.epochs).validation_too else ROWS
        weights[-2] = weights[-2] * self.confidence
        return Member(
            model=model,
            weights=weights,
            learning_rate=learning_rate or self.learning_rate,
            train_rows=np.arange(rows, dtype=np.int32),
            val_rows=np.arange(ROWS, ROWS + VAL_ROWS, dtype=np.int32),
            seed=seed,
            momentum=self.momentum,
            target_mean=990.0 if self.aim.quantity else 0.0,
            target_scale=40.0 if self.aim.quantity else 1.0,
            **member_hyperparameters(change, self.epochs),
        )

    def train(
        self, engine: Engine, members: list[Member], technique: str = "none"
    ) -> list[Trained]:
        values = typical(technique)
        return engine.train(members, self.training(technique, values), *self.data())


def suited(technique: str, **options: Any) -> Problem:
    """A problem for an architecture that the technique fits."""
    change = TECHNIQUES[technique].lowest
    model, shape = next(
        (model, shape)
        for model, shape in SETTINGS
        if misfit(change, model, images=shape == IMAGE) is None
    )
    return Problem(**options, architecture=model, shape=shape)


def typical(technique: str) -> dict[str, float]:
    """Values in the middle of the technique's ranges; a patience and a batch for short runs."""
    values = {name: middle(found) for name, found in TECHNIQUES[technique].search.items()}
    small = {"patience": 1, "log2_batch_size": 4}
    return values | {name: small[name] for name in values.keys() & small.keys()}


def middle(found: Range) -> float:
    value = np.sqrt(found.low * found.high) if found.log else (found.low + found.high) / 2
    return round(value) if found.integer else float(value)


OFF = {"patience": 10**6, "max_norm": 10**6, "horizon": 1, "start": 1}  # of what is not off at 0


def off(technique: str) -> dict[str, float]:
    """Values with which the technique does nothing."""
    return {name: OFF.get(name, 0) for name in TECHNIQUES[technique].search}


def same(one: Trained, other: Trained) -> bool:
    """Equal to the last bit."""
    weights = zip(one.weights, other.weights, strict=True)
    return all(np.array_equal(a, b) for a, b in weights) and all(
        np.array_equal(one.curves[name], other.curves[name], equal_nan=True) for name in one.curves
    )
