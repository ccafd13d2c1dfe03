"""What members are trained for: their target, its loss, and what counts as a hit.

Shapes: P members, rows of a batch, and what a model puts out for one row.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import keras
from keras import ops

from pipeline.engine import backend
from pipeline.engine.backend import Tensor

Activation = Callable[[Tensor], Tensor]


class Objective(Protocol):
    """The part of a program that depends on what its models are for."""

    curves: frozenset[str]  # of the program's, those that mean something

    @property
    def activation(self) -> Activation | None:
        """Of the model's last layer, whose outputs are given before it; None: given after it."""

    def target(self, x: Tensor, y: Tensor) -> Tensor:
        """What the model should put out for rows x (P, rows, ...) with labels y (P, rows)."""

    def score(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Losses and hits, each (P, rows)."""

    def uniform_loss(self, outputs: Tensor) -> Tensor:
        """Mean loss (P,) of outputs if each class were as likely as the others.

        Cross-entropies are linear in the labels, so that this is all that smoothing adds.
        """


LOSSES = frozenset({"train_loss", "val_loss", "penalty"})
ALL = LOSSES | {"train_accuracy", "val_accuracy"}


@dataclass(frozen=True)
class Classification:
    """Labels, by cross-entropy. `n_classes`: 2 is one sigmoid unit, more a softmax over them.

    Outputs are logits, as in `fit`: a probability that is rounded to 0 or 1 has lost its gradient.
    """

    n_classes: int
    curves = ALL

    @property
    def activation(self) -> Activation:
        """Sigmoid or softmax."""
        sigmoid, softmax = keras.activations.sigmoid, keras.activations.softmax
        found: Activation = sigmoid if self.n_classes == 2 else softmax
        return found

    def target(self, x: Tensor, y: Tensor) -> Tensor:
        """The labels."""
        return y

    def score(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Of outputs (P, rows, units) for labels (P, rows)."""
        if self.n_classes == 2:
            wanted = ops.cast(ops.expand_dims(target, -1), outputs.dtype)
            losses = ops.binary_crossentropy(wanted, outputs, from_logits=True)[..., 0]
            hits = ops.equal(outputs[..., 0] > 0, target > 0)
        else:
            losses = ops.sparse_categorical_crossentropy(target, outputs, from_logits=True)
            hits = ops.equal(backend.argmax(outputs), target)
        return losses, ops.cast(hits, "float32")

    def uniform_loss(self, outputs: Tensor) -> Tensor:
        """Of outputs (P, rows, units)."""
        wanted = ops.full_like(outputs, 1 / self.n_classes)
        if self.n_classes == 2:
            losses = ops.binary_crossentropy(wanted, outputs, from_logits=True)[..., 0]
        else:
            losses = ops.categorical_crossentropy(wanted, outputs, from_logits=True)
        return ops.mean(losses, axis=1)


@dataclass(frozen=True)
class Reconstruction:
    """The row itself, by the mean squared error of its values. There are no hits: they are 0."""

    curves = LOSSES
    activation = None

    def target(self, x: Tensor, y: Tensor) -> Tensor:
        """The rows as they come from the data, before any noise that the model adds."""
        return x

    def score(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Of outputs and rows of one shape, (P, rows, ...)."""
        losses = ops.mean(ops.square(outputs - target), axis=tuple(range(2, len(outputs.shape))))
        return losses, ops.zeros_like(losses)

    def uniform_loss(self, outputs: Tensor) -> Tensor:
        """Raises ValueError: there are no classes."""
        raise ValueError("label smoothing needs classes, but got a reconstruction")


def objective(n_classes: int | None) -> Objective:
    """Classification, or reconstruction where there are no classes."""
    return Reconstruction() if n_classes is None else Classification(n_classes)
