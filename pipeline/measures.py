"""What is measured of a trained Keras model: its predictions, weights and activations."""

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

# What a layer puts out at a time, at most, so that memory does not grow with the data.
ROWS_AT_ONCE = 16_384
VALUES_AT_ONCE = 2**24  # 64 MB
ACTIVATION_ROWS = 2000  # rows on which activations are measured

Labelled = tuple[np.ndarray, np.ndarray]  # x (n, ...) float32 and y (n,) int32


def measure(model: keras.Sequential, parts: Mapping[Any, Labelled]) -> dict[str, float]:
    """What the model gives on each part, and how sparse it is.

    `<part>_accuracy` and `<part>_loss` (unpenalised) for each part. Of the last part:
    `collapsed`, whether a single class is predicted, `zero_activations`, a share, and
    `mean_activation`, of |h| over rows and units of the hidden layers. `zero_weights` is the
    share of exact zeros in the kernels, recurrent ones included, `parameters` the number of
    weights.
    """
    found: dict[str, float] = {}
    for name, (x, y) in parts.items():
        losses, classes = _predict(model, x, y)
        found[f"{name}_accuracy"] = float(np.mean(classes == y))
        found[f"{name}_loss"] = float(np.mean(losses, dtype=np.float64))
    kernels = [np.asarray(weight) for weight in model.weights if len(weight.shape) > 1]
    return found | {
        "collapsed": len(np.unique(classes)) == 1,
        "zero_weights": sum(int(np.sum(k == 0)) for k in kernels) / sum(k.size for k in kernels),
        "parameters": model.count_params(),
        **_activations(model, x[:ACTIVATION_ROWS]),
    }


def _predict(model: keras.Sequential, x: np.ndarray, y: np.ndarray) -> Labelled:
    """The loss of each row, float32, and the class predicted for it."""
    losses, classes = [], []
    for rows in _parts(model, len(x)):
        outputs, labels = model(x[rows]), y[rows]
        if outputs.shape[-1] == 1:
            target = labels[:, None].astype(np.float32)
            losses.append(np.asarray(ops.binary_crossentropy(target, outputs))[:, 0])
            classes.append(np.asarray(outputs)[:, 0] > 0.5)
        else:
            losses.append(np.asarray(ops.sparse_categorical_crossentropy(labels, outputs)))
            classes.append(np.asarray(outputs).argmax(axis=1))
    return np.concatenate(losses), np.concatenate(classes)


def _parts(model: keras.Sequential, rows: int) -> Iterator[slice]:
    """The rows in parts that the model can take at once."""
    widest = max(_width(layer) for layer in model.layers)
    size = max(1, min(ROWS_AT_ONCE, VALUES_AT_ONCE // widest))
    return (slice(start, start + size) for start in range(0, rows, size))


def _width(layer: keras.Layer) -> int:
    """The values that a layer makes of one row."""
    if isinstance(layer, keras.layers.LSTM):  # of every time step, whatever it puts out
        return int(layer.input.shape[1] * layer.units)
    return int(np.prod(layer.output.shape[1:]))


def _activations(model: keras.Sequential, x: np.ndarray) -> dict[str, float]:
    count, zeros, size = 0, 0, 0.0
    for rows in _parts(model, len(x)):
        for hidden in _hidden_outputs(model, x[rows]):
            count += hidden.size
            zeros += int(np.sum(hidden == 0))
            size += float(np.sum(np.abs(hidden), dtype=np.float64))
    return {"zero_activations": zeros / count, "mean_activation": size / count}


def _hidden_outputs(model: keras.Sequential, x: np.ndarray) -> Iterator[np.ndarray]:
    """Each hidden layer's output after its non-linearity; an LSTM's as the next layer sees it."""
    for layer, following in zip(model.layers[:-1], model.layers[1:], strict=True):
        x = layer(x)
        weighted = isinstance(layer, (keras.layers.Dense, keras.layers.Conv2D, keras.layers.LSTM))
        activated = isinstance(layer, keras.layers.Activation)
        if activated or (weighted and not isinstance(following, keras.layers.Activation)):
            yield np.asarray(x)
