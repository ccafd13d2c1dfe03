"""A model as it predicts, of Keras's own layers: without gates, and without augmentation."""

import keras
import numpy as np

from pipeline.engine.gates import HardConcrete, fixed_gates
from pipeline.models.stack import HIDDEN

AUGMENTATION = (
    keras.layers.RandomTranslation,
    keras.layers.RandomRotation,
    keras.layers.RandomZoom,
    keras.layers.RandomFlip,
    keras.layers.RandomErasing,
)


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
