"""What is measured of a trained Keras model: its predictions, weights and activations."""

import itertools
from collections.abc import Iterator

import keras
import numpy as np
from keras import ops

ROWS_AT_ONCE = 4096  # rows predicted at a time, so that memory does not grow with the data


def predictions(model: keras.Sequential, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """`accuracy`, unpenalised `loss`, and `classes`: how many different ones are predicted."""
    losses, hits, seen = 0.0, 0, set()
    for rows in _batches(len(x)):
        outputs, labels = model(x[rows]), y[rows]
        if outputs.shape[-1] == 1:
            target = labels[:, None].astype(np.float32)
            loss = ops.binary_crossentropy(target, outputs)
            classes = (np.asarray(outputs)[:, 0] > 0.5).astype(np.int32)
        else:
            loss = ops.sparse_categorical_crossentropy(labels, outputs)
            classes = np.asarray(outputs).argmax(axis=1)
        losses += float(np.sum(loss, dtype=np.float64))
        hits += int(np.sum(classes == labels))
        seen.update(np.unique(classes).tolist())
    return {"accuracy": hits / len(x), "loss": losses / len(x), "classes": float(len(seen))}


def zero_weights(model: keras.Sequential) -> float:
    """The share of exact zeros in the kernels."""
    kernels = [np.asarray(weight) for weight in model.weights if len(weight.shape) > 1]
    return sum(int(np.sum(k == 0)) for k in kernels) / sum(k.size for k in kernels)


def activations(model: keras.Sequential, x: np.ndarray) -> dict[str, float]:
    """`zero_activations`, a share, and `mean_activation`, of |h|, over units of hidden layers."""
    zeros, total, count = 0, 0.0, 0
    for rows in _batches(len(x)):
        for hidden in _hidden_outputs(model, x[rows]):
            zeros += int(np.sum(hidden == 0))
            total += float(np.sum(np.abs(hidden), dtype=np.float64))
            count += hidden.size
    return {"zero_activations": zeros / count, "mean_activation": total / count}


def _hidden_outputs(model: keras.Sequential, x: np.ndarray) -> Iterator[np.ndarray]:
    """Each hidden layer's output after its non-linearity."""
    layers = model.layers
    for layer, following in itertools.pairwise(layers):
        x = layer(x)
        split = isinstance(layer, keras.layers.Dense) and isinstance(
            following, keras.layers.Activation
        )
        if isinstance(layer, keras.layers.Dense | keras.layers.Activation) and not split:
            yield np.asarray(x)


def _batches(rows: int) -> Iterator[slice]:
    return (slice(i, i + ROWS_AT_ONCE) for i in range(0, rows, ROWS_AT_ONCE))
