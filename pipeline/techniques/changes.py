"""What a technique can change in a model or in its training, as plain values.

Changes can be joined, so a combination of techniques is the union of their changes. `models` reads
a change's model part, `trainer` the rest; nothing else knows what a technique does.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

Place = Literal["before", "after"]
Activation = Literal["relu", "gelu", "selu", "tanh", "linear"]
Monitor = Literal["val_loss", "val_accuracy"]


def _check_strength(name: str, strength: float) -> None:
    if not 0 <= strength < float("inf"):
        raise ValueError(f"`{name}` must be finite and >= 0, but got {name}={strength}")


@dataclass(frozen=True)
class Penalty:
    """`l1 * sum(|t|) + l2 * sum(t**2)` of a tensor t, added to the loss. Both strengths >= 0."""

    l1: float = 0.0
    l2: float = 0.0

    def __post_init__(self) -> None:
        for name in ("l1", "l2"):
            _check_strength(name, getattr(self, name))


@dataclass(frozen=True)
class Orthogonal:
    """`strength` times the mean over pairs of a kernel's columns of `|cos(angle between them)|`.

    `keras.regularizers.OrthogonalRegularizer` in its mode "columns", for kernels of two axes.
    """

    strength: float

    def __post_init__(self) -> None:
        _check_strength("strength", self.strength)


@dataclass(frozen=True)
class Activity:
    """A penalty on a hidden layer's output, before or after its non-linearity.

    As in Keras, the penalty is summed over units and rows and divided by the rows of the batch.
    """

    penalty: Penalty
    place: Place


@dataclass(frozen=True)
class Stopping:
    """Stop when `monitor` has not improved for `patience` epochs; the best epoch's weights stay.

    `val_loss` is the unpenalised loss, so that strengths can be compared.

    `again`: stop a second `fit` only, which goes on where a first one of as many epochs has ended,
    the optimizer's state included. What the first one reached is no best value to beat.
    """

    patience: float  # a whole number >= 0
    monitor: Monitor
    again: bool = False

    def __post_init__(self) -> None:
        if not (0 <= self.patience < float("inf") and self.patience % 1 == 0):
            raise ValueError(f"`patience` must be a whole number >= 0, but got {self.patience}")


@dataclass(frozen=True)
class Gates:
    """A gate on every input of each dense layer, the output too, and on each convolution's maps.

    Added to the loss: `strength / rows * sum(P(gate != 0) * weights that it switches)`, with the
    rows of the training data, so that `strength` is the article's lambda.
    """

    strength: float

    def __post_init__(self) -> None:
        _check_strength("strength", self.strength)


@dataclass(frozen=True)
class Whitening:
    """ZCA whitening of the inputs, fitted on the training rows: see `whitening`.

    `epsilon`: added to the variance of each direction; > 0, in squared units of the input.
    """

    epsilon: float

    def __post_init__(self) -> None:
        if not 0 < self.epsilon < float("inf"):
            raise ValueError(f"`epsilon` must be finite and > 0, but got epsilon={self.epsilon}")


@dataclass(frozen=True)
class BatchNorm:
    """Batch normalization of the hidden layers' outputs before their non-linearity.

    The layer's bias is left out, since the normalization's own takes its place. The statistics that
    evaluation uses are `momentum * old + (1 - momentum) * batch` after each step; 0.9 remembers
    the last ten, as runs of few steps need, where Keras's default of 0.99 remembers a hundred.
    """

    momentum: float = 0.9


@dataclass(frozen=True)
class Ema:
    """An exponential moving average of the weights is what is validated and kept.

    After each step `average = decay * average + (1 - decay) * w` with decay = 1 - 1 / horizon; the
    first step's weights begin it. The trained weights go their way without it.
    """

    horizon: float  # steps, >= 1

    def __post_init__(self) -> None:
        if not 1 <= self.horizon < float("inf"):
            raise ValueError(f"`horizon` must be finite and >= 1, but got {self.horizon}")

    @property
    def decay(self) -> float:
        """Keras's `ema_momentum`."""
        return 1 - 1 / self.horizon


@dataclass(frozen=True)
class Swa:
    """The mean of the weights at the ends of a run's last epochs is what is validated and kept.

    `start`: share of the epochs before the first that counts; until then the weights themselves
    are validated.
    """

    start: float

    def __post_init__(self) -> None:
        if not 0 <= self.start <= 1:
            raise ValueError(f"`start` must lie in [0, 1], but got {self.start}")


@dataclass(frozen=True)
class Change:
    """What a technique changes; None leaves that part as in the baseline."""

    # On the kernels of the hidden layers: one penalty for all of them, or one for each in order.
    kernel: Penalty | Orthogonal | tuple[Penalty, ...] | None = None
    # Strengths >= 0 of steps on the hidden kernels beside the optimizer's; see engine.optimizers.
    weight_decay: float | None = None
    proximal_l1: float | None = None
    proximal_group_lasso: float | None = None
    bias: Penalty | None = None  # on the biases of the hidden layers
    activity: Activity | None = None  # on the outputs of the hidden layers
    activation: Activation | None = None  # the hidden layers' non-linearity
    max_norm: float | None = None  # > 0, of each hidden unit's incoming weights
    batch_norm: BatchNorm | None = None  # of the outputs of the hidden layers
    dropout: float | None = None  # rate in [0, 1), after each hidden layer
    label_smoothing: float | None = None  # share in [0, 1) of each label, spread over the classes
    gates: Gates | None = None
    batch_size: float | None = None  # rows of a step: a whole number >= 1
    averaging: Ema | Swa | None = None  # of the weights
    gaussian_dropout: float | None = None  # rate in [0, 1), after each hidden layer
    alpha_dropout: float | None = None  # rate in [0, 1), after each hidden layer
    spatial_dropout: float | None = None  # rate in [0, 1), after each block of a cnn
    recurrent_dropout: float | None = None  # rate in [0, 1), on what an lstm's steps hand on
    input_dropout: float | None = None  # rate in [0, 1), on the input
    # On images while training, one draw a row. Shares in [0, 1): the largest shift of the sides,
    # turn of a full one, and change of the size, up or down; the area that is erased.
    shift: float | None = None
    rotation: float | None = None
    zoom: float | None = None
    cutout: float | None = None
    flip: bool | None = None  # left and right, of every other image
    input_noise: float | None = None  # standard deviation in [0, 1], in units of the input
    mixup: float | None = None  # alpha >= 0 of the Beta distribution of the shares
    stopping: Stopping | None = None
    whitening: Whitening | None = None  # of the inputs
    # On some of the hidden layers: their names or "first", and what changes there.
    at: tuple[tuple[tuple[str, ...], "Change"], ...] | None = None

    def __post_init__(self) -> None:
        for part in RATES:
            rate = getattr(self, part)
            if rate is not None and not 0 <= rate < 1:
                raise ValueError(f"`rate` must lie in [0, 1), but got rate={rate}")
        if self.batch_size is not None and not (self.batch_size >= 1 and self.batch_size % 1 == 0):
            raise ValueError(f"`batch_size` must be a whole number >= 1, but got {self.batch_size}")
        if self.batch_norm and self.averaging:
            raise ValueError("averaged weights have no statistics for `batch_norm`")
        if self.averaging and self.stopping and self.stopping.again:
            raise ValueError("a second fit goes on from the last weights, not from averaged ones")
        if self.batch_norm and self.gates:
            raise ValueError("`gates` cannot be cut out of a network with `batch_norm`")
        if self.batch_norm and self.bias:
            raise ValueError("`batch_norm` leaves no bias for the penalty `bias`")
        if self.label_smoothing is not None and not 0 <= self.label_smoothing < 1:
            raise ValueError(f"`smoothing` must lie in [0, 1), but got {self.label_smoothing}")
        for name in KERNEL_STEPS:
            strength = getattr(self, name)
            if strength is not None:
                _check_strength("strength", strength)
        if self.max_norm is not None and not 0 < self.max_norm < float("inf"):
            raise ValueError(f"`max_norm` must be finite and > 0, but got {self.max_norm}")
        for part in IMAGE_SHARES:
            share = getattr(self, part)
            if share is not None and not 0 <= share < 1:
                raise ValueError(f"`{part}` must lie in [0, 1), but got {part}={share}")
        if self.mixup is not None:
            _check_strength("alpha", self.mixup)
        if self.input_noise is not None and not 0 <= self.input_noise <= 1:
            raise ValueError(f"`stddev` must lie in [0, 1], but got stddev={self.input_noise}")

    def __or__(self, other: "Change") -> "Change":
        """Both changes at once. Raises ValueError where both set the same part."""
        mine, theirs = self.parts(), other.parts()
        if "at" in mine and "at" in theirs:
            theirs["at"] = mine.pop("at") + theirs["at"]
        if clash := sorted(mine.keys() & theirs.keys()):
            raise ValueError(f"two techniques both change {', '.join(clash)}")
        return replace(self, **theirs)

    @property
    def fits(self) -> int:
        """How often `fit` is called in a row, each time for a training's epochs."""
        return 2 if self.stopping and self.stopping.again else 1

    def before_last_fit(self, epochs: int) -> int:
        """Of all calls' epochs, those of all but the last."""
        return epochs - epochs // self.fits

    @property
    def grows(self) -> bool:
        """Whether a short training is how a longer one begins."""
        return self.fits == 1 and not isinstance(self.averaging, Swa)

    def only(self, *layers: str) -> "Change":
        """The same change on some of the hidden layers: their names, or "first".

        Raises ValueError where it has parts that are the whole network's.
        """
        if whole := sorted(self.parts().keys() - PER_LAYER):
            raise ValueError(f"{', '.join(whole)} cannot be set for single layers")
        return Change(at=((layers, self),))

    def on(self, layer: str, place: int) -> "Change":
        """What there is on one hidden layer, by its name and its place from 0.

        Raises ValueError where two parts of one kind meet.
        """
        found = replace(self, at=None)
        for layers, change in self.at or ():
            if layer in layers or (place == 0 and "first" in layers):
                found |= change
        return found

    def anywhere(self, part: str) -> Any:
        """A part's value, be it on all hidden layers or on some; None where there is none.

        Raises ValueError where it is there twice, for layers that each have their own.
        """
        changes = (self, *(change for _, change in self.at or ()))
        values = [value for change in changes if (value := getattr(change, part)) is not None]
        if len(values) > 1:
            raise ValueError(f"{part} can have one value only, be it on all layers or on some")
        return values[0] if values else None

    def kernel_of(self, layer: int) -> Penalty | Orthogonal | None:
        """The penalty on the kernel of a hidden layer, counted from 0."""
        return self.kernel[layer] if isinstance(self.kernel, tuple) else self.kernel

    def parts(self) -> dict[str, Any]:
        """The parts that differ from the baseline."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


# The parts that are a step on kernels beside the optimizer's.
KERNEL_STEPS = ("weight_decay", "proximal_l1", "proximal_group_lasso")
# The parts of a change that a hidden layer can have for itself.
PER_LAYER = {
    *("kernel", "max_norm", "batch_norm", "bias", "activity", "activation"),
    *("dropout", "gaussian_dropout", "alpha_dropout"),
    *KERNEL_STEPS,
}
# The parts that only images can have.
IMAGE_SHARES = ("shift", "rotation", "zoom", "cutout")
IMAGE_PARTS = (*IMAGE_SHARES, "flip")
MOVES = ("shift", "rotation", "zoom", "flip")  # of these, the ones that move what an image shows
# The parts that are a share of what they drop.
RATES = (
    *("dropout", "gaussian_dropout", "alpha_dropout"),
    *("spatial_dropout", "recurrent_dropout", "input_dropout"),
)
