"""An architecture with a technique's change, as a plain Keras model.

The models hold ordinary layers and ordinary constants, so they train with `model.fit`, load with
`keras.models.load_model` without this package, and are what the engine takes and gives back.
Gates are the exception: they train with either. `plain` takes them out of what is stored, and
augmentation too.
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
    """The architecture with the change, built, with weights that are yet to be set.

    Args:
        input_shape: one row's shape, such as (28, 28).
        n_classes: of a task with labels.
        rows: of the training data, over which the gates' penalty is spread.
        task: the data's, which decides the output unless the architecture has its own.

    Raises ValueError for a change or an input shape that the architecture does not fit.
    """
    if problem := misfit(change, model, images=len(input_shape) in (2, 3)):
        raise ValueError(f"{change} {problem}")
    layers = ARCHITECTURES[model.architecture](model, input_shape)
    outputs = _outputs(model.own_task or task, input_shape, n_classes)
    return _changed(change, [*layers, *outputs], input_shape, rows)


def apply(change: Change, model: keras.Sequential, rows: int = 1) -> keras.Sequential:
    """A Sequential of layers that the engine trains, with the change; weights are yet to be set.

    Its layers are cloned from their configurations, and keep what the change leaves alone. Hidden
    layers are those with a kernel below the last dense one, but for frozen ones.

    Raises ValueError for names of layers that the model does not have, and for parts that a layer
    has no place for.
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
    """The same without memory for the weights: layers, shapes and numbers, in a third of the time.

    Enough to be a member of a population. It neither predicts nor takes weights.
    """
    with keras.StatelessScope(initialize_variables=False):
        return build(model, change, input_shape, n_classes, rows, task)


def _outputs(task: Task, input_shape: tuple[int, ...], n_classes: int) -> Iterator[keras.Layer]:
    """The task's last layer, and its values in the shape of the target."""
    units, activation = task.output(n_classes, input_shape)
    yield keras.layers.Dense(units, activation=activation, name="output")
    if len(shape := task.target.shape(input_shape)) > 1:
        yield keras.layers.Reshape(shape, name="reproduction")


def _mlp(model: Mlp | Autoencoder, input_shape: tuple[int, ...]) -> Iterator[keras.Layer]:
    """Every layer but the output is a hidden one, an autoencoder's code too."""
    if len(input_shape) > 1:
        yield keras.layers.Flatten(name="flatten")
    yield from _hidden_dense(model.dense, model.activation)


def _cnn(model: Cnn, input_shape: tuple[int, ...]) -> Iterator[keras.Layer]:
    """Borders are padded, so that any number of blocks fits any image."""
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
    """The last LSTM layer gives its last step, the others all steps."""
    if len(input_shape) != 2:
        raise ValueError(f"an lstm takes (steps, features), but got input_shape={input_shape}")
    for number, units in enumerate(model.units, start=1):
        sequences = number < len(model.units)
        yield keras.layers.LSTM(units, return_sequences=sequences, name=f"lstm_{number}")
    yield from _hidden_dense(model.dense, model.activation)


def _hidden_dense(dense: Mapping[str, int], activation: str) -> Iterator[keras.Layer]:
    """Dense layers of these units, by name."""
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
    """The places in `model.weights` of the hidden layers' kernels that have a kind of part."""
    kernels = {
        id(layer.weights[0])
        for index, layer in enumerate(hidden_layers(model.layers))
        if change.on(layer.name, index).get(kind) is not None
    }
    return tuple(place for place, weight in enumerate(model.weights) if id(weight) in kernels)
