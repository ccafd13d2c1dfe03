"""Parts that act on the hidden layers' weights and outputs: penalties, bounds, gates."""

from dataclasses import dataclass
from math import inf
from typing import Any, ClassVar, Protocol

from pipeline.techniques.part import (
    Architecture,
    HiddenLayer,
    Network,
    Part,
    Place,
    check_strength,
    reconstructs,
)


class Regularizer(Protocol):
    """A penalty that `keras.regularizers` has."""

    def as_keras(self) -> tuple[str, dict[str, Any]]:
        """The name of the class and its arguments."""


@dataclass(frozen=True)
class Penalty:
    """`l1 * sum(|t|) + l2 * sum(t**2)` of a tensor t, added to the loss. Both strengths >= 0."""

    l1: float = 0.0
    l2: float = 0.0

    def __post_init__(self) -> None:
        for name in ("l1", "l2"):
            check_strength(name, getattr(self, name))

    def as_keras(self) -> tuple[str, dict[str, Any]]:
        """The simplest regularizer with this penalty."""
        if self.l2 == 0:
            return "L1", {"l1": self.l1}
        if self.l1 == 0:
            return "L2", {"l2": self.l2}
        return "L1L2", {"l1": self.l1, "l2": self.l2}


@dataclass(frozen=True)
class KernelPenalty(Part):
    """A penalty on the kernel of each hidden layer."""

    slot = "kernel"
    per_layer = True

    penalty: Penalty

    def on_layer(self, layer: HiddenLayer) -> None:
        """In an LSTM, on the input kernel, as Keras's `kernel_regularizer`."""
        kind, options = self.penalty.as_keras()
        layer.regularize("kernel", kind, **options)


@dataclass(frozen=True)
class OutputKernelPenalty(Part):
    """A penalty on the kernel of the output layer, which other penalties leave alone."""

    slot = "output_kernel"

    penalty: Penalty

    def on_network(self, network: Network) -> None:
        """On the last dense layer."""
        kind, options = self.penalty.as_keras()
        network.regularize_output_layer(kind, **options)


@dataclass(frozen=True)
class LayerPenalties(Part):
    """Penalties on the kernels of the hidden layers, one for each in order."""

    slot = "kernel"
    per_layer = True

    penalties: tuple[Penalty, ...]

    def misfit(self, architecture: Architecture, images: bool) -> str | None:
        """Needs as many hidden layers as penalties."""
        count = len(architecture.hidden_layers)
        if len(self.penalties) != count:
            return f"needs {len(self.penalties)} hidden layers, but got {count}"
        return None

    def on_layer(self, layer: HiddenLayer) -> None:
        """The layer's own penalty."""
        KernelPenalty(self.penalties[layer.index]).on_layer(layer)


@dataclass(frozen=True)
class Orthogonal(Part):
    """`strength` times the mean over pairs of a kernel's columns of `|cos(angle between them)|`.

    `keras.regularizers.OrthogonalRegularizer` in its mode "columns", for kernels of two axes.
    """

    slot = "kernel"
    per_layer = True

    strength: float

    def __post_init__(self) -> None:
        check_strength("strength", self.strength)

    def misfit_of_layer(self, layer: str, architecture: Architecture) -> str | None:
        """Pairs of columns need a matrix with two columns or more."""
        if layer.startswith("lstm"):
            return None
        if layer not in architecture.dense:
            return f"needs kernels of two axes, but got a convolution in {layer!r}"
        if architecture.dense[layer] == 1:
            return f"needs two units or more in each layer, but got 1 in {layer!r}"
        return None

    def on_layer(self, layer: HiddenLayer) -> None:
        """On the kernel."""
        options = {"factor": self.strength, "mode": "columns"}
        layer.regularize("kernel", "OrthogonalRegularizer", **options)


@dataclass(frozen=True)
class BiasPenalty(Part):
    """A penalty on the biases of each hidden layer."""

    slot = "bias"
    per_layer = True
    excludes: ClassVar = {
        "batch_norm": "a bias penalty cannot be combined with batch normalization, "
        "which removes the biases"
    }

    penalty: Penalty

    def on_layer(self, layer: HiddenLayer) -> None:
        """On the bias."""
        kind, options = self.penalty.as_keras()
        layer.regularize("bias", kind, **options)


@dataclass(frozen=True)
class Activity(Part):
    """A penalty on a hidden layer's output, before or after its non-linearity.

    As in Keras, the penalty is a sum over units and examples, divided by the size of the batch.
    """

    slot = "activity"
    per_layer = True

    penalty: Penalty
    place: Place

    def misfit(self, architecture: Architecture, images: bool) -> str | None:
        """Needs an output before or after the non-linearity."""
        if self.place in architecture.activity_places:
            return None
        return (
            f"needs an output {self.place} the non-linearity, "
            f"but got {architecture.architecture!r}, which has none"
        )

    def on_layer(self, layer: HiddenLayer) -> None:
        """On the output."""
        kind, options = self.penalty.as_keras()
        layer.regularize_output(self.place, kind, **options)


@dataclass(frozen=True)
class MaxNorm(Part):
    """A bound > 0 on the norm of each hidden unit's incoming weights."""

    slot = "max_norm"
    per_layer = True

    bound: float

    def __post_init__(self) -> None:
        if not 0 < self.bound < inf:
            raise ValueError(f"`max_norm` must be finite and > 0, but got {self.bound}")

    def on_layer(self, layer: HiddenLayer) -> None:
        """After each step."""
        layer.bound_norms(self.bound)


@dataclass(frozen=True)
class Gates(Part):
    """A gate on every input of each dense layer, including the output, and on convolutions' maps.

    Added to the loss: `strength / n * sum(P(gate != 0) * number of weights that it switches)` for n
    training examples, so that `strength` is the article's lambda.
    """

    slot = "gates"
    excludes: ClassVar = {"batch_norm": "gates cannot be combined with batch normalization"}

    strength: float

    def __post_init__(self) -> None:
        check_strength("strength", self.strength)

    def misfit(self, architecture: Architecture, images: bool) -> str | None:
        """Closed gates remove units of dense layers and convolutions, in classifiers."""
        got = f"but got {architecture.architecture!r}"
        if architecture.own_activation:
            return f"needs dense layers and convolutions, {got}"
        if reconstructs(architecture):
            return f"removes units of a classifier, {got}, which is not a classifier"
        return None

    def on_network(self, network: Network) -> None:
        """On inputs and maps."""
        network.gate(self.strength)
