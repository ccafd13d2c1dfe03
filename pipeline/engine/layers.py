"""What each class of Keras layer computes for P members, with the population axis first.

RULES says which layers the engine trains. A rule holds the layer's own arithmetic; penalties on
weights and outputs are alike for all layers and belong to `population`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
from keras import ops

from pipeline.engine.backend import Tensor
from pipeline.engine.noise import Noise
from pipeline.engine.optimizers import per_member


@dataclass
class Pass:
    """One forward pass: what the layers read, and the penalty that they add up."""

    numbers: Mapping[str, Tensor]  # slot → (P,) float32
    noise: Noise | None  # None while evaluating
    penalty: Tensor = 0.0  # (P,)

    def penalize(self, slot: str, tensor: Tensor, scale: float = 1.0) -> None:
        """Adds `scale * (l1 * sum(|t|) + l2 * sum(t**2))` for the strengths the slot has."""
        axes = tuple(range(1, len(tensor.shape)))
        for name, size in (("l1", ops.abs), ("l2", ops.square)):
            strength = self.numbers.get(f"{slot}.{name}")
            if strength is not None:
                self.penalty += strength * ops.sum(size(tensor), axis=axes) * scale


@dataclass(frozen=True)
class LayerRule:
    """How the engine treats one class of Keras layer.

    `forward(layer, slot, weights, x, pass)`: its output (P, rows, ...) for its weights, each
    (P, ...). `weights`: what a regularizer calls them, in order. `numbers`: attributes that
    members may differ in. `only`: options of the layer's configuration, and the one value of
    each that the engine knows.
    """

    forward: Callable[[Any, str, Sequence[Tensor], Tensor, Pass], Tensor]
    weights: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    only: Mapping[str, object] = field(default_factory=dict)


def _dense(
    layer: keras.layers.Dense, slot: str, weights: Sequence[Tensor], x: Tensor, run: Pass
) -> Tensor:
    def dense(x: Tensor, kernel: Tensor, *bias: Tensor) -> Tensor:
        return layer.activation(sum(bias, ops.matmul(x, kernel)))

    if x.shape[0] == 1:
        return _each_member(dense, x, *weights)
    members, *rows, width = x.shape
    y = _product(ops.reshape(x, (members, -1, width)), weights[0])
    if layer.use_bias:
        y = y + ops.expand_dims(weights[1], 1)
    return ops.reshape(layer.activation(y), (members, *rows, layer.units))


def _each_member(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """The function of each member's part of the (P, ...) tensors, stacked.

    One member is squeezed, not sliced: its operations are then those of a plain Keras layer,
    which oneDNN fuses and runs at the machine's peak, and the gradient of a slice is a copy.
    """
    members = tensors[0].shape[0]
    if members == 1:
        return ops.expand_dims(function(*(ops.squeeze(tensor, 0) for tensor in tensors)), 0)
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
        return layer.activation(sum(bias, y))

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
    kernel, recurrent, *bias = weights
    members, rows, steps, width = x.shape
    # Time before rows, so that each step reads one block of the projections.
    x = ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (members, steps * rows, width))
    projections = sum((ops.expand_dims(b, 1) for b in bias), _product(x, kernel))
    projections = ops.reshape(projections, (members, steps, rows, -1))
    h = c = ops.zeros((members, rows, layer.units))
    outputs = []
    # Unrolled: 28 steps of 256 units trace 0.6 s longer than a loop in the program would, and
    # train a tenth faster.
    for projection in ops.unstack(projections, axis=1):
        i, f, candidate, o = ops.split(projection + _product(h, recurrent), 4, axis=-1)
        c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(candidate)
        h = ops.sigmoid(o) * ops.tanh(c)
        outputs.append(h)
    return ops.stack(outputs, axis=2) if layer.return_sequences else h


def _reshape(
    layer: keras.layers.Layer, slot: str, weights: Sequence[Tensor], x: Tensor, run: Pass
) -> Tensor:
    """Flatten and Reshape: the layer knows its output's shape."""
    return ops.reshape(x, (*x.shape[:2], *layer.output.shape[1:]))


def _activation(
    layer: keras.layers.Activation, slot: str, weights: Sequence[Tensor], x: Tensor, run: Pass
) -> Tensor:
    return layer.activation(x)


def _dropout(
    layer: keras.layers.Dropout, slot: str, weights: Sequence[Tensor], x: Tensor, run: Pass
) -> Tensor:
    return _drop(slot, tuple(x.shape[1:]), x, run)


def _spatial_dropout_2d(
    layer: keras.layers.SpatialDropout2D, slot: str, weights: Sequence[Tensor], x: Tensor, run: Pass
) -> Tensor:
    return _drop(slot, (x.shape[1], 1, 1, x.shape[-1]), x, run)


def _drop(slot: str, shape: tuple[int, ...], x: Tensor, run: Pass) -> Tensor:
    """Zeroes a share `rate` of x and scales the rest up; the mask (P, *shape) is broadcast."""
    if run.noise is None:
        return x
    rate = run.numbers[f"{slot}.rate"]
    bits = run.noise.bits(int(slot), shape)
    threshold = ops.cast(rate * 2.0**32, "uint32")
    kept = ops.cast(bits >= per_member(threshold, bits), x.dtype)
    return x * (kept * per_member(1 / (1 - rate), x))


def _gaussian_noise(
    layer: keras.layers.GaussianNoise, slot: str, weights: Sequence[Tensor], x: Tensor, run: Pass
) -> Tensor:
    if run.noise is None:
        return x
    normal = run.noise.normal(int(slot), tuple(x.shape[1:]))
    return x + normal * per_member(run.numbers[f"{slot}.stddev"], x)


def _gaussian_dropout(
    layer: keras.layers.GaussianDropout, slot: str, weights: Sequence[Tensor], x: Tensor, run: Pass
) -> Tensor:
    """Srivastava et al. 2014: factors of mean 1 and variance rate / (1 - rate)."""
    if run.noise is None:
        return x
    rate = run.numbers[f"{slot}.rate"]
    normal = run.noise.normal(int(slot), tuple(x.shape[1:]))
    return x * (1 + normal * per_member(ops.sqrt(rate / (1 - rate)), x))


_CHANNELS_LAST = {"data_format": "channels_last"}

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
        only={
            "activation": "tanh",
            "recurrent_activation": "sigmoid",
            "dropout": 0,
            "recurrent_dropout": 0,
            "return_state": False,
            "go_backwards": False,
            "stateful": False,
            "unroll": False,
        },
    ),
    keras.layers.Flatten: LayerRule(_reshape, only=_CHANNELS_LAST),
    keras.layers.Reshape: LayerRule(_reshape),
    keras.layers.Activation: LayerRule(_activation),
    keras.layers.Dropout: LayerRule(_dropout, numbers=("rate",), only={"noise_shape": None}),
    keras.layers.SpatialDropout2D: LayerRule(
        _spatial_dropout_2d, numbers=("rate",), only=_CHANNELS_LAST
    ),
    keras.layers.GaussianNoise: LayerRule(_gaussian_noise, numbers=("stddev",)),
    keras.layers.GaussianDropout: LayerRule(_gaussian_dropout, numbers=("rate",)),
}
