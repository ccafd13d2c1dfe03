"""What members are trained for: their target, its loss, and what counts as a hit.

Shapes: P members, rows of a batch, and what a model puts out for one row.
"""

from dataclasses import dataclass
from typing import Protocol

from keras import ops

from pipeline.engine.backend import Tensor


class Objective(Protocol):
    """The part of a program that depends on what its models are for."""

    curves: frozenset[str]  # of the program's, those that mean something

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
    """Labels, by cross-entropy. `n_classes`: 2 is one sigmoid unit, more a softmax over them."""

    n_classes: int
    curves = ALL

    def target(self, x: Tensor, y: Tensor) -> Tensor:
        """The labels."""
        return y

    def score(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Of outputs (P, rows, units) for labels (P, rows)."""
        if self.n_classes == 2:
            wanted = ops.cast(ops.expand_dims(target, -1), outputs.dtype)
            losses = ops.mean(ops.binary_crossentropy(wanted, outputs), axis=-1)
            hits = ops.equal(outputs[..., 0] > 0.5, target > 0)
        else:
            losses = ops.sparse_categorical_crossentropy(target, outputs)
            hits = ops.equal(ops.argmax(outputs, axis=-1), target)
        return losses, ops.cast(hits, "float32")

    def uniform_loss(self, outputs: Tensor) -> Tensor:
        """Of outputs (P, rows, units)."""
        wanted = ops.full_like(outputs, 1 / self.n_classes)
        if self.n_classes == 2:
            return ops.mean(ops.binary_crossentropy(wanted, outputs), axis=(1, 2))
        return ops.mean(ops.categorical_crossentropy(wanted, outputs), axis=1)


@dataclass(frozen=True)
class Reconstruction:
    """The row itself, by the mean squared error of its values. There are no hits: they are 0."""

    curves = LOSSES

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
