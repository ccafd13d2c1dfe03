"""The parts of a change, and what they need of an architecture, a model and a training.

A part is a frozen value: one thing that a technique changes. Its class defines which values are
valid, what it fits, and how it is applied: by `on_layer`, `on_network` or `on_training`. A new
technique is such a class and an entry in the registry. Nothing here imports Keras: layers,
penalties and options have Keras's names, and `models` knows the classes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, ClassVar, Literal, Protocol

from pipeline.datasets.task import Task

Place = Literal["before", "after"]  # the non-linearity of a hidden layer
NonLinearity = Literal["relu", "gelu", "selu", "tanh", "linear"]
Monitor = Literal["val_loss", "val_accuracy"]  # as in `pipeline.engine`


class Architecture(Protocol):
    """The properties of an architecture that decide which parts fit it."""

    @property
    def architecture(self) -> str:
        """The name, such as "mlp"."""

    @property
    def own_task(self) -> Task | None:
        """The task of its models, whatever the data's task; None: the task of the data."""

    @property
    def hidden_layers(self) -> tuple[str, ...]:
        """The names of the layers with a kernel, except the output, in order."""

    @property
    def dense(self) -> Mapping[str, int]:
        """The hidden dense layers: name → units."""

    @property
    def activity_places(self) -> tuple[Place, ...]:
        """Where its hidden layers have an output: before or after the non-linearity, or both."""

    @property
    def own_activation(self) -> bool:
        """Whether its layers have non-linearities that cannot be replaced."""


def reconstructs(architecture: Architecture) -> bool:
    """Whether the target is the example itself, so that there are no labels."""
    return architecture.own_task is not None and architecture.own_task.target.of_input


class HiddenLayer(Protocol):
    """A hidden layer during a change; kinds and options are those of `keras.layers`."""

    name: str
    index: int  # from 0

    @property
    def kind(self) -> str:
        """The class, such as "Dense"."""

    def regularize(self, weights: Literal["kernel", "bias"], kind: str, **options: Any) -> None:
        """Puts a penalty of `keras.regularizers` on the weights."""

    def regularize_output(self, place: Place, kind: str, **options: Any) -> None:
        """Puts a penalty of `keras.regularizers` on the output, a mean over the batch."""

    def bound_norms(self, bound: float) -> None:
        """Bounds the norm of each unit's incoming weights, after each step."""

    def activate(self, activation: NonLinearity) -> None:
        """Replaces the non-linearity."""

    def normalize(self, **options: Any) -> None:
        """Adds batch normalization before the non-linearity; removes the bias."""

    def set(self, **options: Any) -> None:
        """Replaces options of the layer itself."""

    def after(self, kind: str, suffix: str, **options: Any) -> None:
        """Adds a layer after this one, its non-linearity and its pooling: `<name>_<suffix>`."""


class Network(Protocol):
    """A whole network during a change; kinds and options are those of `keras.layers`."""

    def augment(self, kind: str, name: str, **options: Any) -> None:
        """Adds a layer that takes raw images (rows, columns, channels)."""

    def whiten(self) -> None:
        """Adds a frozen linear layer over all features, fitted to the training examples."""

    def disturb(self, kind: str, name: str, **options: Any) -> None:
        """Adds a layer before the first hidden layer, after whitening."""

    def regularize_output_layer(self, kind: str, **options: Any) -> None:
        """Puts a penalty of `keras.regularizers` on the kernel of the output layer."""

    def gate(self, strength: float) -> None:
        """Puts hard concrete gates on inputs and maps; `strength`: that of `penalties.Gates`."""


Step = Callable[[Any, Any], Any]  # (kernel, size) -> kernel; see `TrainingPlan.kernel_steps`


@dataclass(frozen=True)
class StepOnKernels:
    """A step on kernels beside the optimizer's, at a strength: see `engine.KernelStep`."""

    step: Step
    before: bool
    strength: float


@dataclass
class TrainingPlan:
    """The options of a change's training; parts set what they change."""

    batch_size: int
    epochs: int  # of all fits
    monitor: Monitor | None = None  # of early stopping; None: train to the last epoch
    patience: int = 0  # of early stopping: epochs without improvement
    start_from_epoch: int = 0  # of early stopping: earlier epochs do not count
    restart_after: int = 0  # epochs before the optimizer starts anew; 0: it never does
    averaging: Literal["steps", "epochs"] | None = None  # what an average of the weights is over
    decay: float = 0.0  # of an average over steps
    average_after: int = 0  # of an average over epochs: the number of epochs before its first
    smoothing: float | None = None  # share of each label that is spread over the classes
    validation_too: bool = False  # whether the validation examples are trained on as well
    mixup: float | None = None  # alpha of the shares in which examples are mixed
    kernel_steps: dict[type["Part"], StepOnKernels] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """One thing that a technique changes. By default a part changes nothing.

    `slot`: what it changes; a change has at most one part per slot. `per_layer`: whether it can be
    on single hidden layers. `order`: of parts that are applied in the same place, then by slot.
    `images`: whether it needs images. `excludes`: slot that cannot be combined with it → why.
    """

    slot: ClassVar[str]
    per_layer: ClassVar[bool] = False
    order: ClassVar[int] = 0
    images: ClassVar[bool] = False
    excludes: ClassVar[Mapping[str, str]] = {}

    @property
    def needs_labels(self) -> bool:
        """Whether it needs targets that are labels of classes."""
        return False

    @property
    def fits(self) -> int:
        """How often `fit` is called, each time for all epochs of the training."""
        return 1

    @property
    def grows(self) -> bool:
        """Whether a short training is identical to the beginning of a longer one."""
        return True

    def clash(self, other: "Part") -> str | None:
        """Why it cannot be combined with the other part; None if it can."""
        return self.excludes.get(other.slot)

    def misfit(self, architecture: Architecture, images: bool) -> str | None:
        """Why it does not fit an architecture on images or points; None if it does."""
        if self.images and not images:
            return f"needs images (for {self.slot}), but the data are points"
        return None

    def misfit_of_layer(self, layer: str, architecture: Architecture) -> str | None:
        """Why it does not fit the hidden layer of this name; None if it does."""
        return None

    def on_layer(self, layer: HiddenLayer) -> None:
        """Applies the part to a hidden layer."""

    def on_network(self, network: Network) -> None:
        """Applies the part to the whole network."""

    def on_training(self, training: TrainingPlan) -> None:
        """Applies the part to the training."""


def check_strength(name: str, strength: float) -> None:
    """Raises ValueError for a strength that is not finite or below 0."""
    if not 0 <= strength < inf:
        raise ValueError(f"`{name}` must be finite and >= 0, but got {name}={strength}")


def check_share(name: str, share: float) -> None:
    """Raises ValueError for a share outside [0, 1)."""
    if not 0 <= share < 1:
        raise ValueError(f"`{name}` must lie in [0, 1), but got {name}={share}")
