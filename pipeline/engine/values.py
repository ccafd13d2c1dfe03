"""What a caller gives the engine and gets back: a training, its members, and trained members."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

import keras
import numpy as np

from pipeline.engine.bounds import one_of, refuse, whole
from pipeline.engine.losses import objective
from pipeline.engine.optimizers import KernelStep, Name
from pipeline.engine.program import Averaging, Monitor


@dataclass(frozen=True)
class Training:
    """The options of a training that all members of a call share.

    Raises ValueError for an unknown name, a number out of bounds, or options that exclude another.
    """

    optimizer: Name
    batch_size: int
    epochs: int
    n_classes: int | None  # 2: one sigmoid unit; more: a softmax; None: no labels
    monitor: Monitor | None = None  # early stopping on this curve, with each member's patience
    start_from_epoch: int = 0  # early stopping ignores earlier epochs; from 0, as in Keras
    restart_after: int = 0  # epochs before the optimizer starts anew, as by a second `compile`
    resumable: bool = False  # return checkpoints
    averaging: Averaging | None = None  # validate and return an average of the weights
    smoothed: bool = False  # train on labels smoothed by each member's `label_smoothing`
    # Applied in this order, each to the weights with these indices in `model.weights`.
    kernel_steps: tuple[tuple[KernelStep, tuple[int, ...]], ...] = ()
    mixup: bool = False  # with each member's alpha; training curves are then of the mixtures
    momentum: bool = False  # of sgd, with each member's momentum
    # Without labels: the target is y, a number, instead of the example itself.
    regression: bool = False
    weighted: bool = False  # losses and accuracies by each member's weights of its examples
    class_weighted: bool = False  # what is trained on also by each member's weights of classes

    def __post_init__(self) -> None:
        one_of("training.optimizer", self.optimizer, get_args(Name))
        if self.momentum and self.optimizer != "sgd":
            expected = f"False with {self.optimizer}, since momentum is of sgd"
            refuse("training.momentum", expected, self.momentum)
        whole("training.batch_size", self.batch_size, 1)
        whole("training.epochs", self.epochs, 1)
        whole("training.restart_after", self.restart_after, 0)
        if self.n_classes is not None:
            whole("training.n_classes", self.n_classes, 2, "None or ")
            if self.regression:
                refuse("training.regression", "False with classes", self.regression)
        self._check_watching()
        if self.averaging is not None:
            one_of("training.averaging", self.averaging, get_args(Averaging), "None or ")
        if self.class_weighted and self.n_classes is None:
            refuse("training.class_weighted", "False without classes", True)
        if self.smoothed and self.n_classes is None:
            refuse("training.smoothed", "False without classes, since there are no labels", True)
        for index, pair in enumerate(self.kernel_steps):
            if len(pair) != 2 or not isinstance(pair[0], KernelStep):
                refuse(f"training.kernel_steps[{index}]", "(KernelStep, indices)", repr(pair))

    def _check_watching(self) -> None:
        """Early stopping on a curve that the training has."""
        whole("training.start_from_epoch", self.start_from_epoch, 0)
        if self.monitor is not None:
            curves = objective(self.n_classes, self.regression).curves
            known = [name for name in get_args(Monitor) if name in curves]
            one_of("training.monitor", self.monitor, known, "None or ")


@dataclass(frozen=True)
class Checkpoint:
    """The state of a member after some epochs, from which training resumes with the same bits.

    `state`: the member's part of the program's state, entry → arrays. `curves`: (epochs, CURVES)
    float32. `seconds`: the training time so far.
    """

    state: Mapping[str, Sequence[np.ndarray]]
    curves: np.ndarray
    seconds: float

    @property
    def epochs(self) -> int:
        """The epochs trained so far, including those after an early stop."""
        return len(self.curves)


@dataclass(frozen=True)
class Member:
    """One model to train, with its own hyperparameters, seed and examples.

    Args:
        model: the structure and its hyperparameters; it is only read.
        weights: initial values, in the order of `model.weights`.
        learning_rate: > 0.
        momentum: in [0, 1), if the training has it; 0 is plain gradient descent.
        train_rows: (n,) int32, indices of the training examples in the data.
        val_rows: (m,) int32, indices of the validation examples.
        seed: decides batch order and noise.
        patience: of early stopping, in epochs.
        label_smoothing: share in [0, 1) of each label that is spread over the classes, as in
            Keras's losses.
        decay: in [0, 1), of an average over steps.
        average_after: the number of epochs before the first one in an average over epochs.
        kernel_steps: name → strength >= 0 of each of the training's kernel steps, which are neither
            in the loss nor in the curve `penalty`.
        mixup: alpha >= 0, if the training has mixup; 0 mixes nothing.
        target_mean, target_scale: of a regression, the mean and the scale > 0 by which its targets
            are standardized; outputs and losses are those of `(y - target_mean) / target_scale`.
        train_weights: (n,) of the training examples, > 0, if the training is weighted. As in `fit`,
            a batch's loss is the mean of `weight * loss`, and curves are means of these.
        val_weights: (m,) of the validation examples.
        class_weights: (n_classes,) > 0, if the training has them; factors of the training loss that
            no curve has, as in `fit(class_weight=...)`.
        checkpoint: where to resume, from an earlier call with the same training and at most as many
            epochs. In graph programs early stopping may differ, if it ignores all epochs before the
            checkpoint. It is used if all members of a program have one after equally many epochs.

    >>> from pipeline.engine import Member
    >>> import keras, numpy as np
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, "sigmoid")])
    >>> rows = np.arange(8, dtype=np.int32)
    >>> member = Member(
    ...     model, model.get_weights(), learning_rate=0.1, train_rows=rows, val_rows=rows, seed=0
    ... )
    """

    model: keras.Sequential
    weights: Sequence[np.ndarray]
    learning_rate: float
    train_rows: np.ndarray
    val_rows: np.ndarray
    seed: int
    patience: int = 0
    label_smoothing: float = 0.0
    decay: float = 0.0
    average_after: int = 0
    kernel_steps: Mapping[str, float] = field(default_factory=dict)
    mixup: float = 0.0
    momentum: float = 0.0
    target_mean: float = 0.0
    target_scale: float = 1.0
    train_weights: np.ndarray | None = None
    val_weights: np.ndarray | None = None
    class_weights: np.ndarray | None = None
    checkpoint: Checkpoint | None = None


@dataclass(frozen=True)
class Trained:
    """A trained member.

    `weights`, or their average if the training keeps one: after the last epoch; with early
    stopping, after the best epoch; of a member that diverged, before the epoch of divergence.

    `curves`: name → (epochs_run,) float32. Losses are without penalties, label smoothing and
    weights of classes; without labels there are no accuracies. Training values are means over the
    epoch's batches, as in `fit`, of the trained weights; validation values are of the weights that
    would be returned.

    `diverged`: the first epoch, from 1, with a loss that is not finite, or None. `seconds`: the
    member's share of the wall time of this call, compilation included, and of those it resumes.
    """

    weights: list[np.ndarray]
    curves: dict[str, np.ndarray]
    epochs_run: int
    best_epoch: int | None
    diverged: int | None
    seconds: float
    checkpoint: Checkpoint | None = None
