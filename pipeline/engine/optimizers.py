"""Keras's optimizers as pure functions over P members, each with its own learning rate."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from keras import ops

from pipeline.engine.backend import Tensor

Tensors = list[Tensor]


@dataclass(frozen=True)
class Optimizer:
    """`slots` zero tensors a weight, and the update of (weights, slots)."""

    slots: int
    update: Callable[
        [Sequence[Tensor], Sequence[Tensors], Sequence[Tensor], Tensor, Tensor],
        tuple[Tensors, list[Tensors]],
    ]


def _adam(
    weights: Sequence[Tensor],
    slots: Sequence[Tensors],
    gradients: Sequence[Tensor],
    learning_rate: Tensor,
    step: Tensor,
) -> tuple[Tensors, list[Tensors]]:
    """`keras.optimizers.Adam` with its defaults. Kingma and Ba 2015.

    Shapes: weights, gradients and slots (P, ...); learning_rate (P,); step () float32, from 1.
    """
    beta_1, beta_2, epsilon = 0.9, 0.999, 1e-7
    alpha = learning_rate * ops.sqrt(1 - ops.power(beta_2, step)) / (1 - ops.power(beta_1, step))
    new_weights, means, squares = [], [], []
    for weight, mean, square, gradient in zip(weights, *slots, gradients, strict=True):
        mean = mean + (gradient - mean) * (1 - beta_1)
        square = square + (ops.square(gradient) - square) * (1 - beta_2)
        change = mean * per_member(alpha, weight) / (ops.sqrt(square) + epsilon)
        new_weights.append(weight - change)
        means.append(mean)
        squares.append(square)
    return new_weights, [means, squares]


def _sgd(
    weights: Sequence[Tensor],
    slots: Sequence[Tensors],
    gradients: Sequence[Tensor],
    learning_rate: Tensor,
    step: Tensor,
) -> tuple[Tensors, list[Tensors]]:
    """`keras.optimizers.SGD` without momentum; shapes as in Adam."""
    pairs = zip(weights, gradients, strict=True)
    return [w - per_member(learning_rate, w) * g for w, g in pairs], []


OPTIMIZERS: Mapping[str, Optimizer] = {
    "adam": Optimizer(slots=2, update=_adam),
    "sgd": Optimizer(slots=0, update=_sgd),
}


def soft_threshold(weight: Tensor, size: Tensor) -> Tensor:
    """`sign(w) * max(|w| - size, 0)`, the proximal step of `size * sum(|w|)`; size (P,) >= 0."""
    return ops.sign(weight) * ops.relu(ops.abs(weight) - per_member(size, weight))


def per_member(values: Tensor, like: Tensor) -> Tensor:
    """(P,) values shaped (P, 1, ...), to be broadcast against a (P, ...) tensor."""
    return ops.reshape(values, (-1, *[1] * (len(like.shape) - 1)))
