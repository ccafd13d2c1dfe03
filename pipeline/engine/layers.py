"""The arithmetic of each class of Keras layer for P members, with the population axis first.

RULES lists the layers that the engine trains. A rule holds the layer's own arithmetic; penalties on
weights and outputs are the same for all layers and belong to `population`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
from keras import ops

from pipeline.engine import backend, images
from pipeline.engine.backend import Tensor
from pipeline.engine.gates import HardConcrete, fixed_gates, open_probability, random_gates
from pipeline.engine.noise import Noise
from pipeline.engine.optimizers import per_member


def _sum(tensor: Tensor) -> Tensor:
    return ops.sum(tensor, axis=tuple(range(1, len(tensor.shape))))


def _mean_cosine(kernel: Tensor) -> Tensor:
    """Mean |cosine| (P,) over pairs of the columns of (P, in, out), in OrthogonalRegularizer."""
    units = kernel.shape[-1]
    columns = ops.normalize(kernel, axis=1)
    cosines = ops.matmul(ops.transpose(columns, (0, 2, 1)), columns)
    off_diagonal = ops.abs(cosines) * (1.0 - ops.eye(units))
    return ops.sum(off_diagonal, axis=(1, 2)) / (units * (units - 1.0))


# By the name of a strength, the penalty (P,) of a tensor (P, ...) at strength 1.
SIZES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "l1": lambda tensor: _sum(ops.abs(tensor)),
    "l2": lambda tensor: _sum(ops.square(tensor)),
    "orthogonal": _mean_cosine,
}


@dataclass
class Pass:
    """One forward pass: what the layers read, and the penalty that they sum."""

    hyperparameters: Mapping[str, Tensor]  # slot → (P,) float32
    noise: Noise | None  # None in evaluation
    linear: keras.Layer | None = None  # the layer whose activation is left to the objective
    # Whether L1 and L2 of a tensor are summed together. XLA leaves a sum without products to
    # YNNPACK, in a tenth of the time; the graph would pass over the weights twice more.
    one_sum: bool = False
    penalty: Tensor = 0.0  # (P,)
    # "<layer's index>.<weight's name>" → new value, of weights that a training pass itself updates
    moved: dict[str, Tensor] = field(default_factory=dict)

    def penalize(self, slot: str, tensor: Tensor, scale: float = 1.0) -> None:
        """Adds `scale * strength * size(tensor)` for each of SIZES whose strength the slot has."""
        strengths = {
            name: self.hyperparameters[own]
            for name in SIZES
            if (own := f"{slot}.{name}") in self.hyperparameters
        }
        if self.one_sum and strengths.keys() >= {"l1", "l2"}:
            l1, l2 = (per_member(strengths.pop(name), tensor) for name in ("l1", "l2"))
            self.penalty += _sum(l1 * ops.abs(tensor) + l2 * ops.square(tensor)) * scale
        for name, strength in strengths.items():
            self.penalty += strength * SIZES[name](tensor) * scale

    def activate(self, layer: Any, y: Tensor) -> Tensor:
        """The output of a layer with an activation."""
        return y if layer is self.linear else layer.activation(y)


@dataclass(frozen=True)
class LayerRule:
    """How the engine treats one class of Keras layer.

    `forward(layer, slot, weights, x, pass)`: its output (P, rows, ...) for its weights, each
    (P, ...). `weights`: their names in the layer's regularizers, in order. `hyperparameters`:
    attributes in which members may differ. `switches`: such attributes for which 0 means off, which
    is another structure. `ranges`: such attributes that are (low, high), or a number for minus to
    plus. `only`: options of the layer's configuration that must have this value.
    """

    forward: Callable[[Any, str, Sequence[Tensor], Tensor, Pass], Tensor]
    weights: tuple[str, ...] = ()
    hyperparameters: tuple[str, ...] = ()
    switches: tuple[str, ...] = ()
    ranges: tuple[str, ...] = ()
    only: Mapping[str, object] = field(default_factory=dict)


def _dense(
    layer: keras.layers.Dense, slot: str, weights: Sequence[Tensor], x: Tensor, run: Pass
) -> Tensor:
    def dense(x: Tensor, kernel: Tensor, *bias: Tensor) -> Tensor:
        return run.activate(layer, sum(bias, ops.matmul(x, kernel)))

    if x.shape[0] == 1:
        return _each_member(dense, x, *weights)
    members, *rows, width = x.shape
    y = _product(ops.reshape(x, (members, -1, width)), weights[0])
    if layer.use_bias:
        y = y + ops.expand_dims(weights[1], 1)
    return ops.reshape(run.activate(layer, y), (members, *rows, layer.units))


def _each_member(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """The function applied to each member's part of the (P, ...) tensors, stacked.

    One member is reshaped, not sliced: its operations are then those of a plain Keras layer,
    which oneDNN fuses and runs at the machine's peak, and the gradient of a slice is a copy.
    TensorFlow removes a pair of inverse reshapes, but not a squeeze of an expanded tensor.
    """
    members = tensors[0].shape[0]
    if members == 1:
        y = function(*(ops.reshape(tensor, tensor.shape[1:]) for tensor in tensors))
        return ops.reshape(y, (1, *y.shape))
    return ops.stack([function(*(tensor[i] for tensor in tensors)) for i in range(members)])


def _product(x: Tensor, kernel: Tensor) -> Tensor:
    """(P, rows, in) times (P, in, out)."""
    members, _, width = x.shape
    if members == 1:
        return _each_member(ops.matmul, x, kernel)
    if width <= 2:  # too thin for a product: multiply and add, fused with what follows
        terms = [x[:, :, i : i + 1] * kernel[:, i : i + 1, :] for i in range(width)]
        return terms[0] if width == 1 else terms[0] + terms[1]
    return ops.matmul(x, kernel)


def _conv_2d(
    layer: keras.layers.Conv2D, slot: str, weights: Sequence[Tensor], x: Tensor, run: Pass
) -> Tensor:
    # One convolution a member, since no backend has a fast one for a batch of kernels.
    def convolve(x: Tensor, kernel: Tensor, *bias: Tensor) -> Tensor:
        y = ops.conv(x, kernel, list(layer.strides), layer.padding)
        return run.activate(layer, backend.add_bias(y, *bias) if bias else y)

    return _each_member(convolve, x, *weights)


def _max_pooling_2d(
    layer: keras.layers.MaxPooling2D, slot: str, weights: Sequence[Tensor], x: Tensor, run: Pass
) -> Tensor:
    rows = ops.reshape(x, (-1, *x.shape[2:]))
    y = ops.max_pool(rows, layer.pool_size, layer.strides, layer.padding)
    return ops.reshape(y, (*x.shape[:2], *y.shape[1:]))


def _global_average_pooling_2d(
    layer: keras.layers.GlobalAveragePooling2D,
    slot: str,
    weights: Sequence[Tensor],
    x: Tensor,
    run: Pass,
) -> Tensor:
    return ops.mean(x, axis=(2, 3), keepdims=layer.keepdims)


def _lstm(
    layer: keras.layers.LSTM, slot: str, weights: Sequence[Tensor], x: Tensor, run: Pass
) -> Tensor:
    """Hochreiter and Schmidhuber 1997, with a forget gate; gates in Keras's order i, f, c, o."""
    members, rows, steps, width = x.shape
    # Time before examples, so that each step reads one block of the projections.
    x = ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (members, steps * rows, width))
    # One product per gate: the rows of all four gates together lie a power of two apart, where
    # caches collide, and their product takes nearly twice as long.
    kernel, recurrent, *bias = (ops.split(weight, 4, axis=-1) for weight in weights)
    projections = [_product(x, gate_kernel) for gate_kernel in kernel]
    for biases in bias:
        projections = [y + ops.expand_dims(b, 1) for y, b in zip(projections, biases, strict=True)]
    shape = (members, steps, rows, layer.units)
    projections = [ops.unstack(ops.reshape(y, shape), axis=1) for y in projections]
    masks = _recurrent_masks(layer, slot, rows, run)
    h = c = ops.zeros((members, rows, layer.units))
    outputs = []
    # Unrolled: 28 steps of 256 units take 0.6 s longer to trace than a loop in the program, and
    # train a tenth faster.
    for projected in zip(*projections, strict=True):
        i, f, candidate, o = (
            projection + _product(h if mask is None else h * mask, weight)
            for projection, mask, weight in zip(projected, masks, recurrent, strict=True)
        )
        c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(candidate)
        h = ops.sigmoid(o) * ops.tanh(c)
        outputs.append(h)
    return ops.stack(outputs, axis=2) if layer.return_sequences else h


def _recurrent_masks(
    layer: keras.layers.LSTM, slot: str, rows: int, run: Pass
) -> Sequence[Tensor | None]:
    """For each gate the mask (P, rows, units) of the recurrent state; None without dropout.

    It is drawn once for all steps, as in Keras's `LSTMCell`.
    """
    rate = run.hyperparameters.get(f"{slot}.recurrent_dropout")
    if run.noise is None or rate is None:
        return [None] * 4
    kept = run.noise.kept(int(slot), (4, rows, layer.units), rate)
    return list(ops.unstack(kept * per_member(1 / (1 - rate), kept), axis=1))


def _reshape(
    layer: keras.layers.Layer, slot: str, weights: Sequence[Tensor], x: Tensor, run: Pass
) -> Tensor:
    """Of Flatten and Reshape, both of which know their output's shape."""
    return ops.reshape(x, (*x.shape[:2], *layer.output.shape[1:]))


def _activation(
    layer: keras.layers.Activation, slot: str, weights: Sequence[Tensor], x: Tensor, run: Pass
) -> Tensor:
    return run.activate(layer, x)


def _dropout(
    layer: keras.layers.Dropout, slot: str, weights: Sequence[Tensor], x: Tensor, run: Pass
) -> Tensor:
    return _drop(slot, tuple(x.shape[1:]), x, run)


def _spatial_dropout_2d(
    layer: keras.layers.SpatialDropout2D, slot: str, weights: Sequence[Tensor], x: Tensor, run: Pass
) -> Tensor:
    return _drop(slot, (x.shape[1], 1, 1, x.shape[-1]), x, run)


def _drop(slot: str, shape: tuple[int, ...], x: Tensor, run: Pass) -> Tensor:
    """Zeroes a share `rate` of x and scales up the rest; the mask (P, *shape) is broadcast."""
    if run.noise is None:
        return x
    rate = run.hyperparameters[f"{slot}.rate"]
    kept = run.noise.kept(int(slot), shape, rate)
    return x * (kept * per_member(1 / (1 - rate), x))


def _alpha_dropout(
    layer: keras.layers.AlphaDropout, slot: str, weights: Sequence[Tensor], x: Tensor, run: Pass
) -> Tensor:
    """Klambauer et al. 2017: SELU's lower limit replaces x; keeps mean 0 and variance 1."""
    if run.noise is None:
        return x
    rate = run.hyperparameters[f"{slot}.rate"]
    kept = run.noise.kept(int(slot), tuple(x.shape[1:]), rate)
    scale = ops.rsqrt((1 - rate) * (1 + rate * SELU_LIMIT**2))
    shift = -scale * SELU_LIMIT * rate
    return (x * kept + SELU_LIMIT * (1 - kept)) * per_member(scale, x) + per_member(shift, x)


def _gaussian_noise(
    layer: keras.layers.GaussianNoise, slot: str, weights: Sequence[Tensor], x: Tensor, run: Pass
) -> Tensor:
    if run.noise is None:
        return x
    normal = run.noise.normal(int(slot), tuple(x.shape[1:]))
    return x + normal * per_member(run.hyperparameters[f"{slot}.stddev"], x)


def _gaussian_dropout(
    layer: keras.layers.GaussianDropout, slot: str, weights: Sequence[Tensor], x: Tensor, run: Pass
) -> Tensor:
    """Srivastava et al. 2014: noise of mean 1 and variance rate / (1 - rate) multiplies x."""
    if run.noise is None:
        return x
    rate = run.hyperparameters[f"{slot}.rate"]
    normal = run.noise.normal(int(slot), tuple(x.shape[1:]))
    return x * (1 + normal * per_member(ops.sqrt(rate / (1 - rate)), x))


def _batch_normalization(
    layer: keras.layers.BatchNormalization,
    slot: str,
    weights: Sequence[Tensor],
    x: Tensor,
    run: Pass,
) -> Tensor:
    """Ioffe and Szegedy 2015: batch statistics in training, moving statistics in evaluation."""
    gamma, beta, *statistics = weights
    if run.noise is not None and layer.trainable:
        batch = ops.moments(x, axes=tuple(range(1, len(x.shape) - 1)))
        names = ("moving_mean", "moving_variance")
        for name, old, new in zip(names, statistics, batch, strict=True):
            run.moved[f"{slot}.{name}"] = old * layer.momentum + new * (1 - layer.momentum)
        statistics = batch
    mean, variance = statistics
    scale = gamma * ops.rsqrt(variance + layer.epsilon)
    shape = (x.shape[0], *[1] * (len(x.shape) - 2), x.shape[-1])
    return x * ops.reshape(scale, shape) + ops.reshape(beta - mean * scale, shape)


def _hard_concrete(
    layer: HardConcrete, slot: str, weights: Sequence[Tensor], x: Tensor, run: Pass
) -> Tensor:
    """Louizos, Welling and Kingma 2018; all examples of a batch share one draw of the gates."""
    (log_alpha,) = weights
    run.penalty += run.hyperparameters[f"{slot}.strength"] * ops.sum(
        open_probability(log_alpha), axis=1
    )
    if run.noise is None:
        gates = fixed_gates(log_alpha)
    else:
        uniform = run.noise.uniform(int(slot), tuple(log_alpha.shape[1:]))
        gates = random_gates(log_alpha, uniform)
    return x * ops.reshape(gates, (-1, *[1] * (len(x.shape) - 2), gates.shape[1]))


def _uniforms(slot: str, count: int, x: Tensor, run: Pass) -> list[Tensor]:
    """`count` draws from [0, 1) for each example of x, (P, rows) each, in Keras's order."""
    assert run.noise is not None
    return list(ops.unstack(run.noise.uniform(int(slot), (x.shape[1], count)), axis=-1))


def _within(slot: str, uniform: Tensor, run: Pass) -> Tensor:
    """Draws (P, rows) from [0, 1), scaled to the range of the slot."""
    low, high = (
        ops.expand_dims(run.hyperparameters[f"{slot}.{end}"], 1) for end in ("low", "high")
    )
    return low + (high - low) * uniform


def _random_translation(
    layer: keras.layers.RandomTranslation,
    slot: str,
    weights: Sequence[Tensor],
    x: Tensor,
    run: Pass,
) -> Tensor:
    if run.noise is None:
        return x
    down, right = _uniforms(slot, 2, x, run)
    down = _within(f"{slot}.height_factor", down, run) * x.shape[2]
    right = _within(f"{slot}.width_factor", right, run) * x.shape[3]
    return images.affine(x, images.shifts(right, down))


def _random_rotation(
    layer: keras.layers.RandomRotation, slot: str, weights: Sequence[Tensor], x: Tensor, run: Pass
) -> Tensor:
    if run.noise is None:
        return x
    turns = _within(f"{slot}.factor", _uniforms(slot, 1, x, run)[0], run)
    return images.affine(x, images.rotations(turns, *x.shape[2:4]))


def _random_zoom(
    layer: keras.layers.RandomZoom, slot: str, weights: Sequence[Tensor], x: Tensor, run: Pass
) -> Tensor:
    if run.noise is None:
        return x
    scale = 1 + _within(f"{slot}.height_factor", _uniforms(slot, 1, x, run)[0], run)
    return images.affine(x, images.zooms(scale, *x.shape[2:4]))


def _random_flip(
    layer: keras.layers.RandomFlip, slot: str, weights: Sequence[Tensor], x: Tensor, run: Pass
) -> Tensor:
    if run.noise is None:
        return x
    flips = ops.expand_dims(_uniforms(slot, 1, x, run)[0] <= 0.5, (2, 3, 4))
    return ops.where(flips, ops.flip(x, axis=3), x)


def _random_erasing(
    layer: keras.layers.RandomErasing, slot: str, weights: Sequence[Tensor], x: Tensor, run: Pass
) -> Tensor:
    """Zhong et al. 2017; each side is drawn as the square root of a share of the area."""
    if run.noise is None:
        return x
    wide, high, left, top = _uniforms(slot, 4, x, run)
    sides = [ops.sqrt(_within(f"{slot}.scale", draw, run)) for draw in (wide, high)]
    return images.erased(x, sides, [left, top])


SELU_LIMIT = -1.0507009873554805 * 1.6732632423543772  # of selu(x) for x to minus infinity
_CHANNELS_LAST = {"data_format": "channels_last"}
_ZERO_OUTSIDE = _CHANNELS_LAST | {
    "fill_mode": "constant",
    "fill_value": 0,
    "interpolation": "bilinear",
}

RULES: Mapping[type, LayerRule] = {
    keras.layers.Dense: LayerRule(_dense, weights=("kernel", "bias")),
    keras.layers.Conv2D: LayerRule(
        _conv_2d,
        weights=("kernel", "bias"),
        only=_CHANNELS_LAST | {"groups": 1, "dilation_rate": (1, 1)},
    ),
    keras.layers.MaxPooling2D: LayerRule(_max_pooling_2d, only=_CHANNELS_LAST),
    keras.layers.GlobalAveragePooling2D: LayerRule(_global_average_pooling_2d, only=_CHANNELS_LAST),
    keras.layers.LSTM: LayerRule(
        _lstm,
        weights=("kernel", "recurrent", "bias"),
        switches=("recurrent_dropout",),
        only={
            "activation": "tanh",
            "recurrent_activation": "sigmoid",
            "dropout": 0,
            "return_state": False,
            "go_backwards": False,
            "stateful": False,
            "unroll": False,
        },
    ),
    keras.layers.BatchNormalization: LayerRule(
        _batch_normalization,
        weights=("gamma", "beta"),
        only={"axis": -1, "center": True, "scale": True, "renorm": False, "synchronized": False},
    ),
    keras.layers.Flatten: LayerRule(_reshape, only=_CHANNELS_LAST),
    keras.layers.Reshape: LayerRule(_reshape),
    keras.layers.Activation: LayerRule(_activation),
    keras.layers.Dropout: LayerRule(
        _dropout, hyperparameters=("rate",), only={"noise_shape": None}
    ),
    keras.layers.SpatialDropout2D: LayerRule(
        _spatial_dropout_2d, hyperparameters=("rate",), only=_CHANNELS_LAST
    ),
    keras.layers.GaussianNoise: LayerRule(_gaussian_noise, hyperparameters=("stddev",)),
    keras.layers.GaussianDropout: LayerRule(_gaussian_dropout, hyperparameters=("rate",)),
    keras.layers.RandomTranslation: LayerRule(
        _random_translation, ranges=("height_factor", "width_factor"), only=_ZERO_OUTSIDE
    ),
    keras.layers.RandomRotation: LayerRule(
        _random_rotation, ranges=("factor",), only=_ZERO_OUTSIDE
    ),
    keras.layers.RandomZoom: LayerRule(
        _random_zoom, ranges=("height_factor",), only=_ZERO_OUTSIDE | {"width_factor": None}
    ),
    keras.layers.RandomFlip: LayerRule(_random_flip, only=_CHANNELS_LAST | {"mode": "horizontal"}),
    keras.layers.RandomErasing: LayerRule(
        _random_erasing,
        ranges=("scale",),
        only=_CHANNELS_LAST | {"factor": (1, 1), "fill_value": 0, "value_range": (0, 1)},
    ),
    keras.layers.AlphaDropout: LayerRule(
        _alpha_dropout, hyperparameters=("rate",), only={"noise_shape": None}
    ),
    HardConcrete: LayerRule(_hard_concrete, hyperparameters=("strength",)),
}
