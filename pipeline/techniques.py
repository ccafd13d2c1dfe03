"""Every regularization technique, as data.

A technique turns its hyperparameters into a `Change`: what is different in the model or in its
training, compared with the baseline. Changes are plain values and can be joined, so a combination
of techniques is the union of their changes. `models` reads a change's model part, `engine` the
rest; nothing else knows what a technique does.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

Place = Literal["before", "after"]
Activation = Literal["relu", "gelu", "tanh", "linear"]
Monitor = Literal["val_loss", "val_accuracy"]


@dataclass(frozen=True)
class Penalty:
    """`l1 * sum(|t|) + l2 * sum(t**2)` of a tensor t, added to the loss. Both strengths >= 0."""

    l1: float = 0.0
    l2: float = 0.0

    def __post_init__(self) -> None:
        for name in ("l1", "l2"):
            strength = getattr(self, name)
            if not 0 <= strength < float("inf"):
                raise ValueError(f"`{name}` must be finite and >= 0, but got {name}={strength}")


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
    """

    patience: float  # a whole number >= 0
    monitor: Monitor

    def __post_init__(self) -> None:
        if self.patience < 0 or int(self.patience) != self.patience:
            raise ValueError(f"`patience` must be a whole number >= 0, but got {self.patience}")


@dataclass(frozen=True)
class Proximal:
    """An L1 penalty taken by its proximal step instead of its gradient, so it is not in the loss.

    After every step of the optimizer: `w = sign(w) * max(|w| - learning_rate * l1, 0)`. With SGD
    this is proximal gradient descent. Adam's steps have a size of their own for each weight, and
    their exact proximal step would threshold most where gradients are smallest; here, as AdamW's
    weight decay does, the threshold stays apart from Adam's scaling.
    """

    l1: float

    def __post_init__(self) -> None:
        Penalty(l1=self.l1)  # has the same bounds


@dataclass(frozen=True)
class Change:
    """What a technique changes; None leaves that part as in the baseline."""

    # On the kernels of the hidden layers: one penalty for all of them, or one for each in order.
    kernel: Penalty | tuple[Penalty, ...] | None = None
    proximal: Proximal | None = None  # on the kernels of the hidden layers
    bias: Penalty | None = None  # on the biases of the hidden layers
    activity: Activity | None = None  # on the outputs of the hidden layers
    activation: Activation | None = None  # the hidden layers' non-linearity
    dropout: float | None = None  # rate in [0, 1), after each hidden layer
    stopping: Stopping | None = None

    def __post_init__(self) -> None:
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise ValueError(f"`rate` must lie in [0, 1), but got rate={self.dropout}")

    def __or__(self, other: "Change") -> "Change":
        """Both changes at once. Raises ValueError where both set the same part."""
        mine, theirs = self.parts(), other.parts()
        if clash := sorted(mine.keys() & theirs.keys()):
            raise ValueError(f"two techniques both change {', '.join(clash)}")
        return replace(self, **theirs)

    def kernel_of(self, layer: int) -> Penalty | None:
        """The penalty on the kernel of a hidden layer, counted from 0."""
        return self.kernel[layer] if isinstance(self.kernel, tuple) else self.kernel

    def parts(self) -> dict[str, Any]:
        """The parts that differ from the baseline."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class Range:
    """The values of a hyperparameter worth searching, both ends included."""

    low: float
    high: float
    log: bool = False
    integer: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"`low` must be below `high`, but got {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"`low` must be > 0 on a log scale, but got low={self.low}")


@dataclass(frozen=True)
class Technique:
    """One way to regularize.

    `change` takes the hyperparameters named in `search` as keyword arguments.
    """

    summary: str
    formula: str
    source: str
    search: Mapping[str, Range]
    change: Callable[..., Change]

    def apply(self, values: Mapping[str, float]) -> Change:
        """The change for these hyperparameters. Raises ValueError for missing or unknown names."""
        if values.keys() != self.search.keys():
            raise ValueError(
                f"expected the hyperparameters {sorted(self.search)}, but got {sorted(values)}"
            )
        return self.change(**values)

    @property
    def lowest(self) -> Change:
        """The change at the low ends of its ranges."""
        return self.apply({name: found.low for name, found in self.search.items()})


STRENGTH = Range(1e-6, 1e-1, log=True)
RATE = Range(0.05, 0.8)
PATIENCE = Range(1, 200, log=True, integer=True)

TECHNIQUES: Mapping[str, Technique] = {
    "none": Technique(
        summary="no regularization: the baseline",
        formula="loss",
        source="",
        search={},
        change=Change,
    ),
    "l1": Technique(
        summary="penalty on the absolute size of the hidden kernels",
        formula="loss + strength * sum(|w|)",
        source="Tibshirani 1996",
        search={"strength": STRENGTH},
        change=lambda strength: Change(kernel=Penalty(l1=strength)),
    ),
    "l2": Technique(
        summary="penalty on the squared size of the hidden kernels",
        formula="loss + strength * sum(w**2)",
        source="Hoerl and Kennard 1970; Krogh and Hertz 1991",
        search={"strength": STRENGTH},
        change=lambda strength: Change(kernel=Penalty(l2=strength)),
    ),
    "l1_l2": Technique(
        summary="elastic net on the hidden kernels",
        formula="loss + l1 * sum(|w|) + l2 * sum(w**2)",
        source="Zou and Hastie 2005",
        search={"l1": STRENGTH, "l2": STRENGTH},
        change=lambda l1, l2: Change(kernel=Penalty(l1, l2)),
    ),
    "mixed_penalties": Technique(
        summary="another penalty on the kernel of each of three hidden layers",
        formula="loss + l1 * sum(|w1|) + l2 * sum(w2**2) + l1_l2 * sum(|w3| + w3**2)",
        source="article C",
        search={"l1": STRENGTH, "l2": STRENGTH, "l1_l2": STRENGTH},
        change=lambda l1, l2, l1_l2: Change(
            kernel=(Penalty(l1=l1), Penalty(l2=l2), Penalty(l1_l2, l1_l2))
        ),
    ),
    "proximal_l1": Technique(
        summary="the L1 penalty on the hidden kernels by soft thresholds, which give exact zeros",
        formula="w = sign(w) * max(|w| - learning_rate * strength, 0) after each step on loss",
        source="Duchi and Singer 2009; decoupled from Adam as in Loshchilov and Hutter 2019",
        # Thresholds add up to learning_rate * strength * steps; the weights start near 0.1.
        search={"strength": Range(1e-3, 10.0, log=True)},
        change=lambda strength: Change(proximal=Proximal(l1=strength)),
    ),
    "bias_l1": Technique(
        summary="penalty on the absolute size of the hidden biases",
        formula="loss + strength * sum(|b|)",
        source="article D",
        search={"strength": STRENGTH},
        change=lambda strength: Change(bias=Penalty(l1=strength)),
    ),
    "bias_l2": Technique(
        summary="penalty on the squared size of the hidden biases",
        formula="loss + strength * sum(b**2)",
        source="article D",
        search={"strength": STRENGTH},
        change=lambda strength: Change(bias=Penalty(l2=strength)),
    ),
    "dropout": Technique(
        summary="zeroes a random share of each hidden layer's outputs while training",
        formula="h * mask / (1 - rate), mask ~ Bernoulli(1 - rate)",
        source="Srivastava et al. 2014",
        search={"rate": RATE},
        change=lambda rate: Change(dropout=rate),
    ),
    "activity_l1_before": Technique(
        summary="penalty on the hidden layers' outputs before the non-linearity",
        formula="loss + strength * sum(|a|) / rows, a = x w + b",
        source="article A",
        search={"strength": STRENGTH},
        change=lambda strength: Change(activity=Activity(Penalty(l1=strength), "before")),
    ),
    "activity_l1_after": Technique(
        summary="penalty on the hidden layers' outputs after the non-linearity",
        formula="loss + strength * sum(|h|) / rows, h = relu(x w + b)",
        source="Glorot, Bordes and Bengio 2011; article A",
        search={"strength": STRENGTH},
        change=lambda strength: Change(activity=Activity(Penalty(l1=strength), "after")),
    ),
    "activation_gelu": Technique(
        summary="GELU in the hidden layers: a smooth gate, as random regularizers gate outputs",
        formula="h = a * P(Z <= a), Z ~ Normal(0, 1)",
        source="Hendrycks and Gimpel 2016; article D",
        search={},
        change=lambda: Change(activation="gelu"),
    ),
    "activation_tanh": Technique(
        summary="tanh in the hidden layers, which sets no output to zero",
        formula="h = tanh(a)",
        source="LeCun et al. 1998; against article D",
        search={},
        change=lambda: Change(activation="tanh"),
    ),
    "activation_linear": Technique(
        summary="hidden layers without a non-linearity: a linear classifier of many factors",
        formula="h = a",
        source="Baldi and Hornik 1989; against article D",
        search={},
        change=lambda: Change(activation="linear"),
    ),
    "early_stopping": Technique(
        summary="stops when the validation accuracy no longer improves; keeps the best weights",
        formula="argmax over epochs of validation accuracy",
        source="Morgan and Bourlard 1990; Prechelt 1998",
        search={"patience": PATIENCE},
        change=lambda patience: Change(stopping=Stopping(patience, "val_accuracy")),
    ),
    "dropout_l2": Technique(
        summary="dropout and a squared penalty at once",
        formula="dropout's loss + strength * sum(w**2)",
        source="Srivastava et al. 2014",
        search={"rate": RATE, "strength": STRENGTH},
        change=lambda rate, strength: Change(dropout=rate) | Change(kernel=Penalty(l2=strength)),
    ),
    "dropout_early_stopping": Technique(
        summary="the dropout network, stopped when validation accuracy no longer improves",
        formula="argmax over epochs of the dropout network's validation accuracy",
        source="article B",
        search={"rate": RATE, "patience": PATIENCE},
        change=lambda rate, patience: (
            Change(dropout=rate) | Change(stopping=Stopping(patience, "val_accuracy"))
        ),
    ),
}
