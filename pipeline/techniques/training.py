"""Parts that change how a model is trained and which weights are kept."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from pipeline.techniques.part import (
    Architecture,
    Monitor,
    Part,
    StepOnKernels,
    TrainingPlan,
    check_share,
    check_strength,
    reconstructs,
)

Tensor = Any


@dataclass(frozen=True)
class KernelStep(Part, ABC):
    """A step on the hidden kernels beside the optimizer's, of size learning_rate * strength.

    With SGD, the proximal step of a penalty after the gradient step is proximal gradient descent.
    Adam scales the step of each weight, and the exact proximal step for it would threshold most
    where gradients are smallest. Here the size is decoupled from Adam's scaling, as in AdamW.

    `before`: whether it precedes the optimizer's step, whose gradients are known by then.
    """

    per_layer = True
    before: ClassVar[bool] = False

    strength: float

    def __post_init__(self) -> None:
        check_strength("strength", self.strength)

    @staticmethod
    @abstractmethod
    def step(kernel: Tensor, size: Tensor) -> Tensor:
        """The kernels (P, ..., inputs, units) of P members after a step.

        size: (P, 1, ...) >= 0, with as many axes; 0 leaves the kernels unchanged.
        """

    def on_training(self, training: TrainingPlan) -> None:
        """In every step."""
        training.kernel_steps[type(self)] = StepOnKernels(self.step, self.before, self.strength)


@dataclass(frozen=True)
class WeightDecay(KernelStep):
    """Shrinks the kernels by a fraction in each step. Loshchilov and Hutter 2019."""

    slot = "weight_decay"
    before = True

    @staticmethod
    def step(kernel: Tensor, size: Tensor) -> Tensor:
        """`w - size * w`, as Keras's `weight_decay`."""
        return kernel - kernel * size


@dataclass(frozen=True)
class ProximalL1(KernelStep):
    """Soft thresholding of single weights. Duchi and Singer 2009.

    Thresholding of groups follows it: the proximal step of the sum of both penalties. Simon et al.
    2013.
    """

    slot = "proximal_l1"
    order = 1

    @staticmethod
    def step(kernel: Tensor, size: Tensor) -> Tensor:
        """`sign(w) * max(|w| - size, 0)`, the proximal step of `size * sum(|w|)`."""
        from keras import ops

        return ops.sign(kernel) * ops.relu(ops.abs(kernel) - size)


@dataclass(frozen=True)
class ProximalGroupLasso(KernelStep):
    """Soft thresholding of each input's outgoing weights as a group. Yuan and Lin 2006."""

    slot = "proximal_group_lasso"
    order = 2

    @staticmethod
    def step(kernel: Tensor, size: Tensor) -> Tensor:
        """`w_i * max(0, 1 - size * sqrt(n) / ||w_i||)` for the n weights w_i of each input i.

        The proximal step of `size * sum_i(sqrt(n) * ||w_i||)`. The axes before the inputs, such as
        a convolution's rows and columns, belong to the group.
        """
        import keras
        from keras import ops

        last = len(kernel.shape) - 1
        axes = (*range(1, last - 1), last)
        root = math.sqrt(math.prod(kernel.shape[axis] for axis in axes))
        norms = ops.sqrt(ops.sum(ops.square(kernel), axis=axes, keepdims=True))
        shrunk = size * root / ops.maximum(norms, keras.config.epsilon())
        return kernel * ops.relu(1 - shrunk)


@dataclass(frozen=True)
class Averaging(Part):
    """Validates and keeps an average of the weights."""

    slot = "averaging"
    excludes: ClassVar = {
        "batch_norm": "weight averaging cannot be combined with batch normalization: "
        "averaged weights lack its statistics"
    }


@dataclass(frozen=True)
class Ema(Averaging):
    """Validates and keeps an exponential moving average of the weights.

    After each step `average = decay * average + (1 - decay) * w` with decay = 1 - 1 / horizon. It
    starts from the weights after the first step. Training itself does not use the average.
    """

    horizon: float  # steps, >= 1

    def __post_init__(self) -> None:
        if not 1 <= self.horizon < math.inf:
            raise ValueError(f"`horizon` must be finite and >= 1, but got {self.horizon}")

    @property
    def decay(self) -> float:
        """Keras's `ema_momentum`."""
        return 1 - 1 / self.horizon

    def on_training(self, training: TrainingPlan) -> None:
        """Over steps."""
        training.averaging, training.decay = "steps", self.decay


@dataclass(frozen=True)
class Swa(Averaging):
    """Validates and keeps the mean of the weights at the end of each of the last epochs.

    `start`: the share of epochs before the first one in the mean; until then the weights themselves
    are validated.
    """

    start: float

    def __post_init__(self) -> None:
        if not 0 <= self.start <= 1:
            raise ValueError(f"`start` must lie in [0, 1], but got {self.start}")

    @property
    def grows(self) -> bool:
        """The first epoch of the mean depends on the number of epochs."""
        return False

    def on_training(self, training: TrainingPlan) -> None:
        """Over epochs."""
        training.averaging = "epochs"
        training.average_after = int(self.start * training.epochs)


@dataclass(frozen=True)
class Stopping(Part):
    """Stops when `monitor` has not improved for `patience` epochs; keeps the best weights.

    `val_loss` is the unpenalised loss, so that strengths can be compared.

    `again`: stops only a second `fit`, which continues from the weights of a first one of as many
    epochs, with a new optimizer, as after a second `compile`. The best value of the first fit does
    not count.
    """

    slot = "stopping"

    patience: float  # a whole number >= 0
    monitor: Monitor
    again: bool = False

    def __post_init__(self) -> None:
        if not (0 <= self.patience < math.inf and self.patience % 1 == 0):
            raise ValueError(f"`patience` must be a whole number >= 0, but got {self.patience}")

    @property
    def needs_labels(self) -> bool:
        """For an accuracy."""
        return self.monitor == "val_accuracy"

    @property
    def fits(self) -> int:
        """Two if it stops a second fit."""
        return 2 if self.again else 1

    @property
    def grows(self) -> bool:
        """A second fit begins where the first ends, which depends on the number of epochs."""
        return not self.again

    def clash(self, other: Part) -> str | None:
        """A second fit continues from the weights, not from their average."""
        if self.again and isinstance(other, Averaging):
            return (
                "a second fit cannot be combined with weight averaging: "
                "it continues from the last weights"
            )
        return super().clash(other)

    def misfit(self, architecture: Architecture, images: bool) -> str | None:
        """Needs the monitored measure."""
        if self.monitor == "val_accuracy" and reconstructs(architecture):
            got = architecture.architecture
            return f"needs a validation accuracy, but got {got!r}, which has none"
        return None

    def on_training(self, training: TrainingPlan) -> None:
        """In the last fit."""
        training.monitor, training.patience = self.monitor, int(self.patience)
        training.start_from_epoch = training.epochs - training.epochs // self.fits
        training.restart_after = training.start_from_epoch


@dataclass(frozen=True)
class ValidationToo(Part):
    """Trains on the validation examples as well, so that their score says nothing any more."""

    slot = "examples"
    excludes: ClassVar = {
        "stopping": "early stopping cannot watch validation examples that are trained on"
    }

    def on_training(self, training: TrainingPlan) -> None:
        """In every epoch."""
        training.validation_too = True


@dataclass(frozen=True)
class _OfLabels(Part):
    """Needs labels."""

    @property
    def needs_labels(self) -> bool:
        """Always."""
        return True

    def misfit(self, architecture: Architecture, images: bool) -> str | None:
        """An example that is its own target has no label."""
        if reconstructs(architecture):
            return f"needs labels, but got {architecture.architecture!r}, which has none"
        return None


@dataclass(frozen=True)
class LabelSmoothing(_OfLabels):
    """Spreads a share in [0, 1) of each label over the classes. Szegedy et al. 2016."""

    slot = "label_smoothing"

    share: float

    def __post_init__(self) -> None:
        check_share("smoothing", self.share)

    def on_training(self, training: TrainingPlan) -> None:
        """In the training loss, not in the reported one."""
        training.smoothing = self.share


@dataclass(frozen=True)
class Mixup(_OfLabels):
    """Mixes examples and labels by shares from Beta(alpha, alpha). Zhang et al. 2018."""

    slot = "mixup"

    alpha: float  # >= 0; 0 mixes nothing

    def __post_init__(self) -> None:
        check_strength("alpha", self.alpha)

    def on_training(self, training: TrainingPlan) -> None:
        """In every batch."""
        training.mixup = self.alpha


@dataclass(frozen=True)
class BatchSize(Part):
    """The number of examples in a step: a whole number >= 1."""

    slot = "batch_size"

    rows: float

    def __post_init__(self) -> None:
        if not (self.rows >= 1 and self.rows % 1 == 0):
            raise ValueError(f"`batch_size` must be a whole number >= 1, but got {self.rows}")

    def on_training(self, training: TrainingPlan) -> None:
        """In every step."""
        training.batch_size = int(self.rows)
