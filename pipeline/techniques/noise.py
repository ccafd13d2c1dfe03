"""Parts that disturb a network at random in training, and not in inference."""

from dataclasses import dataclass

from pipeline.techniques.part import Architecture, HiddenLayer, Network, Part, check_share


@dataclass(frozen=True)
class _Rate(Part):
    """A rate in [0, 1): the probability of dropping."""

    rate: float

    def __post_init__(self) -> None:
        check_share("rate", self.rate)


@dataclass(frozen=True)
class SpatialDropout(_Rate):
    """Drops feature maps, each as a whole, after each block of a cnn. Tompson et al. 2015."""

    slot = "spatial_dropout"

    def misfit(self, architecture: Architecture, images: bool) -> str | None:
        """Needs feature maps."""
        if architecture.architecture != "cnn":
            return f"needs the feature maps of a 'cnn', but got {architecture.architecture!r}"
        return None

    def on_layer(self, layer: HiddenLayer) -> None:
        """After convolutions."""
        if layer.kind == "Conv2D":
            layer.after("SpatialDropout2D", self.slot, rate=self.rate)


@dataclass(frozen=True)
class Dropout(_Rate):
    """Drops outputs of each hidden layer. Srivastava et al. 2014."""

    slot = "dropout"
    per_layer = True
    order = 1  # after spatial dropout

    def on_layer(self, layer: HiddenLayer) -> None:
        """After the layer."""
        layer.after("Dropout", self.slot, rate=self.rate)


@dataclass(frozen=True)
class GaussianDropout(_Rate):
    """Multiplies outputs of each hidden layer by noise. Srivastava et al. 2014."""

    slot = "gaussian_dropout"
    per_layer = True
    order = 2

    def on_layer(self, layer: HiddenLayer) -> None:
        """After the layer."""
        layer.after("GaussianDropout", self.slot, rate=self.rate)


@dataclass(frozen=True)
class AlphaDropout(_Rate):
    """Sets outputs of each hidden layer to SELU's negative saturation. Klambauer et al. 2017."""

    slot = "alpha_dropout"
    per_layer = True
    order = 3

    def on_layer(self, layer: HiddenLayer) -> None:
        """After the layer."""
        layer.after("AlphaDropout", self.slot, rate=self.rate)


@dataclass(frozen=True)
class RecurrentDropout(_Rate):
    """Drops an LSTM's recurrent state, the same in all steps. Gal and Ghahramani 2016."""

    slot = "recurrent_dropout"

    def misfit(self, architecture: Architecture, images: bool) -> str | None:
        """Needs time steps."""
        if architecture.architecture != "lstm":
            return f"needs the steps of an 'lstm', but got {architecture.architecture!r}"
        return None

    def on_layer(self, layer: HiddenLayer) -> None:
        """Inside LSTM layers."""
        if layer.kind == "LSTM":
            layer.set(recurrent_dropout=self.rate)


@dataclass(frozen=True)
class InputNoise(Part):
    """Adds Gaussian noise to the inputs; `stddev` in [0, 1], in units of the input. Bishop 1995."""

    slot = "input_noise"

    stddev: float

    def __post_init__(self) -> None:
        if not 0 <= self.stddev <= 1:
            raise ValueError(f"`stddev` must lie in [0, 1], but got stddev={self.stddev}")

    def on_network(self, network: Network) -> None:
        """Before the first layer."""
        network.disturb("GaussianNoise", self.slot, stddev=self.stddev)


@dataclass(frozen=True)
class InputDropout(_Rate):
    """Drops inputs. Srivastava et al. 2014."""

    slot = "input_dropout"
    order = 1  # after noise, so that noise is dropped too

    def on_network(self, network: Network) -> None:
        """Before the first layer."""
        network.disturb("Dropout", self.slot, rate=self.rate)
