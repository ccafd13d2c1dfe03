"""The trainings that are timed, with `model.fit` and with the engine.

Networks and sizes are those of the articles; the data are random, which does not change the speed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import keras
import numpy as np

from pipeline.engine import Member, Training
from pipeline.models.initial import initial_weights

Layers = Callable[[], list[keras.Layer]]


@dataclass(frozen=True)
class Work:
    """A network, the shape and number of its examples, and how it is trained."""

    title: str
    layers: Layers
    input_shape: tuple[int, ...]
    n_classes: int
    optimizer: Literal["adam", "sgd"]
    learning_rate: float
    batch_size: int
    train: int  # examples
    val: int  # examples
    epochs: int  # of a whole run

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Inputs (train + val, ...) float32 in [0, 1) and labels int32."""
        rng, examples = np.random.default_rng(0), self.train + self.val
        x = rng.random((examples, *self.input_shape), dtype=np.float32)
        return x, rng.integers(self.n_classes, size=examples, dtype=np.int32)

    def model(self) -> keras.Sequential:
        """The network, built."""
        units, activation = (1, "sigmoid") if self.n_classes == 2 else (self.n_classes, "softmax")
        output = keras.layers.Dense(units, activation=activation)
        return keras.Sequential([keras.Input(self.input_shape), *self.layers(), output])

    def training(self, epochs: int) -> Training:
        """The training that the engine's members share."""
        return Training(self.optimizer, self.batch_size, epochs, self.n_classes)

    def member(self, model: keras.Sequential, seed: int) -> Member:
        """A member whose weights, batch order and noise depend on `seed`."""
        indices = np.arange(self.train + self.val, dtype=np.int32)
        weights = initial_weights(model, seed)
        parts = indices[: self.train], indices[self.train :]
        return Member(model, weights, self.learning_rate, *parts, seed)

    def compiled(self) -> keras.Sequential:
        """The network, compiled for `fit`, with weights that no seed decides."""
        model = self.model()
        optimizers = {"adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}
        loss = "binary_crossentropy" if self.n_classes == 2 else "sparse_categorical_crossentropy"
        model.compile(optimizers[self.optimizer](self.learning_rate), loss, metrics=["accuracy"])
        return model

    def flops_per_epoch(self) -> float:
        """Floating-point operations of a dense network's matrix products, including validation."""
        kernels = [w.shape for w in self.model().weights if len(w.shape) == 2]
        products = [int(np.prod(shape)) for shape in kernels]
        forward = 2 * sum(products)
        backward = 2 * forward - 2 * products[0]  # the data need no gradient
        return float(self.train * (forward + backward) + self.val * forward)


def _circles() -> list[keras.Layer]:
    return [keras.layers.Dense(500, activation="relu")]


def _circles_before() -> list[keras.Layer]:
    penalty = keras.regularizers.L1(1e-4)
    return [keras.layers.Dense(500, activity_regularizer=penalty), keras.layers.Activation("relu")]


def _circles_after() -> list[keras.Layer]:
    penalty = keras.regularizers.L1(1e-4)
    return [keras.layers.Dense(500, activation="relu", activity_regularizer=penalty)]


def _circles_dropout() -> list[keras.Layer]:
    return [*_circles(), keras.layers.Dropout(0.25)]


def _dense(*hidden: int, rate: float | None = None) -> Layers:
    def layers() -> list[keras.Layer]:
        stack: list[keras.Layer] = [keras.layers.Flatten()]
        for units in hidden:
            stack.append(keras.layers.Dense(units, activation="relu"))
            stack += [] if rate is None else [keras.layers.Dropout(rate)]
        return stack

    return layers


def _lstm() -> list[keras.Layer]:
    return [keras.layers.LSTM(256)]


def _cnn() -> list[keras.Layer]:
    stack: list[keras.Layer] = [keras.layers.Reshape((28, 28, 1))]
    for filters in (32, 64):
        stack += [
            keras.layers.Conv2D(filters, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
        ]
    return [*stack, keras.layers.Flatten(), keras.layers.Dense(128, activation="relu")]


CIRCLES = Work("circles, article A", _circles, (2,), 2, "adam", 1e-3, 32, 30, 70, 4000)
MNIST = Work(
    "MNIST, article B", _dense(*[500] * 5), (28, 28), 10, "adam", 1e-3, 128, 42_000, 18_000, 10
)
SMALL = replace(MNIST, train=6_400, val=1_280)

WORKS: Mapping[str, Work] = {
    "circles": CIRCLES,
    "circles, activity before": replace(CIRCLES, layers=_circles_before),
    "circles, activity after": replace(CIRCLES, layers=_circles_after),
    "circles, dropout": replace(CIRCLES, layers=_circles_dropout),
    "mnist": MNIST,
    "mnist, dropout": replace(MNIST, layers=_dense(*[500] * 5, rate=0.25)),
    "fashion": Work(
        "Fashion-MNIST, article C", _dense(200, 100, 50), (28, 28), 10, "sgd", 1e-2, 32,
        60_000, 5_000, 60,
    ),
    "lstm": replace(SMALL, title="LSTM 256, rows of 28 x 28", layers=_lstm),
    "cnn": replace(SMALL, title="CNN 32-64-128, 28 x 28", layers=_cnn),
}  # fmt: skip
