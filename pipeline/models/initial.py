"""The initial weights of a model for a seed."""

from collections.abc import Mapping

import keras
import numpy as np

from pipeline.engine.gates import SPREAD, HardConcrete

Arrays = list[np.ndarray]


def initial_weights(model: keras.Sequential, seed: int, given: Mapping[str, Arrays] = {}) -> Arrays:
    """Keras's default initial values, which depend on the seed and the weights' shapes alone.

    Kernels are Glorot-uniform, or LeCun-normal if the layer's initializer says so; recurrent
    kernels are orthogonal. Biases are 0, those of an LSTM's forget gate 1; the scale and the
    variance of a normalization are 1. Only kernels are drawn, and gates from a separate stream, so
    techniques whose kernels have the same shapes and distributions start from the same kernels.

    `given`: layer's name → its values, for layers that are fitted to data; nothing is drawn for
    them.
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
    """LeCun et al. 1998: variance 1 / fan-in. Truncated at two standard deviations, as in Keras."""
    from scipy import stats  # takes half a second, and few runs need it

    cut = stats.truncnorm(-2, 2)
    scale = np.sqrt(1 / np.prod(shape[:-1])) / cut.std()
    return np.asarray(scale * cut.rvs(shape, random_state=rng), np.float32)


def _orthogonal(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Orthonormal rows, (units, n * units), uniform over all such. Saxe et al. 2014."""
    q, r = np.linalg.qr(rng.standard_normal(shape[::-1]))
    return (q * np.sign(np.diag(r))).T.astype(np.float32)
