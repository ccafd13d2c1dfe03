"""The regularization techniques as data: one small entry each.

A technique turns its hyperparameters into a `Change`: the difference from the baseline, in the
model or in its training.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.errors import nearest
from pipeline.techniques.changes import Change
from pipeline.techniques.images import Cutout, Flip, Rotation, Shift, Zoom
from pipeline.techniques.noise import (
    AlphaDropout,
    Dropout,
    GaussianDropout,
    InputDropout,
    InputNoise,
    RecurrentDropout,
    SpatialDropout,
)
from pipeline.techniques.penalties import (
    Activity,
    BiasPenalty,
    Gates,
    KernelPenalty,
    LayerPenalties,
    MaxNorm,
    Orthogonal,
    OutputKernelPenalty,
    Penalty,
)
from pipeline.techniques.ranges import Range
from pipeline.techniques.structure import Activation, BatchNorm, Whitening
from pipeline.techniques.training import (
    BatchSize,
    Ema,
    LabelSmoothing,
    Mixup,
    ProximalGroupLasso,
    ProximalL1,
    Stopping,
    Swa,
    ValidationToo,
    WeightDecay,
)


@dataclass(frozen=True)
class Technique:
    """One way to regularize.

    `search`: the hyperparameters and their ranges. `change` takes them as keyword arguments; in a
    combination their names start with that of the technique, as in `l2.strength`.

    >>> from pipeline.techniques.noise import Dropout
    >>> rate = Range(0.05, 0.8, default=0.25)
    >>> technique = Technique(
    ...     summary="zeroes a random share of each hidden layer's outputs while training",
    ...     formula="h * mask / (1 - rate), mask ~ Bernoulli(1 - rate)",
    ...     source="Srivastava et al. 2014",
    ...     search={"rate": rate},
    ...     change=lambda rate: Change(Dropout(rate)),
    ... )
    >>> technique.apply({"rate": 0.5}).parts()
    {'dropout': Dropout(rate=0.5)}
    """

    summary: str
    formula: str
    source: str
    search: Mapping[str, Range]
    change: Callable[..., Change]
    off_at_zero: bool = True  # whether it does nothing if its hyperparameters are 0

    def apply(self, values: Mapping[str, float]) -> Change:
        """The change for these hyperparameters.

        Raises ValueError for missing or unknown names and for invalid values.
        """
        if values.keys() != self.search.keys():
            raise ValueError(
                f"expected the hyperparameters {sorted(self.search)}, but got {sorted(values)}"
            )
        try:
            return self.change(**values)
        except ValueError as error:  # from the change, which may have other names for the values
            given = [f"{name}={value}" for name, value in values.items()]
            unnamed = ", ".join(value for value in given if value not in str(error))
            raise ValueError(f"{error} (from {unnamed})" if unnamed else str(error)) from None

    @property
    def lowest(self) -> Change:
        """The change at the low ends of its ranges."""
        return self.apply({name: searched.low for name, searched in self.search.items()})


BASELINE = "none"  # the technique that every comparison is with

DISTORTION = Range(0.01, 0.3, log=True, default=0.1)
TURN = Range(0.005, 0.15, log=True, default=0.04)  # of a full turn: 2 to 54 degrees
STRENGTH = Range(1e-6, 1e-1, log=True, default=1e-4)  # articles A and B
# Of a step on the weights: in all, the steps amount to learning_rate * strength * steps, and the
# weights start near 0.1.
STEP_STRENGTH = Range(1e-3, 10.0, log=True, default=0.1)
RATE = Range(0.05, 0.8, default=0.25)  # article B
EPSILON = Range(1e-4, 1.0, log=True, default=0.1)  # the variance of our pixels is at most 0.1
NEVER = 10**9  # epochs of patience: longer than any training
PATIENCE = Range(1, 200, log=True, integer=True, default=10)


@dataclass(frozen=True)
class _Norm:
    """A kind of penalty; summary and formula have {of}, {t} and {per} for the penalised tensor."""

    summary: str
    formula: str
    source: str
    search: Mapping[str, Range]
    penalty: Callable[..., Penalty]


_NORMS = {
    "l1": _Norm(
        summary="penalty on the absolute size of {of}",
        formula="loss + strength * sum(|{t}|){per}",
        source="Tibshirani 1996",
        search={"strength": STRENGTH},
        penalty=lambda strength: Penalty(l1=strength),
    ),
    "l2": _Norm(
        summary="penalty on the squared size of {of}",
        formula="loss + strength * sum({t}**2){per}",
        source="Hoerl and Kennard 1970; Krogh and Hertz 1991",
        search={"strength": STRENGTH},
        penalty=lambda strength: Penalty(l2=strength),
    ),
    "l1_l2": _Norm(
        summary="elastic net on {of}",
        formula="loss + l1 * sum(|{t}|){per} + l2 * sum({t}**2){per}",
        source="Zou and Hastie 2005",
        search={"l1": STRENGTH, "l2": STRENGTH},
        penalty=Penalty,
    ),
}


def _penalties(
    name: str,
    change: Callable[[Penalty], Change],
    of: str,
    t: str,
    source: str = "",
    per: str = "",
) -> dict[str, Technique]:
    """An entry for each kind of penalty on a tensor; `name`: such as `bias_{}`."""

    def entry(norm: _Norm) -> Technique:
        return Technique(
            summary=norm.summary.format(of=of),
            formula=norm.formula.format(t=t, per=per),
            source="; ".join(filter(None, (norm.source, source))),
            search=norm.search,
            change=lambda **values: change(norm.penalty(**values)),
        )

    return {name.format(kind): entry(norm) for kind, norm in _NORMS.items()}


def _every_kernel(penalty: Penalty) -> Change:
    return Change(KernelPenalty(penalty), OutputKernelPenalty(penalty))


TECHNIQUES: Mapping[str, Technique] = {
    # The learning rate is searched with every technique, so this is also the baseline with a tuned
    # learning rate.
    BASELINE: Technique(
        summary="no regularization: the baseline",
        formula="loss",
        source="",
        search={},
        change=Change,
    ),
    **_penalties("{}", lambda penalty: Change(KernelPenalty(penalty)), "the hidden kernels", "w"),
    **_penalties("{}_all", _every_kernel, "all kernels, the output layer's included", "w"),
    "mixed_penalties": Technique(
        summary="a different penalty on the kernel of each of three hidden layers",
        formula="loss + l1 * sum(|w1|) + l2 * sum(w2**2) + l1_l2 * sum(|w3| + w3**2)",
        source="article C",
        search={"l1": STRENGTH, "l2": STRENGTH, "l1_l2": STRENGTH},
        change=lambda l1, l2, l1_l2: Change(
            LayerPenalties((Penalty(l1=l1), Penalty(l2=l2), Penalty(l1_l2, l1_l2)))
        ),
    ),
    "proximal_l1": Technique(
        summary="L1 penalty on the hidden kernels, applied by soft thresholding, which gives exact "
        "zeros",
        formula="w = sign(w) * max(|w| - learning_rate * strength, 0) after each step on loss",
        source="Duchi and Singer 2009; decoupled from Adam as in Loshchilov and Hutter 2019",
        search={"strength": STEP_STRENGTH},
        change=lambda strength: Change(ProximalL1(strength)),
    ),
    "proximal_group_lasso": Technique(
        summary="group soft thresholds on all hidden weights that leave the same input; removes "
        "inputs",
        formula="w_i = w_i * max(0, 1 - learning_rate * strength * sqrt(size(w_i)) / ||w_i||) for "
        "the weights w_i of each input i of a layer after each step on loss",
        source="Yuan and Lin 2006; Parikh and Boyd 2014; decoupled from Adam as in Loshchilov and "
        "Hutter 2019",
        search={"strength": STEP_STRENGTH},
        change=lambda strength: Change(ProximalGroupLasso(strength)),
    ),
    "weight_decay": Technique(
        summary="shrinks the hidden kernels by a fraction in each step, decoupled from the "
        "gradient",
        formula="w = w - learning_rate * strength * w before each step on loss",
        source="Hanson and Pratt 1988; Loshchilov and Hutter 2019",
        search={"strength": STEP_STRENGTH},
        change=lambda strength: Change(WeightDecay(strength)),
    ),
    "orthogonal": Technique(
        summary="penalty on the cosines between the incoming weights of each layer's hidden units",
        formula="loss + strength * mean over pairs of units of |w_i . w_j| / (||w_i|| ||w_j||)",
        source="Brock et al. 2017; the cosines are Keras's OrthogonalRegularizer",
        search={"strength": Range(1e-4, 10.0, log=True, default=0.01)},
        change=lambda strength: Change(Orthogonal(strength)),
    ),
    "max_norm": Technique(
        summary="a bound on the norm of each hidden unit's incoming weights",
        formula="w = w * min(1, max_norm / ||w||) for each unit after each step on loss",
        source="Srebro and Shraibman 2005; Srivastava et al. 2014",
        # Units start with a norm near 1; Srivastava et al. used 2 to 4.
        search={"max_norm": Range(0.1, 10.0, log=True, default=3)},
        change=lambda max_norm: Change(MaxNorm(max_norm)),
    ),
    "l0": Technique(
        summary="random gates on inputs and units that learn to close; closed ones are removed",
        formula="loss of gated inputs + strength / examples * sum(P(gate != 0) * gated weights)",
        source="Louizos, Welling and Kingma 2018: hard concrete gates",
        search={"strength": Range(1e-3, 1.0, log=True, default=0.1)},
        change=lambda strength: Change(Gates(strength)),
        off_at_zero=False,
    ),
    **_penalties(
        "bias_{}",
        lambda penalty: Change(BiasPenalty(penalty)),
        of="the hidden biases",
        t="b",
        source="article D",
    ),
    "dropout": Technique(
        summary="zeroes a random share of each hidden layer's outputs while training",
        formula="h * mask / (1 - rate), mask ~ Bernoulli(1 - rate)",
        source="Srivastava et al. 2014",
        search={"rate": RATE},
        change=lambda rate: Change(Dropout(rate)),
    ),
    "input_dropout": Technique(
        summary="zeroes a random share of the inputs while training",
        formula="x * mask / (1 - rate), mask ~ Bernoulli(1 - rate)",
        source="Srivastava et al. 2014",  # who keep 0.8 of the inputs
        search={"rate": Range(0.02, 0.5, default=0.2)},
        change=lambda rate: Change(InputDropout(rate)),
    ),
    "spatial_dropout": Technique(
        summary="zeroes a random share of each block's feature maps, each as a whole",
        formula="h * mask / (1 - rate), mask ~ Bernoulli(1 - rate) per example and channel",
        source="Tompson et al. 2015",
        search={"rate": RATE},
        change=lambda rate: Change(SpatialDropout(rate)),
    ),
    "recurrent_dropout": Technique(
        summary="zeroes a random share of the LSTM's recurrent state, with the same mask in all "
        "steps",
        formula="a_t = x_t w + (h_t-1 * mask / (1 - rate)) u + b, one mask per example and gate",
        source="Gal and Ghahramani 2016",
        search={"rate": RATE},
        change=lambda rate: Change(RecurrentDropout(rate)),
    ),
    "gaussian_dropout": Technique(
        summary="multiplies each hidden layer's outputs by Gaussian noise while training",
        formula="h * z, z ~ Normal(1, rate / (1 - rate))",
        source="Srivastava et al. 2014",
        search={"rate": RATE},
        change=lambda rate: Change(GaussianDropout(rate)),
    ),
    "alpha_dropout": Technique(
        summary="SELU layers with a random share of the outputs set to their negative saturation "
        "value",
        formula="a * (h * mask + limit * (1 - mask)) + b, h = selu(x w + b), limit = -1.758",
        source="Klambauer et al. 2017",  # who try rates of 0.05 and 0.1
        search={"rate": Range(0.01, 0.5, log=True, default=0.1)},
        change=lambda rate: Change(Activation("selu"), AlphaDropout(rate)),
    ),
    "gaussian_noise": Technique(
        summary="adds Gaussian noise to the inputs while training",
        formula="x + z, z ~ Normal(0, stddev**2)",
        source="Bishop 1995",
        # Images and circles span 1 and 2.
        search={"stddev": Range(0.01, 0.5, log=True, default=0.1)},
        change=lambda stddev: Change(InputNoise(stddev)),
    ),
    "shift": Technique(
        summary="shifts each image at random while training, by up to a share of its sides",
        formula="x[i - a * height, j - b * width], a and b ~ Uniform(-factor, factor)",
        source="Simard, Steinkraus and Platt 2003",
        search={"factor": DISTORTION},
        change=lambda factor: Change(Shift(factor)),
    ),
    "rotation": Technique(
        summary="rotates each image at random while training, by up to a share of a full turn",
        formula="x[R(2 pi a) (i, j)] about the centre, a ~ Uniform(-factor, factor)",
        source="Simard, Steinkraus and Platt 2003",
        search={"factor": TURN},
        change=lambda factor: Change(Rotation(factor)),
    ),
    "zoom": Technique(
        summary="scales each image up or down at random while training",
        formula="x[(1 + a) (i, j)] about the centre, a ~ Uniform(-factor, factor)",
        source="Krizhevsky, Sutskever and Hinton 2012; Simonyan and Zisserman 2015",
        search={"factor": DISTORTION},
        change=lambda factor: Change(Zoom(factor)),
    ),
    "flip": Technique(
        summary="flips half of the images left to right while training; harmful for digits",
        formula="x[i, width - 1 - j] with probability 1/2",
        source="Krizhevsky, Sutskever and Hinton 2012",
        search={},
        change=lambda: Change(Flip()),
    ),
    "augmentation": Technique(
        summary="shift, rotation and zoom together, each with its own factor",
        formula="zoom(rotation(shift(x)))",
        source="Shorten and Khoshgoftaar 2019",
        search={"shift": DISTORTION, "rotation": TURN, "zoom": DISTORTION},
        change=lambda shift, rotation, zoom: Change(Shift(shift), Rotation(rotation), Zoom(zoom)),
    ),
    "cutout": Technique(
        summary="sets a rectangle at a random position of each image to zero while training",
        formula="x * (1 - inside), a rectangle of sides sqrt(share) times the image's",
        source="DeVries and Taylor 2017; Zhong et al. 2017",
        search={"share": Range(0.02, 0.4, default=0.1)},
        change=lambda share: Change(Cutout(share)),
    ),
    "mixup": Technique(
        summary="trains on mixtures of two examples and their labels; one mixing weight per batch",
        formula="s * x[i] + (1 - s) * x[j] and s * loss(y[i]) + (1 - s) * loss(y[j]), "
        "s ~ Beta(alpha, alpha)",
        source="Zhang et al. 2018",  # who try 0.1 to 0.4 on ImageNet and 1 on CIFAR
        search={"alpha": Range(0.05, 2.0, log=True, default=0.2)},
        change=lambda alpha: Change(Mixup(alpha)),
    ),
    **_penalties(
        "activity_{}_before",
        lambda penalty: Change(Activity(penalty, "before")),
        of="the hidden layers' outputs before the non-linearity",
        t="a",
        source="article A",
        per=" / examples",
    ),
    **_penalties(
        "activity_{}_after",
        lambda penalty: Change(Activity(penalty, "after")),
        of="the hidden layers' outputs after the non-linearity",
        t="h",
        source="Glorot, Bordes and Bengio 2011; article A",
        per=" / examples",
    ),
    "activation_gelu": Technique(
        summary="GELU in the hidden layers: the expected value of randomly gated outputs",
        formula="h = a * P(Z <= a), Z ~ Normal(0, 1)",
        source="Hendrycks and Gimpel 2016; article D",
        search={},
        change=lambda: Change(Activation("gelu")),
    ),
    "activation_selu": Technique(
        summary="SELU in the hidden layers, whose outputs keep mean 0 and variance 1",
        formula="h = 1.051 * (a if a > 0 else 1.673 * (exp(a) - 1)), w ~ LeCun's normal at first",
        source="Klambauer et al. 2017",
        search={},
        change=lambda: Change(Activation("selu")),
    ),
    "activation_tanh": Technique(
        summary="tanh in the hidden layers; no output is exactly zero",
        formula="h = tanh(a)",
        source="LeCun et al. 1998; a control for article D",
        search={},
        change=lambda: Change(Activation("tanh")),
    ),
    "activation_linear": Technique(
        summary="hidden layers without a non-linearity: a linear model with several factors",
        formula="h = a",
        source="Baldi and Hornik 1989; a control for article D",
        search={},
        change=lambda: Change(Activation("linear")),
    ),
    "batch_norm": Technique(
        summary="normalizes the hidden layers' outputs by the mean and variance of the batch",
        formula="a = gamma * (x w - mean) / sqrt(variance + 0.001) + beta, by the batch's in "
        "training and by moving averages of momentum 0.9 afterwards",
        source="Ioffe and Szegedy 2015",
        search={},
        change=lambda: Change(BatchNorm()),
    ),
    "label_smoothing": Technique(
        summary="trains on labels with a share of the probability spread evenly over the classes",
        formula="(1 - smoothing) * loss(y) + smoothing * mean over the classes of loss(class)",
        source="Szegedy et al. 2016",
        search={"smoothing": Range(0.01, 0.5, default=0.1)},
        change=lambda smoothing: Change(LabelSmoothing(smoothing)),
    ),
    "batch_size": Technique(
        summary="larger or smaller batches, so less or more gradient noise",
        formula="loss over 2**log2_batch_size examples; the learning rate is searched with it",
        source="Keskar et al. 2017; Smith and Le 2018",
        # Powers of two, since each size needs a separate compiled program.
        search={"log2_batch_size": Range(3, 8, integer=True, default=5)},
        change=lambda log2_batch_size: Change(BatchSize(2**log2_batch_size)),
    ),
    "ema": Technique(
        summary="keeps an exponential moving average of the weights over the steps",
        formula="average = (1 - 1 / horizon) * average + w / horizon after each step on loss",
        source="Polyak and Juditsky 1992; Ruppert 1988",
        search={"horizon": Range(3, 1000, log=True, default=100)},  # steps
        change=lambda horizon: Change(Ema(horizon)),
    ),
    "swa": Technique(
        summary="averages the weights at the end of each of the last epochs",
        formula="mean of w at the end of each epoch after the share `start` of them",
        source="Izmailov et al. 2018, at a constant learning rate",
        search={"start": Range(0.1, 0.95, default=0.75)},
        change=lambda start: Change(Swa(start)),
    ),
    "early_stopping": Technique(
        summary="stops when the validation accuracy no longer improves; keeps the best weights",
        formula="argmax over epochs of validation accuracy",
        source="Morgan and Bourlard 1990; Prechelt 1998",
        search={"patience": PATIENCE},
        change=lambda patience: Change(Stopping(patience, "val_accuracy")),
    ),
    "best_epoch": Technique(
        summary="no regularization, but the weights of the epoch with the best validation accuracy",
        formula="argmax over epochs of validation accuracy; trains to the last epoch",
        source="the baseline of early stopping, which keeps these weights too",
        search={},
        change=lambda: Change(Stopping(NEVER, "val_accuracy")),
        off_at_zero=False,
    ),
    "train_and_validation": Technique(
        summary="no regularization, trained on training and validation examples",
        formula="the baseline's loss, on more examples",
        source="the baseline of techniques that read the validation labels while training",
        search={},
        change=lambda: Change(ValidationToo()),
        off_at_zero=False,
    ),
    "early_stopping_loss": Technique(
        summary="stops when the validation loss, without penalty, no longer falls",
        formula="argmin over epochs of validation loss without penalty; keeps the best weights",
        source="Morgan and Bourlard 1990; Prechelt 1998",
        search={"patience": PATIENCE},
        change=lambda patience: Change(Stopping(patience, "val_loss")),
    ),
    "dropout_l2": Technique(
        summary="dropout and an L2 penalty on the hidden kernels",
        formula="dropout's loss + strength * sum(w**2)",
        source="Srivastava et al. 2014",
        search={"rate": RATE, "strength": STRENGTH},
        change=lambda rate, strength: Change(Dropout(rate), KernelPenalty(Penalty(l2=strength))),
    ),
    "zca": Technique(
        summary="whitens the inputs by the covariance of the training inputs",
        formula="(x - mean) U diag(1 / sqrt(s + epsilon)) U^T, covariance = U diag(s) U^T",
        source="Bell and Sejnowski 1997; Krizhevsky 2009",
        search={"epsilon": EPSILON},
        change=lambda epsilon: Change(Whitening(epsilon)),
    ),
    "zca_dropout": Technique(
        summary="the dropout network on whitened inputs",
        formula="dropout's loss on whitened inputs",
        source="article B, as intended",
        search={"epsilon": EPSILON, "rate": RATE},
        change=lambda epsilon, rate: Change(Whitening(epsilon), Dropout(rate)),
    ),
    "dropout_early_stopping": Technique(
        summary="the dropout network, stopped when validation accuracy no longer improves",
        formula="argmax over epochs of the dropout network's validation accuracy",
        source="article B",
        search={"rate": RATE, "patience": PATIENCE},
        change=lambda rate, patience: Change(Dropout(rate), Stopping(patience, "val_accuracy")),
    ),
    "dropout_early_stopping_again": Technique(
        summary="the trained dropout network, trained a second time with early stopping; up to "
        "twice the epochs",
        formula="as dropout_early_stopping, over the epochs of a second fit",
        source="article B, as printed",
        search={"rate": RATE, "patience": PATIENCE},
        change=lambda rate, patience: Change(
            Dropout(rate), Stopping(patience, "val_accuracy", again=True)
        ),
    ),
}


def combination(parts: Sequence[str]) -> Technique:
    """A combination of techniques, each on all hidden layers or on some. Kadra et al. 2021.

    Args:
        parts: registered names, with hidden layers after slashes, as in `l1/first` and
            `l2/hidden_2/hidden_3`. A single part keeps the names of its hyperparameters; those of
            several parts become `<part>.<name>`.

    Raises ValueError for an unknown name, and for parts that change the same thing.

    >>> dropout_l2 = combination(["dropout", "l2/first"])
    >>> sorted(dropout_l2.search)
    ['dropout.rate', 'l2/first.strength']
    """
    prefixes = {part: f"{part}." if len(parts) > 1 else "" for part in parts}
    known = {part: _registered(part.split("/")[0]) for part in parts}

    def change(**values: float) -> Change:
        joined = Change()
        for part, technique in known.items():
            own = {name: values[prefixes[part] + name] for name in technique.search}
            joined |= _on_layers(technique.apply(own), part)
        return joined

    combined = Technique(
        summary=" + ".join(part.replace("/", " on ", 1).replace("/", ", ") for part in known),
        formula="; ".join(technique.formula for technique in known.values()),
        source="; ".join(technique.source for technique in known.values() if technique.source),
        search={
            prefixes[part] + name: searched
            for part, technique in known.items()
            for name, searched in technique.search.items()
        },
        change=change,
    )
    _ = combined.lowest  # raises ValueError for parts that clash
    return combined


def explained(made_of: str) -> str:
    """What a combination does, in words; `made_of`: its parts, joined by plus signs.

    >>> explained("input_dropout + max_norm").partition(";")[0]
    'input_dropout and max_norm together: zeroes a random share of the inputs while training'
    >>> explained("l2/first")
    'l2 on first: penalty on the squared size of the hidden kernels'
    """
    parts = made_of.split(" + ")
    names = [part.replace("/", " on ", 1).replace("/", " and ") for part in parts]
    known = dict.fromkeys(part.split("/")[0] for part in parts)
    does = "; ".join(TECHNIQUES[name].summary for name in known if name in TECHNIQUES)
    if len(names) == 1:
        return f"{names[0]}: {does}"
    return f"{', '.join(names[:-1])} and {names[-1]} together: {does}"


def _registered(name: str) -> Technique:
    if name not in TECHNIQUES:
        raise ValueError(f"unknown technique {name!r}{nearest(name, TECHNIQUES)}")
    return TECHNIQUES[name]


def _on_layers(change: Change, part: str) -> Change:
    """The change on the layers that the part names after slashes, or on all."""
    _, *layers = part.split("/")
    return change.only(*layers) if layers else change
