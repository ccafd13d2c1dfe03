"""Keras's optimizers as pure functions over P members, each with its own learning rate."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import keras
from keras import ops

from pipeline.engine import backend
from pipeline.engine.backend import Tensor, Variable

Name = Literal["adam", "sgd"]
Tensors = list[Tensor]
InPlace = Callable[[Variable, Sequence[Variable], Tensor], None]

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7  # Keras's defaults


class Step(NamedTuple):
    """One step: its number () float32, from 1, and hyperparameters (P,), or () of one member."""

    number: Tensor
    rate: Tensor  # of learning
    momentum: Tensor | None  # None: the optimizer has none

    @property
    def of_one(self) -> "Step":
        """That of the only member."""
        momentum = None if self.momentum is None else self.momentum[0]
        return Step(self.number, self.rate[0], momentum)


@dataclass(frozen=True)
class Optimizer:
    """An update of weights and of its own slots.

    `slots`: the number of tensors that it keeps per weight, zero at first. `update`: of (weights,
    slots), given gradients and a step; all but the step have shapes (P, ...). `in_place`: takes one
    member's step, and returns the same update of one weight and its slots as variables.
    """

    slots: int
    update: Callable[
        [Sequence[Tensor], Sequence[Tensors], Sequence[Tensor], Step],
        tuple[Tensors, list[Tensors]],
    ]
    in_place: Callable[[Step], InPlace]


def _adam(
    weights: Sequence[Tensor],
    slots: Sequence[Tensors],
    gradients: Sequence[Tensor],
    step: Step,
) -> tuple[Tensors, list[Tensors]]:
    """`keras.optimizers.Adam` with its defaults. Kingma and Ba 2015."""
    first, second = (ops.power(beta, step.number) for beta in (BETA_1, BETA_2))
    alpha = step.rate * ops.sqrt(1 - second) / (1 - first)
    new_weights, means, squares = [], [], []
    for weight, mean, square, gradient in zip(weights, *slots, gradients, strict=True):
        mean = mean + (gradient - mean) * (1 - BETA_1)
        square = square + (ops.square(gradient) - square) * (1 - BETA_2)
        change = mean * per_member(alpha, weight) / (ops.sqrt(square) + EPSILON)
        new_weights.append(weight - change)
        means.append(mean)
        squares.append(square)
    return new_weights, [means, squares]


def _sgd(
    weights: Sequence[Tensor],
    slots: Sequence[Tensors],
    gradients: Sequence[Tensor],
    step: Step,
) -> tuple[Tensors, list[Tensors]]:
    """`keras.optimizers.SGD` without momentum."""
    pairs = zip(weights, gradients, strict=True)
    return [w - per_member(step.rate, w) * g for w, g in pairs], []


def _momentum(
    weights: Sequence[Tensor],
    slots: Sequence[Tensors],
    gradients: Sequence[Tensor],
    step: Step,
) -> tuple[Tensors, list[Tensors]]:
    """`keras.optimizers.SGD` with momentum, which keeps a velocity. Polyak 1964.

    `v = momentum * v - rate * gradient`, then `w = w + v`.
    """
    velocities = [
        velocity * per_member(step.momentum, velocity) - gradient * per_member(step.rate, gradient)
        for velocity, gradient in zip(*slots, gradients, strict=True)
    ]
    return [w + v for w, v in zip(weights, velocities, strict=True)], [velocities]


def _adam_in_place(step: Step) -> InPlace:
    powers = BETA_1**step.number, BETA_2**step.number

    def update(weight: Variable, slots: Sequence[Variable], gradient: Tensor) -> None:
        mean, square = slots
        betas_and_epsilon = BETA_1, BETA_2, EPSILON
        backend.adam_in_place(weight, mean, square, gradient, step.rate, powers, betas_and_epsilon)

    return update


def _sgd_in_place(step: Step) -> InPlace:
    def update(weight: Variable, slots: Sequence[Variable], gradient: Tensor) -> None:
        backend.sgd_in_place(weight, gradient, step.rate)

    return update


def _momentum_in_place(step: Step) -> InPlace:
    def update(weight: Variable, slots: Sequence[Variable], gradient: Tensor) -> None:
        (velocity,) = slots
        backend.momentum_in_place(weight, velocity, gradient, step.rate, step.momentum)

    return update


# Without momentum SGD has no velocities to keep, so with it, it is another one.
MOMENTUM = "sgd with momentum"
OPTIMIZERS: Mapping[str, Optimizer] = {
    "adam": Optimizer(slots=2, update=_adam, in_place=_adam_in_place),
    "sgd": Optimizer(slots=0, update=_sgd, in_place=_sgd_in_place),
    MOMENTUM: Optimizer(slots=1, update=_momentum, in_place=_momentum_in_place),
}


@dataclass(frozen=True)
class KernelStep:
    """A step on kernels beside the optimizer's, with a strength per member.

    `function(kernel, size)`: the kernels (P, ...) after the step; size = learning_rate * strength,
    (P, 1, ...) with as many axes. `before`: whether it precedes the optimizer's step, whose
    gradients are known by then. Steps with equal names but different functions make different
    programs.
    """

    name: str
    function: Callable[[Tensor, Tensor], Tensor] = field(repr=False)
    before: bool = False

    def of_members(self, kernel: Tensor, size: Tensor) -> Tensor:
        """The kernels (P, ...) after a step with sizes (P,)."""
        return self.function(kernel, per_member(size, kernel))


def max_norm(weight: Tensor, bound: Tensor) -> Tensor:
    """`keras.constraints.MaxNorm` over all axes of a (P, ..., units) kernel but the last.

    bound: (P,) > 0.
    """
    axes = tuple(range(1, len(weight.shape) - 1))
    norms = ops.sqrt(ops.sum(ops.square(weight), axis=axes, keepdims=True))
    desired = ops.minimum(norms, per_member(bound, norms))
    return weight * (desired / (keras.config.epsilon() + norms))


def per_member(values: Tensor, like: Tensor) -> Tensor:
    """(P,) values as (P, 1, ...), to broadcast against a (P, ...) tensor."""
    return ops.reshape(values, (-1, *[1] * (len(like.shape) - 1)))
