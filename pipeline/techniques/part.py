"""What a part of a change is, and what it may ask of an architecture, a model and a training.

A part is a frozen value: one thing that a technique changes. Its class says its bounds, what it
fits, and how it enters: by `on_layer`, `on_network` or `on_training`. Adding a technique is such a
class and an entry in the registry. Nothing here imports Keras: layers, penalties and options are
named as Keras names them, and `models` knows the classes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, ClassVar, Literal, Protocol

from pipeline.datasets.task import Task

Place = Literal["before", "after"]  # of a hidden layer's non-linearity
NonLinearity = Literal["relu", "gelu", "selu", "tanh", "linear"]
Monitor = Literal["val_loss", "val_accuracy"]  # as in `pipeline.engine`


class Architecture(Protocol):
    """What a part may ask of the architecture that it is to fit."""

    @property
    def architecture(self) -> str:
        """Its name, such as "mlp"."""

    @property
    def own_task(self) -> Task | None:
        """What its models are trained for, whatever the data's task; None: that of the data."""

    @property
    def hidden_layers(self) -> tuple[str, ...]:
        """The names of the layers that have a kernel, the output aside, in order."""

    @property
    def dense(self) -> Mapping[str, int]:
        """The hidden dense layers: name → units."""

    @property
    def activity_places(self) -> tuple[Place, ...]:
        """Where its hidden layers have an output."""

    @property
    def own_activation(self) -> bool:
        """Whether its layers bring non-linearities that cannot be replaced."""


def reconstructs(architecture: Architecture) -> bool:
    """Whether its target is the row itself, as the data have it, so that there are no labels."""
    return architecture.own_task is not None and architecture.own_task.target.of_input


class HiddenLayer(Protocol):
    """A hidden layer that is being changed; kinds and options are those of `keras.layers`."""

    name: str
    index: int  # from 0

    @property
    def kind(self) -> str:
        """The class, such as "Dense"."""

    def regularize(self, weights: Literal["kernel", "bias"], kind: str, **options: Any) -> None:
        """Puts a penalty of `keras.regularizers` on the weights."""

    def regularize_output(self, place: Place, kind: str, **options: Any) -> None:
        """Puts a penalty of `keras.regularizers` on the output, a mean over the batch's rows."""

    def bound_norms(self, bound: float) -> None:
        """Bounds the norm of the weights that lead into each unit, after each step."""

    def activate(self, activation: NonLinearity) -> None:
        """Replaces the non-linearity."""

    def normalize(self, **options: Any) -> None:
        """Normalizes the output before the non-linearity, by the batch; leaves out the bias."""

    def set(self, **options: Any) -> None:
        """Replaces options of the layer itself."""

    def after(self, kind: str, suffix: str, **options: Any) -> None:
        """Adds a layer after this one, its non-linearity and its pooling: `<name>_<suffix>`."""


class Network(Protocol):
    """A network that is being changed as a whole; kinds and options are those of `keras.layers`."""

    def augment(self, kind: str, name: str, **options: Any) -> None:
        """Adds a layer that takes raw images (rows, columns, channels)."""

    def whiten(self) -> None:
        """Adds a frozen linear layer over all features, whose weights come from training rows."""

    def disturb(self, kind: str, name: str, **options: Any) -> None:
        """Adds a layer that takes the inputs as the first hidden layer would, whitened or not."""

    def gate(self, strength: float) -> None:
        """Puts hard concrete gates on inputs and maps, at this strength for a training row."""


Step = Callable[[Any, Any], Any]  # (kernel, size) -> kernel; see `TrainingPlan.kernel_steps`


@dataclass(frozen=True)
class StepOnKernels:
    """A step on kernels beside the optimizer's, at a strength: see `engine.KernelStep`."""

    step: Step
    before: bool
    strength: float


@dataclass
class TrainingPlan:
    """How a change is trained; parts set what they change. None: not at all."""

    batch_size: int
    epochs: int  # of all fits
    monitor: Monitor | None = None  # early stopping on this,
    patience: int = 0  # after so many epochs that were no better,
    start_from_epoch: int = 0  # of which those before this one do not count
    averaging: Literal["steps", "epochs"] | None = None  # keep an average of the weights:
    decay: float = 0.0  # of one over steps
    average_after: int = 0  # epochs before the first in one over epochs
    smoothing: float | None = None  # share of each label that is spread over the classes
    mixup: float | None = None  # alpha of the shares in which rows are mixed
    kernel_steps: dict[type["Part"], StepOnKernels] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """One thing that a technique changes. What a part does not override, it leaves as it is.

    `slot`: what is changed; a change has one part of each. `per_layer`: single hidden layers can
    have it. `order`: of parts that meet in one place, after that by slot. `images`: it needs them.
    `excludes`: slots that cannot be there with it, and why.
    """

    slot: ClassVar[str]
    per_layer: ClassVar[bool] = False
    order: ClassVar[int] = 0
    images: ClassVar[bool] = False
    excludes: ClassVar[Mapping[str, str]] = {}

    @property
    def fits(self) -> int:
        """How often `fit` is called in a row, each time for a training's epochs."""
        return 1

    @property
    def grows(self) -> bool:
        """Whether a short training is how a longer one begins."""
        return True

    def clash(self, other: "Part") -> str | None:
        """Why the other part cannot be there with this one; None if it can."""
        return self.excludes.get(other.slot)

    def misfit(self, architecture: Architecture, images: bool) -> str | None:
        """Why it does not fit an architecture on images or points; None if it does."""
        if self.images and not images:
            return f"needs images for {self.slot}, but the data are points"
        return None

    def misfit_of_layer(self, layer: str, architecture: Architecture) -> str | None:
        """Why it does not fit the hidden layer of this name; None if it does."""
        return None

    def on_layer(self, layer: HiddenLayer) -> None:
        """Enters a hidden layer."""

    def on_network(self, network: Network) -> None:
        """Enters the network as a whole."""

    def on_training(self, training: TrainingPlan) -> None:
        """Enters the training."""


def check_strength(name: str, strength: float) -> None:
    """Raises ValueError for a strength that is not finite or below 0."""
    if not 0 <= strength < inf:
        raise ValueError(f"`{name}` must be finite and >= 0, but got {name}={strength}")


def check_share(name: str, share: float) -> None:
    """Raises ValueError for a share outside [0, 1)."""
    if not 0 <= share < 1:
        raise ValueError(f"`{name}` must lie in [0, 1), but got {name}={share}")
