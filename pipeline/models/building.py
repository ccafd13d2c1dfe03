"""An architecture with a technique's change, as a plain Keras model.

The models hold ordinary layers and ordinary constants, so they train with `model.fit`, load with
`keras.models.load_model` without this package, and are what the engine takes and gives back.
Gates are the exception: they train with either. `plain` takes them out of what is stored, and
augmentation too.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from pipeline.config.sections import Autoencoder, Cnn, Lstm, Mlp, Model, misfit
from pipeline.datasets.task import CLASSIFICATION, Task
from pipeline.engine.gates import SPREAD, HardConcrete, fixed_gates
from pipeline.techniques.changes import Activity, Change, Orthogonal, Penalty

Arrays = list[np.ndarray]

WHITENING, CODE = "whitening", "code"  # the layers' names
AUGMENTATION = (
    keras.layers.RandomTranslation,
    keras.layers.RandomRotation,
    keras.layers.RandomZoom,
    keras.layers.RandomFlip,
    keras.layers.RandomErasing,
)
HIDDEN = (keras.layers.Dense, keras.layers.Conv2D, keras.layers.LSTM)
# The probability that a gate is closed at first: as in the code of the L0 article.
FIRST_DROPRATE, DROPRATE = 0.2, 0.5


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
    layers = (
        *_noisy_input(change),
        *ARCHITECTURES[model.architecture](model, change, input_shape),
    )
    stack = [*layers, *_outputs(model.own_task or task, input_shape, n_classes)]
    if change.gates is not None:
        stack = list(_gated(stack, change.gates.strength / rows, input_shape))
    whitening = _whitening(input_shape) if change.whitening else ()
    augmentation = _augmentation(change, input_shape)
    return keras.Sequential([keras.Input(input_shape), *augmentation, *whitening, *stack])


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


def _whitening(input_shape: tuple[int, ...]) -> Iterator[keras.Layer]:
    """A frozen linear layer over all features of a row, so that the model takes raw rows."""
    if len(input_shape) > 1:
        yield keras.layers.Flatten(name="features")
    yield keras.layers.Dense(int(np.prod(input_shape)), trainable=False, name=WHITENING)
    if len(input_shape) > 1:
        yield keras.layers.Reshape(input_shape, name="whitened")


def _augmentation(change: Change, input_shape: tuple[int, ...]) -> Iterator[keras.Layer]:
    layers = list(_transformations(change))
    if layers and len(input_shape) == 2:
        to_image = keras.layers.Reshape((*input_shape, 1), name="image")
        layers = [to_image, *layers, keras.layers.Reshape(input_shape, name="rows")]
    yield from layers


def _transformations(change: Change) -> Iterator[keras.Layer]:
    """Random in training only. What comes in from outside an image is 0, as its background is."""
    outside = {"fill_mode": "constant", "fill_value": 0.0}
    if (size := change.shift) is not None:
        ends = (-size, size)
        yield keras.layers.RandomTranslation(ends, ends, name="shift", **outside)
    if (size := change.rotation) is not None:
        yield keras.layers.RandomRotation((-size, size), name="rotation", **outside)
    if (size := change.zoom) is not None:
        yield keras.layers.RandomZoom((-size, size), name="zoom", **outside)
    if change.flip:
        yield keras.layers.RandomFlip("horizontal", name="flip")
    if (size := change.cutout) is not None:
        always, area = (1.0, 1.0), (size, size)
        yield keras.layers.RandomErasing(
            always, area, fill_value=0.0, value_range=(0, 1), name="cutout"
        )


def _noisy_input(change: Change) -> Iterator[keras.Layer]:
    if change.input_noise is not None:
        yield keras.layers.GaussianNoise(change.input_noise, name="input_noise")
    if change.input_dropout is not None:
        yield keras.layers.Dropout(change.input_dropout, name="input_dropout")


def _mlp(model: Mlp, change: Change, input_shape: tuple[int, ...]) -> Iterator[keras.Layer]:
    if len(input_shape) > 1:
        yield keras.layers.Flatten(name="flatten")
    yield from _hidden_dense(model.dense, model.activation, change)


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
        own = change.on(name, place)
        yield from _activated(keras.layers.Conv2D, size, model.activation, own, place, name)
        yield keras.layers.MaxPooling2D(model.pool, padding="same", name=f"{name}_pool")
        if change.spatial_dropout is not None:
            rate = change.spatial_dropout
            yield keras.layers.SpatialDropout2D(rate, name=f"{name}_spatial_dropout")
        yield from _dropout(own, name)
    yield keras.layers.Flatten(name="flatten")
    yield from _hidden_dense(model.dense, model.activation, change, len(model.filters))


def _lstm(model: Lstm, change: Change, input_shape: tuple[int, ...]) -> Iterator[keras.Layer]:
    """A kernel's penalty is on the input kernels, as Keras's `kernel_regularizer` of an LSTM is.

    The recurrent kernels get none.
    """
    if len(input_shape) != 2:
        raise ValueError(f"an lstm takes (steps, features), but got input_shape={input_shape}")
    for place, units in enumerate(model.units):
        name = f"lstm_{place + 1}"
        sequences = place < len(model.units) - 1
        own = change.on(name, place)
        options = _penalties(own, place) | _constraint(own, keras.layers.LSTM)
        options |= {"recurrent_dropout": change.recurrent_dropout or 0}
        yield keras.layers.LSTM(units, return_sequences=sequences, name=name, **options)
        yield from _dropout(own, name)
    yield from _hidden_dense(model.dense, model.activation, change, len(model.units))


def _autoencoder(
    model: Autoencoder, change: Change, input_shape: tuple[int, ...]
) -> Iterator[keras.Layer]:
    """Every layer but the output is a hidden one, the code too."""
    if len(input_shape) > 1:
        yield keras.layers.Flatten(name="flatten")
    yield from _hidden_dense(model.dense, model.activation, change)


ARCHITECTURES: dict[str, Callable[[Any, Change, tuple[int, ...]], Iterator[keras.Layer]]] = {
    "mlp": _mlp,
    "cnn": _cnn,
    "lstm": _lstm,
    "autoencoder": _autoencoder,
}


def _hidden_dense(
    dense: Mapping[str, int], activation: str, change: Change, before: int = 0
) -> Iterator[keras.Layer]:
    """Dense layers of these units, by name, and what the change adds around each.

    `before`: hidden layers below them.
    """
    for place, (name, units) in enumerate(dense.items(), start=before):
        own = change.on(name, place)
        yield from _activated(keras.layers.Dense, {"units": units}, activation, own, place, name)
        yield from _dropout(own, name)


def _activated(
    kind: type[keras.Layer],
    size: dict[str, Any],
    activation: str,
    change: Change,
    place: int,
    name: str,
) -> Iterator[keras.Layer]:
    """A layer with what is on its weights, and its non-linearity, apart if anything is before it.

    A penalty on the output before the non-linearity is on the layer's own, not on the normalized.
    """
    activation = change.activation or activation
    before = change.activity is not None and change.activity.place == "before"
    # SELU keeps mean and variance only from weights of variance 1 / fan-in.
    first = "lecun_normal" if activation == "selu" else "glorot_uniform"
    bounds = _penalties(change, place) | _constraint(change, kind) | {"kernel_initializer": first}
    if not before and not change.batch_norm:
        yield kind(activation=activation, name=name, **size, **bounds)
        return
    after = None if before else bounds.pop("activity_regularizer")
    yield kind(use_bias=not change.batch_norm, name=name, **size, **bounds)
    if change.batch_norm:
        yield keras.layers.BatchNormalization(
            momentum=change.batch_norm.momentum, name=f"{name}_norm"
        )
    yield keras.layers.Activation(
        activation, activity_regularizer=after, name=f"{name}_{activation}"
    )


def _gated(
    layers: list[keras.Layer], strength: float, input_shape: tuple[int, ...]
) -> Iterator[keras.Layer]:
    """The layers with gates on every dense layer's inputs and on every convolution's maps.

    A gate of an input switches the weights that leave it, a gate of a map the map's own filter.
    """
    maps, filter_weights, droprate = "", 0, FIRST_DROPRATE
    channels = input_shape[2] if len(input_shape) == 3 else 1
    for layer in layers:
        if maps and isinstance(layer, (keras.layers.Conv2D, keras.layers.Flatten)):
            yield HardConcrete(strength * filter_weights, DROPRATE, name=f"{maps}_gates")
            maps = ""
        if isinstance(layer, keras.layers.Conv2D):
            maps, droprate = layer.name, DROPRATE
            filter_weights = channels * int(np.prod(layer.kernel_size))
            channels = layer.filters
        elif isinstance(layer, keras.layers.Dense):
            yield HardConcrete(strength * layer.units, droprate, name=f"{layer.name}_gates")
            droprate = DROPRATE
        yield layer


def _dropout(change: Change, name: str) -> Iterator[keras.Layer]:
    if change.dropout is not None:
        yield keras.layers.Dropout(change.dropout, name=f"{name}_dropout")
    if change.gaussian_dropout is not None:
        rate = change.gaussian_dropout
        yield keras.layers.GaussianDropout(rate, name=f"{name}_gaussian_dropout")
    if change.alpha_dropout is not None:
        yield keras.layers.AlphaDropout(change.alpha_dropout, name=f"{name}_alpha_dropout")


def _penalties(change: Change, place: int) -> dict[str, keras.Regularizer | None]:
    """The regularizers of the hidden layer in this place, counted from 0."""
    return {
        "kernel_regularizer": _regularizer(change.kernel_of(place)),
        "bias_regularizer": _regularizer(change.bias),
        "activity_regularizer": _activity_regularizer(change.activity),
    }


def _constraint(
    change: Change, kind: type[keras.Layer]
) -> dict[str, keras.constraints.Constraint | None]:
    """The bound on a hidden layer's kernel; all its axes but the last lead into one unit."""
    if change.max_norm is None:
        return {}
    axis = [0, 1, 2] if kind is keras.layers.Conv2D else 0
    return {"kernel_constraint": keras.constraints.MaxNorm(change.max_norm, axis)}


def _activity_regularizer(activity: Activity | None) -> keras.Regularizer | None:
    return None if activity is None else _regularizer(activity.penalty)


def _regularizer(penalty: Penalty | Orthogonal | None) -> keras.Regularizer | None:
    """The penalty as the plainest Keras regularizer that says it."""
    if penalty is None:
        return None
    if isinstance(penalty, Orthogonal):
        return keras.regularizers.OrthogonalRegularizer(penalty.strength, mode="columns")
    if penalty.l2 == 0:
        return keras.regularizers.L1(penalty.l1)
    if penalty.l1 == 0:
        return keras.regularizers.L2(penalty.l2)
    return keras.regularizers.L1L2(penalty.l1, penalty.l2)


def below_output(model: keras.Sequential) -> list[keras.Layer]:
    """The layers below the output: the last dense one, whatever only reshapes what it gives."""
    dense = [isinstance(layer, keras.layers.Dense) for layer in model.layers]
    return list(model.layers[: max(np.flatnonzero(dense))])


def hidden_kernels(model: keras.Sequential, change: Change, part: str) -> tuple[int, ...]:
    """The places in `model.weights` of the hidden layers' kernels that have a part of a change.

    Frozen layers are no hidden layers.
    """
    layers = [layer for layer in below_output(model) if isinstance(layer, HIDDEN)]
    layers = [layer for layer in layers if layer.trainable]
    kernels = {
        id(layer.weights[0])
        for place, layer in enumerate(layers)
        if getattr(change.on(layer.name, place), part) is not None
    }
    return tuple(place for place, weight in enumerate(model.weights) if id(weight) in kernels)


def initial_weights(model: keras.Sequential, seed: int, given: Mapping[str, Arrays] = {}) -> Arrays:
    """Keras's default initial values, decided by the seed and the weights' shapes alone.

    Kernels are Glorot-uniform, LeCun-normal where the layer asks for it, recurrent ones orthogonal;
    biases are 0, an LSTM's forget gate's 1; a normalization's scale and variance are 1. None but
    kernels are drawn, and gates from a stream of their own, so techniques whose kernels have the
    same shapes and distributions start from the same kernels at the same seed.

    `given`: layer's name → its values, of layers that take theirs from data; nothing is drawn
    for them.
    """
    rng = np.random.default_rng(seed)
    (gates,) = rng.spawn(1)
    return [
        array
        for layer in model.layers
        for array in given.get(layer.name)
        or _drawn(layer, gates if isinstance(layer, HardConcrete) else rng)
    ]


def _drawn(layer: keras.Layer, rng: np.random.Generator) -> Arrays:
    if isinstance(layer, HardConcrete):
        return [rng.normal(layer.mean, SPREAD, layer.log_alpha.shape).astype(np.float32)]
    return [_initial(layer, weight, rng) for weight in layer.weights]


def _initial(layer: keras.Layer, weight: keras.Variable, rng: np.random.Generator) -> np.ndarray:
    shape = tuple(weight.shape)
    if weight.name == "recurrent_kernel":
        return _orthogonal(shape, rng)
    if len(shape) > 1:
        lecun = isinstance(layer.kernel_initializer, keras.initializers.LecunNormal)
        return (_lecun_normal if lecun else _glorot_uniform)(shape, rng)
    if weight.name in ("gamma", "moving_variance"):
        return np.ones(shape, np.float32)
    bias = np.zeros(shape, np.float32)
    if isinstance(layer, keras.layers.LSTM) and layer.unit_forget_bias:
        bias[layer.units : 2 * layer.units] = 1
    return bias


def _glorot_uniform(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Glorot and Bengio 2010. Shape: (in, out), or (rows, columns, in, out) of a convolution."""
    receptive = int(np.prod(shape[:-2]))
    limit = np.sqrt(6.0 / (receptive * (shape[-2] + shape[-1])))
    return rng.uniform(-limit, limit, shape).astype(np.float32)


def _lecun_normal(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """LeCun et al. 1998: variance 1 / fan-in. Cut at two deviations, as Keras does."""
    from scipy import stats  # takes half a second, which a worker can do without

    cut = stats.truncnorm(-2, 2)
    scale = np.sqrt(1 / np.prod(shape[:-1])) / cut.std()
    return np.asarray(scale * cut.rvs(shape, random_state=rng), np.float32)


def _orthogonal(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Orthonormal rows, (units, n * units), uniform over all such. Saxe et al. 2014."""
    q, r = np.linalg.qr(rng.standard_normal(shape[::-1]))
    return (q * np.sign(np.diag(r))).T.astype(np.float32)


def plain(model: keras.Sequential) -> keras.Sequential:
    """A model of Keras's own layers that predicts the same, for inference.

    Without augmentation, which Keras does whenever it is not told `training=False`: even in
    `model(x)`. Without gates, too. A model that has neither is given back itself.
    """
    return _without_gates(_without_augmentation(model))


def _without_augmentation(model: keras.Sequential) -> keras.Sequential:
    kept = [layer for layer in model.layers if not isinstance(layer, AUGMENTATION)]
    if len(kept) == len(model.layers):
        return model
    copies = [type(layer).from_config(layer.get_config()) for layer in kept]
    found = keras.Sequential([keras.Input(model.input_shape[1:]), *copies])
    found.set_weights(model.get_weights())
    return found


def _without_gates(model: keras.Sequential) -> keras.Sequential:
    """The same predictions without gates; without any, the model itself.

    Units and maps behind closed gates are cut out, open gates' values go into the next kernel.
    The input keeps its shape, so an input whose gate is closed has a kernel row of zeros. A layer
    whose gates are all closed keeps one unit, without effect.
    """
    if not any(isinstance(layer, HardConcrete) for layer in model.layers):
        return model
    layers, weights = [], []
    left = np.arange(model.input_shape[-1])  # of the features, the last axis, those that stay,
    values = np.ones(len(left), np.float32)  # and what their gates multiply them by
    for place, layer in enumerate(model.layers):
        if isinstance(layer, HardConcrete):
            values = values * _values(layer)[left]
            continue
        own, config = layer.get_weights(), layer.get_config()
        if isinstance(layer, HIDDEN):
            own[0] = np.take(own[0], left, axis=-2) * values[:, None]
            following = model.layers[place + 1 :]
            # A fixed layer, such as that of whitening, is no hidden one: the gates behind it are
            # those of its outputs as inputs, and stay in the next kernel.
            left = _open(layer, following) if layer.trainable else np.arange(layer.units)
            values = np.ones(len(left), np.float32)
            config["filters" if "filters" in config else "units"] = len(left)
        elif isinstance(layer, keras.layers.Flatten):
            left, values = _flattened(layer.input.shape[1:], left, values)
        elif isinstance(layer, keras.layers.Reshape):  # of the input, so nothing is cut yet
            left = np.arange(layer.output.shape[-1])
            values = np.ones(len(left), np.float32)
        weights += [np.take(weight, left, axis=-1) for weight in own]
        layers.append(type(layer).from_config(config))
    found = keras.Sequential([keras.Input(model.input_shape[1:]), *layers])
    found.set_weights(weights)
    return found


def _values(gates: HardConcrete) -> np.ndarray:
    values: np.ndarray = np.asarray(fixed_gates(gates.log_alpha))
    return values


def _open(layer: keras.Layer, following: list[keras.Layer]) -> np.ndarray:
    """The units, or maps, of a layer whose gates are open, (n,) with n >= 1."""
    for after in following:
        if isinstance(after, HardConcrete):
            found = np.flatnonzero(_values(after))
            return found if len(found) else np.zeros(1, int)
        if isinstance(after, HIDDEN):
            break
    return np.arange(layer.output.shape[-1])


def _flattened(
    shape: tuple[int, ...], left: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What is left of the features, and the values, after Flatten of rows of this shape."""
    places = int(np.prod(shape[:-1]))
    starts = np.arange(places) * shape[-1]
    return np.add.outer(starts, left).ravel(), np.tile(values, places)
