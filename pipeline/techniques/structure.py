"""Parts that replace or add a layer which is there when the model predicts, too."""

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
        """Layers with non-linearities of their own keep them."""
        if not architecture.own_activation:
            return None
        return (
            "needs hidden layers of any non-linearity, "
            f"but got {architecture.architecture!r}, which has its own"
        )

    def on_layer(self, layer: HiddenLayer) -> None:
        """Instead of the architecture's."""
        layer.activate(self.name)


@dataclass(frozen=True)
class BatchNorm(Part):
    """Batch normalization of the hidden layers' outputs before their non-linearity.

    The layer's bias is left out, since the normalization's own takes its place. The statistics that
    evaluation uses are `momentum * old + (1 - momentum) * batch` after each step; 0.9 remembers
    the last ten, as runs of few steps need, where Keras's default of 0.99 remembers a hundred.
    """

    slot = "batch_norm"
    per_layer = True

    momentum: float = 0.9

    def misfit(self, architecture: Architecture, images: bool) -> str | None:
        """There must be an output before the non-linearity."""
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
    """ZCA whitening of the inputs, fitted on the training rows: see `models.whitening`.

    `epsilon`: added to the variance of each direction; > 0, in squared units of the input.
    """

    slot = "whitening"

    epsilon: float

    def __post_init__(self) -> None:
        if not 0 < self.epsilon < inf:
            raise ValueError(f"`epsilon` must be finite and > 0, but got epsilon={self.epsilon}")

    def on_network(self, network: Network) -> None:
        """A layer of its own, so that the model takes raw rows."""
        network.whiten()
