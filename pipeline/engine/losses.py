"""The objectives of training: target, loss, and what counts as a hit.

Shapes: P members, the rows (examples) of a batch, and a model's output for one example.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import keras
from keras import ops

from pipeline.engine import backend
from pipeline.engine.backend import Tensor
from pipeline.engine.optimizers import per_member

Activation = Callable[[Tensor], Tensor]
Shape = tuple[int, ...]


class Objective(Protocol):
    """The part of a program that depends on the task of its models."""

    curves: frozenset[str]  # the curves of a program that have a meaning

    @property
    def asks(self) -> str:
        """Who asks for the output, for errors: such as "a reconstruction has"."""

    @property
    def activation(self) -> Activation | None:
        """Of the last layer, if `score` takes the outputs before it; None: after it."""

    def output_shape(self, input_shape: Shape) -> Shape:
        """The shape of a model's output for one example of this shape."""

    def target(self, x: Tensor, y: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """The targets of examples x (P, rows, ...) with labels y (P, rows).

        `inputs`: of the program; see `Program`.
        """

    def score(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Losses and hits, each (P, rows)."""

    def uniform_loss(self, outputs: Tensor) -> Tensor:
        """Losses (P, rows) of outputs for targets that are uniform over the classes.

        Cross-entropies are linear in the labels, so label smoothing needs only this.
        """


LOSSES = frozenset({"train_loss", "val_loss", "penalty"})
ALL = LOSSES | {"train_accuracy", "val_accuracy"}


@dataclass(frozen=True)
class Classification:
    """Labels, by cross-entropy. `n_classes`: 2 is one sigmoid unit, more a softmax over them.

    Outputs are logits, as in `fit`: a probability rounded to 0 or 1 has no gradient.
    """

    n_classes: int
    curves = ALL

    @property
    def activation(self) -> Activation:
        """Sigmoid or softmax."""
        sigmoid, softmax = keras.activations.sigmoid, keras.activations.softmax
        activation: Activation = sigmoid if self.n_classes == 2 else softmax
        return activation

    @property
    def asks(self) -> str:
        """The classes."""
        return f"{self.n_classes} classes need"

    def output_shape(self, input_shape: Shape) -> Shape:
        """One unit for two classes, else one for each."""
        return (1,) if self.n_classes == 2 else (self.n_classes,)

    def target(self, x: Tensor, y: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """The labels."""
        return y

    def score(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Of outputs (P, rows, units) for labels (P, rows)."""
        if self.n_classes == 2:
            labels = ops.cast(ops.expand_dims(target, -1), outputs.dtype)
            losses = ops.binary_crossentropy(labels, outputs, from_logits=True)[..., 0]
            hits = ops.equal(outputs[..., 0] > 0, target > 0)
        else:
            losses = ops.sparse_categorical_crossentropy(target, outputs, from_logits=True)
            hits = ops.equal(backend.argmax(outputs), target)
        return losses, ops.cast(hits, "float32")

    def uniform_loss(self, outputs: Tensor) -> Tensor:
        """Of outputs (P, rows, units)."""
        uniform = ops.full_like(outputs, 1 / self.n_classes)
        if self.n_classes == 2:
            return ops.binary_crossentropy(uniform, outputs, from_logits=True)[..., 0]
        return ops.categorical_crossentropy(uniform, outputs, from_logits=True)


@dataclass(frozen=True)
class Reconstruction:
    """The input itself, by the mean squared error of its values. Hits have no meaning and are 0."""

    curves = LOSSES
    activation = None
    asks = "a reconstruction of the input needs"

    def output_shape(self, input_shape: Shape) -> Shape:
        """That of the input."""
        return input_shape

    def target(self, x: Tensor, y: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """The examples as in the data, before any noise that the model adds."""
        return x

    def score(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Of outputs and targets of one shape, (P, rows, ...)."""
        losses = ops.mean(ops.square(outputs - target), axis=tuple(range(2, len(outputs.shape))))
        return losses, ops.zeros_like(losses)

    def uniform_loss(self, outputs: Tensor) -> Tensor:
        """Raises ValueError: there are no classes."""
        raise ValueError("label smoothing needs classes, but got a reconstruction")


@dataclass(frozen=True)
class Regression:
    """A number of its own unit, by the squared error of one linear unit. Hits are 0.

    Each member's target is `(y - target_mean) / target_scale`, so that rates and strengths mean the
    same whatever the unit; losses are in that scale.
    """

    curves = LOSSES
    asks = "a regression needs"

    @property
    def activation(self) -> Activation:
        """None but the identity: a target can have any value."""
        linear: Activation = keras.activations.linear
        return linear

    def output_shape(self, input_shape: Shape) -> Shape:
        """One unit."""
        return (1,)

    def target(self, x: Tensor, y: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """The standardized numbers (P, rows)."""
        mean, scale = (per_member(inputs[f"target_{name}"], y) for name in ("mean", "scale"))
        return (y - mean) / scale

    def score(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Of outputs (P, rows, 1), which would broadcast against targets (P, rows)."""
        losses = ops.square(outputs[..., 0] - target)
        return losses, ops.zeros_like(losses)

    def uniform_loss(self, outputs: Tensor) -> Tensor:
        """Raises ValueError: there are no classes."""
        raise ValueError("label smoothing needs classes, but got a regression")


def objective(n_classes: int | None, regression: bool = False) -> Objective:
    """Classification; without classes a regression or, by default, a reconstruction."""
    if n_classes is not None:
        return Classification(n_classes)
    return Regression() if regression else Reconstruction()
