"""A trained model for inference, of Keras's own layers: without gates and augmentation."""

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
    """A model of Keras's own layers with the same predictions, without augmentation and gates.

    Keras would augment unless called with `training=False`, even in `model(x)`. A model that has
    neither augmentation nor gates is returned itself.
    """
    return _without_gates(_without_augmentation(model))


def _without_augmentation(model: keras.Sequential) -> keras.Sequential:
    kept = [layer for layer in model.layers if not isinstance(layer, AUGMENTATION)]
    if len(kept) == len(model.layers):
        return model
    copies = [type(layer).from_config(layer.get_config()) for layer in kept]
    copy = keras.Sequential([keras.Input(model.input_shape[1:]), *copies])
    copy.set_weights(model.get_weights())
    return copy


def _without_gates(model: keras.Sequential) -> keras.Sequential:
    """A model with the same predictions and no gates; a model without gates is returned itself.

    Units and maps with closed gates are removed; the values of open gates are multiplied into the
    next kernel. The input keeps its shape, so an input with a closed gate has a row of zeros in the
    kernel. A layer whose gates are all closed keeps one unit, which has no effect.
    """
    if not any(isinstance(layer, HardConcrete) for layer in model.layers):
        return model
    layers, weights = [], []
    remaining = np.arange(model.input_shape[-1])  # the features, the last axis, that remain,
    values = np.ones(len(remaining), np.float32)  # and the values of their gates
    for index, layer in enumerate(model.layers):
        if isinstance(layer, HardConcrete):
            values = values * _values(layer)[remaining]
            continue
        own, config = layer.get_weights(), layer.get_config()
        if isinstance(layer, HIDDEN):
            own[0] = np.take(own[0], remaining, axis=-2) * values[:, None]
            following = model.layers[index + 1 :]
            # A frozen layer, such as whitening, is no hidden layer: the gates after it are those of
            # the next layer's inputs, and stay in its kernel.
            remaining = _open(layer, following) if layer.trainable else np.arange(layer.units)
            values = np.ones(len(remaining), np.float32)
            config["filters" if "filters" in config else "units"] = len(remaining)
        elif isinstance(layer, keras.layers.Flatten):
            remaining, values = _flattened(layer.input.shape[1:], remaining, values)
        elif isinstance(layer, keras.layers.Reshape):  # of the input, so nothing is removed yet
            remaining = np.arange(layer.output.shape[-1])
            values = np.ones(len(remaining), np.float32)
        weights += [np.take(weight, remaining, axis=-1) for weight in own]
        layers.append(type(layer).from_config(config))
    ungated = keras.Sequential([keras.Input(model.input_shape[1:]), *layers])
    ungated.set_weights(weights)
    return ungated


def in_own_unit(model: keras.Sequential, mean: float, scale: float) -> keras.Sequential:
    """A copy of a regression's model that predicts `mean + scale * output`, in the target's unit.

    The layer that does so comes last and has no weights, so those of the model stay as trained.
    """
    copies = [type(layer).from_config(layer.get_config()) for layer in model.layers]
    last = keras.layers.Rescaling(scale, mean, name="own_unit")
    copy = keras.Sequential([keras.Input(model.input_shape[1:]), *copies, last])
    copy.set_weights(model.get_weights())
    return copy


def _values(gates: HardConcrete) -> np.ndarray:
    values: np.ndarray = np.asarray(fixed_gates(gates.log_alpha))
    return values


def _open(layer: keras.Layer, following: list[keras.Layer]) -> np.ndarray:
    """The indices (n,) of a layer's units or maps with open gates; n >= 1."""
    for follower in following:
        if isinstance(follower, HardConcrete):
            units = np.flatnonzero(_values(follower))
            return units if len(units) else np.zeros(1, int)
        if isinstance(follower, HIDDEN):
            break
    return np.arange(layer.output.shape[-1])


def _flattened(
    shape: tuple[int, ...], remaining: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The remaining features and their gates' values after Flatten; `shape`: of one example."""
    positions = int(np.prod(shape[:-1]))
    starts = np.arange(positions) * shape[-1]
    return np.add.outer(starts, remaining).ravel(), np.tile(values, positions)
