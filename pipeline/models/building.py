"""An architecture with a technique's change, as a plain Keras model.

The models have ordinary layers and constants, so they train with `model.fit` as with the engine,
and load with `keras.models.load_model` without this package. Gates are the exception: they train
with both, but `plain` removes them from stored models, and augmentation too.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras

from pipeline.datasets.task import CLASSIFICATION, Task
from pipeline.models.architectures import Autoencoder, Cnn, Lstm, Mlp, Model
from pipeline.models.stack import Stack, hidden_layers, initializer
from pipeline.techniques.changes import Change
from pipeline.techniques.fit import misfit
from pipeline.techniques.part import Part

CODE = "code"  # the layer's name


def build(
    model: Model,
    change: Change,
    input_shape: tuple[int, ...],
    n_classes: int,
    rows: int = 1,
    task: Task = CLASSIFICATION,
) -> keras.Sequential:
    """The architecture with the change, as a built model whose weights are not set yet.

    Args:
        input_shape: of one example, such as (28, 28).
        n_classes: of a task with labels.
        rows: the number of training examples, by which the gates' penalty is divided.
        task: of the data; it decides the output, unless the architecture has its own task.

    Raises ValueError for a change or an input shape that does not fit the architecture.
    """
    if problem := misfit(change, model, len(input_shape) in (2, 3), task):
        raise ValueError(f"{change} {problem}")
    layers = ARCHITECTURES[model.architecture](model, input_shape)
    outputs = _outputs(model.own_task or task, input_shape, n_classes)
    return _changed(change, [*layers, *outputs], input_shape, rows)


def apply(change: Change, model: keras.Sequential, rows: int = 1) -> keras.Sequential:
    """A Sequential of layers that the engine trains, with the change; its weights are not set yet.

    The layers are cloned, and keep every option that the change leaves alone. Hidden layers are
    those with a kernel before the last dense layer, except frozen ones.

    Raises ValueError for names of layers that the model does not have, and for parts that do not
    fit a layer.
    """
    names = {layer.name for layer in hidden_layers(model.layers)}
    for layers, _ in change.at:
        if unknown := set(layers) - {"first", *names}:
            raise ValueError(
                f"expected hidden layers of the model, {sorted(names)}, but got {sorted(unknown)}"
            )
    return _changed(change, model.layers, model.input_shape[1:], rows)


def _changed(
    change: Change, layers: list[keras.Layer], input_shape: tuple[int, ...], rows: int
) -> keras.Sequential:
    stack = Stack(layers, input_shape, rows)
    stack.take(change)
    return keras.Sequential([keras.Input(input_shape), *stack.layers()])


def outline(
    model: Model,
    change: Change,
    input_shape: tuple[int, ...],
    n_classes: int,
    rows: int = 1,
    task: Task = CLASSIFICATION,
) -> keras.Sequential:
    """`build` without memory for the weights, in a third of the time.

    Its layers, shapes and hyperparameters suffice for a member of a population. It can neither
    predict nor take weights.
    """
    with keras.StatelessScope(initialize_variables=False):
        return build(model, change, input_shape, n_classes, rows, task)


def _outputs(task: Task, input_shape: tuple[int, ...], n_classes: int) -> Iterator[keras.Layer]:
    """The task's last layer, and a reshape of its values to the target's shape."""
    units, activation = task.output(n_classes, input_shape)
    yield keras.layers.Dense(units, activation=activation, name="output")
    if len(shape := task.target.shape(input_shape)) > 1:
        yield keras.layers.Reshape(shape, name="reproduction")


def _mlp(model: Mlp | Autoencoder, input_shape: tuple[int, ...]) -> Iterator[keras.Layer]:
    """Every layer except the output is a hidden layer, including an autoencoder's code."""
    if len(input_shape) > 1:
        yield keras.layers.Flatten(name="flatten")
    yield from _hidden_dense(model.dense, model.activation)


def _cnn(model: Cnn, input_shape: tuple[int, ...]) -> Iterator[keras.Layer]:
    """Borders are padded, so that any image allows any number of blocks."""
    if len(input_shape) == 2:
        yield keras.layers.Reshape((*input_shape, 1), name="channel")
    elif len(input_shape) != 3:
        raise ValueError(
            "a cnn takes (rows, columns) or (rows, columns, channels), "
            f"but got input_shape={input_shape}"
        )
    for number, filters in enumerate(model.filters, start=1):
        yield keras.layers.Conv2D(
            filters,
            model.kernel_size,
            padding="same",
            activation=model.activation,
            kernel_initializer=initializer(model.activation),
            name=f"block_{number}",
        )
        yield keras.layers.MaxPooling2D(model.pool, padding="same", name=f"block_{number}_pool")
    yield keras.layers.Flatten(name="flatten")
    yield from _hidden_dense(model.dense, model.activation)


def _lstm(model: Lstm, input_shape: tuple[int, ...]) -> Iterator[keras.Layer]:
    """The last LSTM layer returns its last step, the others return all steps."""
    if len(input_shape) != 2:
        raise ValueError(f"an lstm takes (steps, features), but got input_shape={input_shape}")
    for number, units in enumerate(model.units, start=1):
        sequences = number < len(model.units)
        yield keras.layers.LSTM(units, return_sequences=sequences, name=f"lstm_{number}")
    yield from _hidden_dense(model.dense, model.activation)


def _hidden_dense(dense: Mapping[str, int], activation: str) -> Iterator[keras.Layer]:
    """Dense layers; `dense`: name → units."""
    for name, units in dense.items():
        yield keras.layers.Dense(
            units, activation=activation, kernel_initializer=initializer(activation), name=name
        )


ARCHITECTURES: dict[str, Callable[[Any, tuple[int, ...]], Iterator[keras.Layer]]] = {
    "mlp": _mlp,
    "cnn": _cnn,
    "lstm": _lstm,
    "autoencoder": _mlp,
}


def hidden_kernels(model: keras.Sequential, change: Change, kind: type[Part]) -> tuple[int, ...]:
    """The indices in `model.weights` of the kernels of hidden layers that have a kind of part."""
    kernels = {
        id(layer.weights[0])
        for index, layer in enumerate(hidden_layers(model.layers))
        if change.on(layer.name, index).get(kind) is not None
    }
    return tuple(index for index, weight in enumerate(model.weights) if id(weight) in kernels)
