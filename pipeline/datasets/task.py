"""What models are trained for, and so the measure by which techniques are better or worse.

Whoever chooses, ranks, compares or tells goes by the objective, and knows no accuracy itself.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any, Literal

from pipeline.formatting import UNKNOWN, percent, points, signed


@dataclass(frozen=True)
class Measure:
    """A column of runs.csv that can be compared."""

    name: str
    share: bool  # a share in [0, 1], told in percent; otherwise a number in its own unit
    better: Literal["higher", "lower", ""]  # empty: neither is better in itself

    @property
    def title(self) -> str:
        """Its name in words."""
        return self.name.replace("val_", "validation ").replace("_", " ")

    @property
    def best(self) -> str:
        """Which value is the best, in a word."""
        return {"higher": "highest", "lower": "lowest"}[self.better]

    @property
    def sign(self) -> int:
        """What to multiply values by for larger ones to be better."""
        return -1 if self.better == "lower" else 1

    @property
    def scale(self) -> int:
        """What to multiply values by for figures."""
        return 100 if self.share else 1

    def value(self, number: float) -> str:
        """A value as text, without its unit; a dash if it is not finite."""
        if self.share:
            return percent(number)
        return f"{number:.4g}" if isfinite(number) else UNKNOWN

    def told(self, number: float | None) -> str:
        """A value with its unit; None is that of a trial that diverged."""
        return "diverged" if number is None else f"{self.value(number)}{self.unit}"

    def difference(self, number: float) -> str:
        """A signed difference as text, without its unit; a dash if it is not finite."""
        if self.share:
            return points(number)
        return signed(f"{number:+.3g}") if isfinite(number) else UNKNOWN

    @property
    def unit(self) -> str:
        """Of a value; a leading space included."""
        return " %" if self.share else " s" if self.name.endswith("seconds") else ""

    @property
    def difference_unit(self) -> str:
        """Of a difference; a leading space included."""
        return " points" if self.share else self.unit

    @property
    def heading(self) -> str:
        """Title and unit of a column or an axis, such as `test accuracy, %`."""
        return f"{self.title}, %" if self.share else self.title

    @property
    def spoken(self) -> str:
        """Title and unit in a sentence, such as `test accuracy in %`."""
        return f"{self.title} in %" if self.share else self.title


@dataclass(frozen=True)
class Objective:
    """What models are trained for.

    `score`: what `train_`, `val_` and `test_` columns are compared by; of equal scores the lower
    unpenalised loss is better. `worst`: the score of a run that diverged. `own`: columns of
    runs.csv that only runs of this objective have.
    """

    name: Literal["classification", "reconstruction"]
    score: Literal["accuracy", "loss"]
    worst: float
    own: tuple[str, ...]

    def of(self, part: Literal["train", "val", "test"]) -> Measure:
        """The score on a part of the data."""
        accuracy = self.score == "accuracy"
        return Measure(f"{part}_{self.score}", accuracy, "higher" if accuracy else "lower")

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
    def headlines(self) -> tuple[str, ...]:
        """The columns of runs.csv to see first."""
        return (self.test.name, self.val.name, self.train.name, "gap")

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        """Optuna's word for where better scores are."""
        return "maximize" if self.val.better == "higher" else "minimize"

    def order(self, score: float, loss: float) -> tuple[float, float]:
        """Sorts scores and losses on validation data: the smaller, the better."""
        return -self.val.sign * score, loss

    def rank(self, measured: Mapping[str, Any]) -> tuple[float, float]:
        """`order` of what was measured; what is missing counts as diverged."""
        score, loss = measured.get(self.val.name), measured.get("val_loss")
        return self.order(self.worst if score is None else score, inf if loss is None else loss)

    def gap(self, measured: Mapping[str, float]) -> float:
        """How much better the score is on training data than on test data."""
        return self.test.sign * (measured[self.train.name] - measured[self.test.name])


CLASSIFICATION = Objective(
    "classification",
    "accuracy",
    worst=0.0,
    own=(
        *("train_accuracy", "val_accuracy", "test_accuracy"),
        *("calibration_error", "noise_accuracy"),
    ),
)
# Its loss is the mean squared error of the rows' values.
RECONSTRUCTION = Objective(
    "reconstruction",
    "loss",
    worst=inf,
    own=("code_zero_activations", "code_mean_activation"),
)
BY_SCORE: Mapping[str, Objective] = {each.score: each for each in (CLASSIFICATION, RECONSTRUCTION)}


def scored_by(column: str) -> Objective:
    """The objective of a score such as `val_loss`, which tuned.json and summary.csv name."""
    _, _, score = column.partition("_")
    return BY_SCORE[score]


def of_columns(names: Iterable[str]) -> Objective:
    """The objective of runs, trials or curves with these columns: accuracies are of classes."""
    return CLASSIFICATION if set(CLASSIFICATION.own) & set(names) else RECONSTRUCTION


def stops_early(hyperparameters: Iterable[str]) -> bool:
    """Whether these names, those of a combination too, are of a technique that stops early."""
    return any(name.rpartition(".")[2] == "patience" for name in hyperparameters)
