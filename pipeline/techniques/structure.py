"""Parts that replace or add layers, in training and in inference."""

from dataclasses import dataclass
from math import inf

from pipeline.techniques.part import Architecture, HiddenLayer, Network, NonLinearity, Part


@dataclass(frozen=True)
class Activation(Part):
    """The hidden layers' non-linearity."""

    slot = "activation"
    per_layer = True

    name: NonLinearity

    def misfit(self, architecture: Architecture, images: bool) -> str | None:
        """An architecture with its own non-linearities keeps them."""
        if not architecture.own_activation:
            return None
        return (
            "needs hidden layers of any non-linearity, "
            f"but got {architecture.architecture!r}, which has its own"
        )

    def on_layer(self, layer: HiddenLayer) -> None:
        """Replaces the architecture's."""
        layer.activate(self.name)


@dataclass(frozen=True)
class BatchNorm(Part):
    """Batch normalization of the hidden layers' outputs before their non-linearity.

    The normalization's beta replaces the layer's bias. After each step, the statistics for
    evaluation become `momentum * old + (1 - momentum) * batch`. A momentum of 0.9 averages over
    about ten steps, as runs with few steps need; Keras's default of 0.99 averages over a hundred.
    """

    slot = "batch_norm"
    per_layer = True

    momentum: float = 0.9

    def misfit(self, architecture: Architecture, images: bool) -> str | None:
        """Needs an output before the non-linearity."""
        if not architecture.own_activation:
            return None
        return (
            "needs an output before the non-linearity of each hidden layer, "
            f"but got {architecture.architecture!r}, which has none"
        )

    def on_layer(self, layer: HiddenLayer) -> None:
        """Between the products and the non-linearity."""
        layer.normalize(momentum=self.momentum)


@dataclass(frozen=True)
class Whitening(Part):
    """ZCA whitening of the inputs, fitted on the training examples: see `models.whitening`.

    `epsilon`: added to the variance of each direction; > 0, in squared units of the input.
    """

    slot = "whitening"

    epsilon: float

    def __post_init__(self) -> None:
        if not 0 < self.epsilon < inf:
            raise ValueError(f"`epsilon` must be finite and > 0, but got epsilon={self.epsilon}")

    def on_network(self, network: Network) -> None:
        """A separate layer, so that the model takes raw examples."""
        network.whiten()
