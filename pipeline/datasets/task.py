"""What models are trained for: target, output, loss, scores, measures, and wording.

The data declare their task; an architecture may override it, as the autoencoder does. Each run and
each row of its results has it. All code that chooses, ranks, compares or reports asks the task, so
that none depends on accuracy: a further task is one more entry of `TASKS`, beside the loss that the
engine computes and the function that measures a final model. `scored` gives a task another of its
scores to go by.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from math import inf, isfinite, isnan, prod
from typing import Any, Literal

from pipeline.errors import UserError, nearest
from pipeline.formatting import UNKNOWN, percent, points, signed

Part = Literal["train", "val", "test"]
Shape = tuple[int, ...]

SIGMAS = (0.1, 0.2, 0.4)  # standard deviations of noise on test inputs, in units of the input
KEPT = (1.0, 0.5, 0.3, 0.2, 0.1)  # shares of weights that are left after pruning
PART_WORDS: Mapping[Part, str] = {"train": "train", "val": "validation", "test": "test"}
FOLLOWED = frozenset(("accuracy", "rmse", "loss"))  # scores that training has a curve of


def kept_name(share: float) -> str:
    """The column of the accuracy with this share of the weights.

    >>> kept_name(0.3)
    'kept_30_accuracy'
    """
    return f"kept_{100 * share:g}_accuracy"


@dataclass(frozen=True)
class Measure:
    """A column of runs.csv that can be compared."""

    name: str
    share: bool = False  # in [0, 1], written in percent; otherwise a number in its own unit
    better: Literal["higher", "lower", ""] = ""  # empty: neither is better
    own_unit: str = ""  # unit of a number that is not a share, such as s
    averaged: bool = False  # whether summary.csv has its mean over seeds
    words: str = ""  # its name in words, where that of the column does not tell

    @property
    def title(self) -> str:
        """Its name in words."""
        return self.words or self.name.replace("val_", "validation ").replace("_", " ")

    @property
    def best(self) -> str:
        """The word for the best value: highest or lowest."""
        return {"higher": "highest", "lower": "lowest"}[self.better]

    @property
    def sign(self) -> int:
        """The factor that makes larger values better: -1 for measures to minimize, else 1."""
        return -1 if self.better == "lower" else 1

    @property
    def scale(self) -> int:
        """The factor from values to the numbers in figures: 100 for a share."""
        return 100 if self.share else 1

    def value(self, number: float) -> str:
        """A value as text, without its unit; a dash if it is not finite.

        >>> CLASSIFICATION.test.value(0.84231), LOSS.value(0.36512)
        ('84.23', '0.3651')
        """
        if self.share:
            return percent(number)
        return f"{number:.4g}" if isfinite(number) else UNKNOWN

    def told(self, number: float | None) -> str:
        """A value with its unit, or `diverged` for None."""
        return "diverged" if number is None else f"{self.value(number)}{self.unit}"

    def difference(self, number: float) -> str:
        """A signed difference as text, without its unit; a dash if it is not finite."""
        if self.share:
            return points(number)
        return signed(f"{number:+.3g}") if isfinite(number) else UNKNOWN

    @property
    def unit(self) -> str:
        """The unit of values, with a leading space."""
        if self.share:
            return " %"
        return f" {self.own_unit}" if self.own_unit else ""

    @property
    def difference_unit(self) -> str:
        """The unit of differences, with a leading space."""
        return " points" if self.share else self.unit

    @property
    def heading(self) -> str:
        """Title and unit for a column or an axis, such as `test accuracy, %`."""
        return f"{self.title}, %" if self.share else self.title

    @property
    def spoken(self) -> str:
        """Title and unit in a sentence, such as `test accuracy in %`."""
        return f"{self.title} in %" if self.share else self.title


@dataclass(frozen=True)
class Target:
    """What a model should return for one example.

    `dtype`: int32 for the label of a class. `of_input`: whether the target is the example itself
    instead of its y.
    """

    dtype: Literal["int32", "float32"]
    of_input: bool = False

    def shape(self, input_shape: Shape) -> Shape:
        """The shape of one example's target; () for a single value."""
        return input_shape if self.of_input else ()


@dataclass(frozen=True)
class Wording:
    """How sentences describe a task."""

    models: str  # what its models do, such as "tell classes apart"
    aim: str  # what is weighed against cost, such as "accuracy"
    terms: tuple[tuple[str, str], ...] = ()  # a term, and the rest of the sentence that defines it
    columns: tuple[tuple[str, str], ...] = ()  # measure and heading, in the report's table


@dataclass(frozen=True)
class Task:
    """What models are trained for, as data.

    `output`: number of classes and one example's shape → units and activation of the last layer.
    `loss`: its name; without penalties it is called unpenalised. `scores`: compared on training,
    validation and test data; the first one decides, and between equal scores the lower loss.
    `worst`: the score of a run that diverged, or whose score is undefined. `own`: measures of a
    final model of this task, beside its scores and `EVERY`.

    >>> CLASSIFICATION.test.name, RECONSTRUCTION.test.name
    ('test_accuracy', 'test_loss')
    """

    name: str
    target: Target
    output: Callable[[int, Shape], tuple[int, str | None]]
    loss: Literal["cross-entropy", "mean squared error"]
    scores: tuple[Measure, ...]
    worst: float
    own: tuple[Measure, ...]
    wording: Wording

    @property
    def kind(self) -> str:
        """Its key in `TASKS`, whatever its score.

        >>> scored(CLASSIFICATION, "f1").kind
        'classification'
        """
        return self.name.partition("/")[0]

    @property
    def score(self) -> Measure:
        """The score by which everything is chosen and compared, for no part of the data yet."""
        return self.scores[0]

    @property
    def followed(self) -> Measure:
        """The score of the learning curves: the first of its scores that training has a curve of.

        >>> scored(CLASSIFICATION, "f1").followed.name, scored(REGRESSION, "mae").followed.name
        ('accuracy', 'rmse')
        """
        return next(score for score in self.scores if score.name in FOLLOWED)

    @property
    def by_loss(self) -> bool:
        """Whether the score puts models in the order of their losses.

        >>> CLASSIFICATION.by_loss, REGRESSION.by_loss
        (False, True)
        """
        return self.score.name in ("loss", "rmse")

    @property
    def quantity(self) -> bool:
        """Whether targets are single numbers in a unit of their own, as in a regression."""
        return not self.labels and not self.target.of_input

    @property
    def labels(self) -> bool:
        """Whether targets are class labels, so that outputs are class probabilities."""
        return self.target.dtype == "int32"

    def of(self, part: Part, score: Measure | None = None) -> Measure:
        """A score, by default the first, on a part of the data."""
        score = score or self.score
        words = f"{PART_WORDS[part]} {score.words}" if score.words else ""
        return replace(score, name=f"{part}_{score.name}", words=words)

    @property
    def train(self) -> Measure:
        """The score on training data."""
        return self.of("train")

    @property
    def val(self) -> Measure:
        """The score on validation data, by which everything is chosen."""
        return self.of("val")

    @property
    def test(self) -> Measure:
        """The score on test data, by which techniques are compared."""
        return self.of("test")

    @property
    def gap_measure(self) -> Measure:
        """How much better the score is on training data than on test data."""
        return Measure("gap", share=self.score.share)

    @property
    def fall_measure(self) -> Measure:
        """By how much the followed validation score fell from its best epoch to the last one."""
        return Measure("fall", share=self.followed.share, averaged=True)

    @cached_property
    def measures(self) -> Mapping[str, Measure]:
        """All measures by which final runs can be compared, by column; a run may lack some."""
        parts: tuple[Part, ...] = ("train", "val", "test")
        scores = [self.of(part, score) for score in self.scores for part in parts]
        every = (*scores, self.gap_measure, self.fall_measure, *self.own, *EVERY)
        return {measure.name: measure for measure in every}

    @property
    def curves(self) -> tuple[str, ...]:
        """The learning curves to show."""
        train, val = self.of("train", self.followed), self.of("val", self.followed)
        return tuple(dict.fromkeys((train.name, val.name, "val_loss")))

    @property
    def headlines(self) -> tuple[str, ...]:
        """The columns of runs.csv to show first."""
        return (self.test.name, self.val.name, self.train.name, "gap")

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        """The direction of better scores, as Optuna names it."""
        return "maximize" if self.val.better == "higher" else "minimize"

    def order(self, score: float, loss: float) -> tuple[float, float]:
        """A sort key of a score and a loss on validation data: smaller is better.

        >>> CLASSIFICATION.order(0.9, 0.4) < CLASSIFICATION.order(0.9, 0.5)
        True
        """
        return -self.val.sign * self.known(score), loss

    def known(self, score: float | None) -> float:
        """The score; the worst one for a score that is missing or undefined.

        >>> CLASSIFICATION.known(0.9), CLASSIFICATION.known(None), REGRESSION.known(float("nan"))
        (0.9, 0.0, inf)
        """
        return self.worst if score is None or isnan(score) else score

    def rank(self, measured: Mapping[str, Any]) -> tuple[float, float]:
        """`order` of a run's measures; a missing score or loss counts as diverged."""
        score, loss = measured.get(self.val.name), measured.get("val_loss")
        return self.order(self.known(score), inf if loss is None else loss)

    def gap(self, measured: Mapping[str, float]) -> float:
        """How much better the score is on training data than on test data."""
        return self.test.sign * (measured[self.train.name] - measured[self.test.name])


# Measures of the final models of every task.
EVERY = (
    Measure("collapsed", share=True),  # 1 if all outputs are the same, else 0
    Measure("epochs_run", averaged=True),
    Measure("last_fit_epochs"),
    Measure("zero_weights", share=True, averaged=True),
    Measure("near_zero_weights", share=True, averaged=True),
    Measure("negative_weights", share=True, averaged=True),
    Measure("kernel_norm", averaged=True),
    Measure("bias_norm", averaged=True),
    Measure("kernel_gzip_bytes", averaged=True),
    Measure("pruned_gzip_bytes", words="bytes of pruned kernels under gzip"),
    Measure("parameters", averaged=True),
    Measure("nonzero_parameters", averaged=True),
    Measure("informative_recall", share=True),
    Measure("noise_inputs_dropped", share=True),
    Measure("zero_activations", share=True, averaged=True),
    Measure("mean_activation", averaged=True),
    Measure("seconds", own_unit="s", averaged=True),
    Measure("inference_seconds", own_unit="s"),
)
LOSS = Measure("loss", better="lower")


def _probabilities(n_classes: int, _: Shape) -> tuple[int, str]:
    """Probability of the second of two classes, or of each of more classes."""
    return (1, "sigmoid") if n_classes == 2 else (n_classes, "softmax")


def _values(_: int, input_shape: Shape) -> tuple[int, None]:
    """One unbounded output per value of an example."""
    return prod(input_shape), None


def _one_value(_: int, __: Shape) -> tuple[int, None]:
    """One unbounded output."""
    return 1, None


CLASSIFICATION = Task(
    name="classification",
    target=Target("int32"),
    output=_probabilities,
    loss="cross-entropy",
    scores=(Measure("accuracy", share=True, better="higher"), LOSS),
    worst=0.0,
    own=(
        Measure("calibration_error", share=True, better="lower", averaged=True),
        Measure("noise_accuracy", share=True, better="higher", averaged=True),
        *(
            Measure(f"noise_{sigma:g}_accuracy", share=True, better="higher")
            for sigma in (0.0, *SIGMAS)
        ),
        Measure("noise_drop", share=True, better="lower", words="drop of accuracy under noise"),
        *(
            Measure(
                kept_name(share),
                share=True,
                better="higher",
                words=f"accuracy with {100 * share:g} % of the weights",
            )
            for share in KEPT
        ),
        # Of models with dropout alone.
        Measure(
            "sampled_accuracy",
            share=True,
            better="higher",
            words="accuracy of the mean over dropout masks",
        ),
        Measure("sampled_loss", better="lower", words="loss of the mean over dropout masks"),
        Measure("unsampled_loss", better="lower", words="loss of the same examples without masks"),
    ),
    wording=Wording("tell classes apart", aim="accuracy"),
)
RECONSTRUCTION = Task(
    name="reconstruction",
    target=Target("float32", of_input=True),
    output=_values,
    loss="mean squared error",
    scores=(LOSS,),
    worst=inf,
    own=(
        Measure("code_zero_activations", share=True, averaged=True),
        Measure("code_mean_activation", averaged=True),
    ),
    wording=Wording(
        "reproduce their inputs",
        aim="a low loss",
        terms=(
            (
                "Loss",
                "is the mean squared error between an example's values and the model's output,"
                " without any penalty.",
            ),
            ("Code", "is the layer in the middle."),
        ),
        columns=(
            ("code_zero_activations", "zeros in the code, %"),
            ("code_mean_activation", "mean |code|"),
        ),
    ),
)
# rmse, mae and their differences are in the target's own unit. The loss is that of standardized
# targets, so that it compares with the training's curve; it orders models as rmse does.
REGRESSION = Task(
    name="regression",
    target=Target("float32"),
    output=_one_value,
    loss="mean squared error",
    scores=(
        Measure("rmse", better="lower"),
        Measure("mae", better="lower"),
        Measure("r2", better="higher"),
        LOSS,
    ),
    worst=inf,
    own=(Measure("noise_rmse", better="lower", averaged=True, words="rmse under noise"),),
    wording=Wording(
        "predict a number",
        aim="a small error",
        terms=(
            ("rmse", "is the root of the mean squared error, in the unit of what is predicted."),
            (
                "Loss",
                "is the mean squared error of the standardized target, without any penalty:"
                " 1 is that of the training examples' mean.",
            ),
        ),
        columns=(("test_mae", "test mae"), ("test_r2", "test r2")),
    ),
)
TASKS: Mapping[str, Task] = {
    "classification": CLASSIFICATION,
    "regression": REGRESSION,
    "reconstruction": RECONSTRUCTION,
}


# Other scores

LOG_LOSS = replace(LOSS, words="log loss")  # its column is that of the loss
# By task and name: the scores that can decide, and their definitions.
_CHOICES: Mapping[str, Mapping[str, tuple[Measure, str]]] = {
    "classification": {
        "accuracy": (CLASSIFICATION.score, "is the share of examples that are told rightly."),
        "balanced_accuracy": (
            Measure("balanced_accuracy", share=True, better="higher"),
            "is the mean over the classes of the share of their examples that are told rightly.",
        ),
        "log_loss": (LOG_LOSS, "is the cross-entropy, without any penalty."),
        "roc_auc": (
            Measure("roc_auc", better="higher", words="ROC AUC"),
            "is the area under the ROC curve: the chance that an example of the second class gets a"
            " higher probability of it than one of the first. Of more classes it is the mean over"
            " each class against the others.",
        ),
        "f1": (
            Measure("f1", better="higher", words="F1"),
            "is the harmonic mean of precision and recall of the second class, or, of more classes,"
            " the mean over the classes.",
        ),
    },
    "regression": {
        "rmse": (REGRESSION.score, ""),  # defined by the task
        "mae": (REGRESSION.scores[1], "is the mean absolute error, in the unit of what is told."),
        "r2": (
            REGRESSION.scores[2],
            "is the share of the variance that is explained: 1 minus the mean squared error over"
            " the variance.",
        ),
    },
}
SCORES: Mapping[str, tuple[str, ...]] = {
    "classification": tuple(_CHOICES["classification"]),
    "regression": tuple(_CHOICES["regression"]),
    "reconstruction": (),
}
WORST: Mapping[str, float] = {"log_loss": inf, "rmse": inf, "mae": inf, "r2": -inf}  # others: 0


@cache
def scored(task: Task, score: str) -> Task:
    """The task with this score, one of `SCORES`, as the first; all of `SCORES` are measured.

    Its name, such as classification/roc_auc, is that under which `named` finds it. Where the task
    goes by the score and measures the others already, it is the task itself. Raises UserError for a
    score that the task lacks.

    >>> scored(CLASSIFICATION, "roc_auc").test.name, scored(CLASSIFICATION, "log_loss").test.name
    ('test_roc_auc', 'test_loss')
    >>> scored(REGRESSION, "rmse") is REGRESSION
    True
    """
    known = SCORES[task.kind]
    if score not in known:
        expected = nearest(score, known) if known else "; it has no scores to choose from"
        raise UserError(f"unknown score {score!r} of a {task.kind}{expected}")
    choices = _CHOICES[task.kind]
    first, definition = choices[score]
    others = [measure for name, (measure, _) in choices.items() if name not in (score, "log_loss")]
    loss = () if first.name == LOSS.name else (LOSS,)
    scores = (first, *others, *loss)
    if scores == task.scores:
        return task
    return replace(
        TASKS[task.kind],
        name=f"{task.kind}/{score}",
        scores=scores,
        worst=WORST.get(score, 0.0),
        wording=_wording(TASKS[task.kind], first, definition, others),
    )


def _wording(task: Task, first: Measure, definition: str, others: Sequence[Measure]) -> Wording:
    """The wording of a task that goes by the score `first`."""
    terms, title = task.wording.terms, first.title
    tested = [task.of("test", score) for score in others]
    return replace(
        task.wording,
        aim=title if first.better == "higher" else f"a low {title}",
        terms=((f"{title[0].upper()}{title[1:]}", definition), *terms) if definition else terms,
        columns=tuple((measure.name, measure.heading) for measure in tested),
    )


def named(name: str) -> Task:
    """The task of this name, as in result files. Raises UserError for an unknown name."""
    kind, _, score = name.partition("/")
    if kind not in TASKS:
        raise UserError(f"unknown task {kind!r}{nearest(kind, TASKS)}")
    return scored(TASKS[kind], score) if score else TASKS[kind]
