"""The paired comparison of any two techniques, from the final runs of a study.

The same statistics as in the summary, which compares with `none` only: means and their paired
difference with BCa intervals, a sign-flip test, the probability of improvement. The p-value is not
corrected for other comparisons.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.analysis import statistics
from pipeline.analysis.statistics import Estimate
from pipeline.analysis.summary import SIGNIFICANCE
from pipeline.datasets.task import Measure
from pipeline.errors import UserError, nearest
from pipeline.formatting import p_text
from pipeline.results import task_of


def measures(runs: pd.DataFrame) -> dict[str, Measure]:
    """The measures of the task that `runs` has columns for, by name."""
    return {name: measure for name, measure in task_of(runs).measures.items() if name in runs}


@dataclass(frozen=True)
class Comparison:
    """Techniques `first` and `second` in one setting, compared over pairs of runs of one seed."""

    study: str
    setting: str
    measure: Measure
    first: str
    second: str
    n: int  # pairs
    leaks: bool  # whether the setting's validation data leak
    means: tuple[Estimate, Estimate]
    difference: Estimate  # first minus second
    spread: float  # standard deviation of the pairs' differences; nan for a single pair
    p: float
    improvement: float  # share of pairs in which `first` is better, or higher; ties count half

    @property
    def significant(self) -> bool:
        """Whether the sign-flip test shows a difference."""
        return self.p < SIGNIFICANCE


def compare(
    runs: pd.DataFrame,
    first: str,
    second: str,
    setting: str = "tuned",
    measure: str | None = None,
    seed: int = 0,
    resamples: int = statistics.RESAMPLES,
) -> Comparison:
    """Compare two techniques of `runs`, as read by `results.read_runs`.

    `measure` defaults to the score on test data, which is the accuracy for classifiers. `seed`
    fixes bootstrap and random sign flips as in the summary, so a comparison with `none` gives the
    numbers in summary.csv. Raises UserError for a technique, setting or measure that `runs` does
    not have, for fewer than two pairs, seeds that do not pair up, or values that are not finite.
    """
    comparable, measure = measures(runs), measure or task_of(runs).test.name
    if measure not in comparable:
        raise UserError(f"unknown measure {measure!r}{nearest(measure, comparable)}")
    in_setting = _of_setting(runs, setting)
    if first == second:
        raise UserError(f"expected two different techniques, but got {first!r} twice")
    firsts, seconds = (_values(in_setting, name, measure, setting) for name in (first, second))
    _check_pairs(firsts, seconds, first, second)
    a, b = firsts.to_numpy(float), seconds.to_numpy(float)
    differences = statistics.differences(a, b)
    lower = comparable[measure].better == "lower"
    return Comparison(
        study=str(runs["study"].iloc[0]),
        setting=setting,
        measure=comparable[measure],
        first=first,
        second=second,
        n=len(a),
        leaks=bool(in_setting["leaks"].any()),
        means=(
            statistics.mean_interval(a, np.random.default_rng(seed), resamples),
            statistics.mean_interval(b, np.random.default_rng(seed), resamples),
        ),
        difference=statistics.paired_difference(a, b, np.random.default_rng(seed), resamples),
        spread=float(np.std(differences, ddof=1)),
        p=statistics.sign_flip_p(differences, np.random.default_rng(seed)),
        improvement=statistics.improvement(*((b, a) if lower else (a, b))),
    )


def _of_setting(runs: pd.DataFrame, setting: str) -> pd.DataFrame:
    settings = list(runs["setting"].unique())
    if setting not in settings:
        raise UserError(f"unknown setting {setting!r}{nearest(setting, settings)}")
    return runs[runs["setting"] == setting]


def _values(runs: pd.DataFrame, technique: str, measure: str, setting: str) -> "pd.Series[float]":
    """One technique's values, indexed by seed."""
    names = list(runs["technique"].unique())
    if technique not in names:
        raise UserError(
            f"technique {technique!r} has no runs in the {setting} setting"
            f"{nearest(technique, names)}"
        )
    values = runs[runs["technique"] == technique].set_index("seed")[measure].sort_index()
    if not np.isfinite(values).all():
        seeds = ", ".join(map(str, values.index[~np.isfinite(values)]))
        raise UserError(
            f"{measure} of {technique} is not finite on seed {seeds}, where the run"
            " diverged; choose another measure"
        )
    return values


def _check_pairs(a: "pd.Series[float]", b: "pd.Series[float]", first: str, second: str) -> None:
    unpaired = sorted(set(a.index) ^ set(b.index))
    if unpaired:
        raise UserError(
            f"{first} and {second} must have runs on the same seeds, but only one of them has"
            f" seed {', '.join(map(str, unpaired))}"
        )
    if len(a) < 2:
        raise UserError(
            f"a comparison needs at least 2 pairs of runs, and {statistics.FEWEST_PAIRS} to show a"
            f" difference, but got {len(a)}; raise final.seeds in params.yaml"
        )


# In words


def text(comparison: Comparison) -> str:
    """The comparison as a few lines of plain text, the verdict last."""
    measure, difference = comparison.measure, comparison.difference
    leak = "; the validation data of this setting leak" if comparison.leaks else ""
    sides = zip((comparison.first, comparison.second), comparison.means, strict=True)
    rows = [
        *((name, _interval(measure.value, mean, measure.unit)) for name, mean in sides),
        (
            f"{comparison.first} \N{MINUS SIGN} {comparison.second}",
            _interval(measure.difference, difference, measure.difference_unit),
        ),
        ("p, sign-flip test", f"{p_text(comparison.p)} (this comparison only, not corrected)"),
        _won(comparison),
    ]
    width = max(len(label) for label, _ in rows)
    title = (
        f"{comparison.study}, {comparison.setting} setting: {measure.title}, {comparison.n} pairs"
        f" of runs with the same seed (95 % BCa intervals{leak})"
    )
    return "\n".join(
        [title, *(f"{label:<{width}}  {value}" for label, value in rows), "", verdict(comparison)]
    )


def _won(comparison: Comparison) -> tuple[str, str]:
    share, first = f"{100 * comparison.improvement:.0f} %", comparison.first
    if not comparison.measure.better:
        return "seeds higher", f"{share} for {first}, ties counting half"
    return "seeds won", f"{share} by {first} (probability of improvement), ties counting half"


def verdict(comparison: Comparison) -> str:
    """One or two plain sentences: which technique is better, or why this cannot be told."""
    if comparison.significant:
        return _winner(comparison)
    if comparison.n < statistics.FEWEST_PAIRS:
        smallest = p_text(statistics.smallest_p(comparison.n))
        return (
            f"Cannot tell: with {comparison.n} pairs the smallest possible p is {smallest};"
            f" at least {statistics.FEWEST_PAIRS} pairs are needed."
        )
    if comparison.spread == 0 and comparison.difference.mean == 0:
        return f"Cannot tell: {comparison.first} and {comparison.second} are equal on every seed."
    # A bootstrap interval is a little narrow, so it can exclude zero where the test is not
    # significant.
    despite = (
        ", although its interval excludes zero; the p-value decides"
        if comparison.difference.low * comparison.difference.high > 0
        else ""
    )
    return f"Cannot tell: the difference could be due to chance{despite}. {sensitivity(comparison)}"


def _winner(comparison: Comparison) -> str:
    """Which technique is better, or higher where neither is better, and by how much."""
    higher = comparison.difference.mean > 0
    measure, names = comparison.measure, (comparison.first, comparison.second)
    if not measure.better:
        winner, loser = names if higher else names[::-1]
        return f"{winner} is higher than {loser} in {measure.title}, by {_size(comparison)}."
    winner, loser = names if higher == (measure.better == "higher") else names[::-1]
    return (
        f"{winner} is better than {loser}: its {measure.title} is {measure.better} by"
        f" {_size(comparison)}."
    )


def _size(comparison: Comparison) -> str:
    """The absolute difference and its interval."""
    measure, difference = comparison.measure, comparison.difference
    sign = 1 if difference.mean > 0 else -1
    ends = sorted((difference.low, difference.high), key=abs)
    mean, low, high = (
        measure.difference(sign * value).lstrip("+") for value in (difference.mean, *ends)
    )
    return f"{mean}{measure.difference_unit} [{low}, {high}]"


def sensitivity(comparison: Comparison) -> str:
    """The smallest difference that would be detected, and the pairs needed for the one seen."""
    measure = comparison.measure
    detectable = statistics.detectable_effect(comparison.n) * comparison.spread
    size = f"{measure.difference(detectable).lstrip('+')}{measure.difference_unit}"
    power = (
        f"With {comparison.n} pairs, a true difference of {size} is detected in four of five"
        " studies (80 % power), a smaller one less often"
    )
    seen = abs(comparison.difference.mean)
    if seen == 0:
        return f"{power}."
    needed = statistics.pairs_needed(seen / comparison.spread)
    return f"{power}; detecting the difference seen here would need about {_count(needed)} pairs."


def _count(pairs: int) -> str:
    """A number of pairs to two significant digits, since it is an estimate."""
    if pairs > 10_000:
        return "more than 10,000"
    return f"{float(f'{pairs:.2g}'):,.0f}"


def _interval(write: Callable[[float], str], estimate: Estimate, unit: str) -> str:
    return f"{write(estimate.mean)}{unit} [{write(estimate.low)}, {write(estimate.high)}]"
