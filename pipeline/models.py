"""An architecture with a technique's change, as a plain Keras model.

The models hold ordinary layers and ordinary constants, so they train with `model.fit`, load with
`keras.models.load_model` without this package, and are what the engine takes and gives back.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from pipeline.params import Cnn, Lstm, Mlp, Model, misfit
from pipeline.techniques import Activity, Change, Penalty

Arrays = list[np.ndarray]


def build(
    model: Model, change: Change, input_shape: tuple[int, ...], n_classes: int
) -> keras.Sequential:
    """The architecture with the change, built, with weights that are yet to be set.

    Args:
        input_shape: one row's shape, such as (28, 28).
        n_classes: 2 gives one sigmoid unit; more give a softmax over the classes.

    Raises ValueError for a change or an input shape that the architecture does not fit.
    """
    if problem := misfit(change, model):
        raise ValueError(f"{change} {problem}")
    if change.activation:
        model = replace(model, activation=change.activation)
    layers = ARCHITECTURES[model.architecture](model, change, input_shape)
    output = (
        keras.layers.Dense(1, activation="sigmoid", name="output")
        if n_classes == 2
        else keras.layers.Dense(n_classes, activation="softmax", name="output")
    )
    return keras.Sequential([keras.Input(input_shape), *layers, output])


def _mlp(model: Mlp, change: Change, input_shape: tuple[int, ...]) -> Iterator[keras.Layer]:
    if len(input_shape) > 1:
        yield keras.layers.Flatten(name="flatten")
    yield from _hidden_dense(model.hidden, model.activation, change)


def _cnn(model: Cnn, change: Change, input_shape: tuple[int, ...]) -> Iterator[keras.Layer]:
    """Borders are padded, so that any number of blocks fits any image."""
    if len(input_shape) == 2:
        yield keras.layers.Reshape((*input_shape, 1), name="channel")
    elif len(input_shape) != 3:
        raise ValueError(
            "a cnn takes (rows, columns) or (rows, columns, channels), "
            f"but got input_shape={input_shape}"
        )
    for place, filters in enumerate(model.filters):
        name = f"block_{place + 1}"
        size = {"filters": filters, "kernel_size": model.kernel_size, "padding": "same"}
        yield from _activated(keras.layers.Conv2D, size, model.activation, change, place, name)
        yield keras.layers.MaxPooling2D(model.pool, padding="same", name=f"{name}_pool")
        yield from _dropout(change, name)
    yield keras.layers.Flatten(name="flatten")
    yield from _hidden_dense(model.hidden, model.activation, change, len(model.filters))


def _lstm(model: Lstm, change: Change, input_shape: tuple[int, ...]) -> Iterator[keras.Layer]:
    """A kernel's penalty is on the input kernels, as Keras's `kernel_regularizer` of an LSTM is.

    The recurrent kernels get none.
    """
    if len(input_shape) != 2:
        raise ValueError(f"an lstm takes (steps, features), but got input_shape={input_shape}")
    for place, units in enumerate(model.units):
        name = f"lstm_{place + 1}"
        sequences = place < len(model.units) - 1
        penalties = _penalties(change, place)
        yield keras.layers.LSTM(units, return_sequences=sequences, name=name, **penalties)
        yield from _dropout(change, name)
    yield from _hidden_dense(model.hidden, model.activation, change, len(model.units))


ARCHITECTURES: dict[str, Callable[[Any, Change, tuple[int, ...]], Iterator[keras.Layer]]] = {
    "mlp": _mlp,
    "cnn": _cnn,
    "lstm": _lstm,
}


def _hidden_dense(
    hidden: tuple[int, ...], activation: str, change: Change, before: int = 0
) -> Iterator[keras.Layer]:
    """Dense layers, and what the change adds around each; `before`: hidden layers below them."""
    for place, units in enumerate(hidden):
        name, size = f"hidden_{place + 1}", {"units": units}
        yield from _activated(keras.layers.Dense, size, activation, change, before + place, name)
        yield from _dropout(change, name)


def _activated(
    kind: type[keras.Layer],
    size: dict[str, Any],
    activation: str,
    change: Change,
    place: int,
    name: str,
) -> Iterator[keras.Layer]:
    """A layer with the change's penalties, and its non-linearity, apart if one is before it."""
    before = change.activity is not None and change.activity.place == "before"
    own = None if before else activation
    yield kind(activation=own, name=name, **size, **_penalties(change, place))
    if before:
        yield keras.layers.Activation(activation, name=f"{name}_{activation}")


def _dropout(change: Change, name: str) -> Iterator[keras.Layer]:
    if change.dropout is not None:
        yield keras.layers.Dropout(change.dropout, name=f"{name}_dropout")


def _penalties(change: Change, place: int) -> dict[str, keras.Regularizer | None]:
    """The regularizers of the hidden layer in this place, counted from 0."""
    return {
        "kernel_regularizer": _regularizer(change.kernel_of(place)),
        "bias_regularizer": _regularizer(change.bias),
        "activity_regularizer": _activity_regularizer(change.activity),
    }


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


def hidden_kernels(model: keras.Sequential) -> tuple[int, ...]:
    """The places in `model.weights` of what a kernel penalty is on: all but the output's."""
    hidden = [weight for layer in model.layers[:-1] for weight in layer.weights]
    return tuple(place for place, weight in enumerate(hidden) if weight.name == "kernel")


def initial_weights(model: keras.Sequential, seed: int) -> Arrays:
    """Keras's default initial values, decided by the seed and the weights' shapes alone.

    Kernels are Glorot-uniform, recurrent ones orthogonal; biases are 0, an LSTM's forget gate's 1.
    Techniques that add no weights therefore start from the same point at the same seed.
    """
    rng = np.random.default_rng(seed)
    return [_initial(layer, weight, rng) for layer in model.layers for weight in layer.weights]


def _initial(layer: keras.Layer, weight: keras.Variable, rng: np.random.Generator) -> np.ndarray:
    shape = tuple(weight.shape)
    if weight.name == "recurrent_kernel":
        return _orthogonal(shape, rng)
    if len(shape) > 1:
        return _glorot_uniform(shape, rng)
    bias = np.zeros(shape, np.float32)
    if isinstance(layer, keras.layers.LSTM) and layer.unit_forget_bias:
        bias[layer.units : 2 * layer.units] = 1
    return bias


def _glorot_uniform(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Glorot and Bengio 2010. Shape: (in, out), or (rows, columns, in, out) of a convolution."""
    receptive = int(np.prod(shape[:-2]))
    limit = np.sqrt(6.0 / (receptive * (shape[-2] + shape[-1])))
    return rng.uniform(-limit, limit, shape).astype(np.float32)


def _orthogonal(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Orthonormal rows, (units, n * units), uniform over all such. Saxe et al. 2014."""
    q, r = np.linalg.qr(rng.standard_normal(shape[::-1]))
    return (q * np.sign(np.diag(r))).T.astype(np.float32)
