"""An architecture with a technique's change, as a plain Keras model.

The models hold ordinary layers and ordinary constants, so they train with `model.fit`, load with
`keras.models.load_model` without this package, and are what the engine takes and gives back.
"""

from collections.abc import Callable, Iterator

import keras
import numpy as np

from pipeline.params import Model
from pipeline.techniques import Activity, Change, Penalty

Arrays = list[np.ndarray]


def build(
    model: Model, change: Change, input_shape: tuple[int, ...], n_classes: int
) -> keras.Sequential:
    """The architecture with the change, built, with weights that are yet to be set.

    Args:
        input_shape: one row's shape, such as (28, 28).
        n_classes: 2 gives one sigmoid unit; more give a softmax over the classes.
    """
    layers = ARCHITECTURES[model.architecture](model, change, input_shape)
    output = (
        keras.layers.Dense(1, activation="sigmoid", name="output")
        if n_classes == 2
        else keras.layers.Dense(n_classes, activation="softmax", name="output")
    )
    return keras.Sequential([keras.Input(input_shape), *layers, output])


def _mlp(model: Model, change: Change, input_shape: tuple[int, ...]) -> Iterator[keras.Layer]:
    if len(input_shape) > 1:
        yield keras.layers.Flatten(name="flatten")
    for number, units in enumerate(model.hidden, start=1):
        yield from _hidden_dense(units, model.activation, change, f"hidden_{number}")


ARCHITECTURES: dict[str, Callable[[Model, Change, tuple[int, ...]], Iterator[keras.Layer]]] = {
    "mlp": _mlp,
}


def _hidden_dense(units: int, activation: str, change: Change, name: str) -> Iterator[keras.Layer]:
    """A dense layer, its non-linearity, and what the change adds around them."""
    before = change.activity is not None and change.activity.place == "before"
    yield keras.layers.Dense(
        units,
        activation=None if before else activation,
        kernel_regularizer=_regularizer(change.kernel),
        activity_regularizer=_activity_regularizer(change.activity),
        name=name,
    )
    if before:
        yield keras.layers.Activation(activation, name=f"{name}_{activation}")
    if change.dropout is not None:
        yield keras.layers.Dropout(change.dropout, name=f"{name}_dropout")


def _activity_regularizer(activity: Activity | None) -> keras.Regularizer | None:
    return None if activity is None else _regularizer(activity.penalty)


def _regularizer(penalty: Penalty | None) -> keras.Regularizer | None:
    """The penalty as the plainest Keras regularizer that says it."""
    if penalty is None:
        return None
    if penalty.l2 == 0:
        return keras.regularizers.L1(penalty.l1)
    if penalty.l1 == 0:
        return keras.regularizers.L2(penalty.l2)
    return keras.regularizers.L1L2(penalty.l1, penalty.l2)


def initial_weights(model: keras.Sequential, seed: int) -> Arrays:
    """Glorot-uniform kernels and zero biases, decided by the seed and the weights' shapes alone.

    Techniques that add no weights therefore start from the same point at the same seed.
    """
    rng = np.random.default_rng(seed)
    return [_glorot_uniform(tuple(weight.shape), rng) for weight in model.weights]


def _glorot_uniform(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    if len(shape) == 1:
        return np.zeros(shape, np.float32)
    receptive = int(np.prod(shape[:-2]))
    limit = np.sqrt(6.0 / (receptive * (shape[-2] + shape[-1])))
    return rng.uniform(-limit, limit, shape).astype(np.float32)
