"""The paired verdict between any two techniques, from the final runs that are there.

The same statistics as in the summary, which compares with `none` only: means and their paired
difference with BCa intervals, a sign-flip test, the probability of improvement. One comparison is
not corrected for others.
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
    """What can be compared: those of the task's measures that are among the columns."""
    return {name: measure for name, measure in task_of(runs).measures.items() if name in runs}


@dataclass(frozen=True)
class Comparison:
    """Technique `first` against `second`, of one setting, in pairs of runs with the same seed."""

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
    def told_apart(self) -> bool:
        """Whether the sign-flip test tells the two apart."""
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

    Without a `measure`, by the score on test data: of classifiers the accuracy. `seed` fixes
    bootstrap and random sign flips, as in the summary: against `none` the numbers are those of
    summary.csv. Raises UserError for a technique, setting or measure that `runs`
    lack, for fewer than two pairs, seeds that do not pair up, or values that are not finite.
    """
    known, measure = measures(runs), measure or task_of(runs).test.name
    if measure not in known:
        raise UserError(f"unknown measure {measure!r}{nearest(measure, known)}")
    shown = _of_setting(runs, setting)
    if first == second:
        raise UserError(f"two different techniques are needed, but got {first!r} twice")
    one, other = (_values(shown, name, measure, setting) for name in (first, second))
    _check_pairs(one, other, first, second)
    a, b = one.to_numpy(float), other.to_numpy(float)
    differences = statistics.differences(a, b)
    lower = known[measure].better == "lower"
    return Comparison(
        study=str(runs["study"].iloc[0]),
        setting=setting,
        measure=known[measure],
        first=first,
        second=second,
        n=len(a),
        leaks=bool(shown["leaks"].any()),
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
    """One technique's values by seed."""
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
            f"{measure} of {technique} must be finite, but is not on seed {seeds}: a run"
            " diverged; choose a measure that is finite"
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
            f"a comparison takes at least 2 pairs of runs, and {statistics.FEWEST_PAIRS} to tell"
            f" anything apart, but there is {len(a)}; params.yaml: final.seeds"
        )


# In words


def text(found: Comparison) -> str:
    """The comparison as a few lines of plain text, the verdict last."""
    measure, difference = found.measure, found.difference
    leak = "; this setting's validation data leak" if found.leaks else ""
    means = zip((found.first, found.second), found.means, strict=True)
    rows = [
        *((name, _interval(measure.value, mean, measure.unit)) for name, mean in means),
        (
            f"{found.first} \N{MINUS SIGN} {found.second}",
            _interval(measure.difference, difference, measure.difference_unit),
        ),
        ("p, sign flips", f"{p_text(found.p)} (of this comparison alone, not corrected)"),
        _won(found),
    ]
    width = max(len(label) for label, _ in rows)
    title = (
        f"{found.study}, {found.setting} setting: {measure.title}, {found.n} pairs of runs with"
        f" the same seed (95 % BCa intervals{leak})"
    )
    return "\n".join(
        [title, *(f"{label:<{width}}  {value}" for label, value in rows), "", verdict(found)]
    )


def _won(found: Comparison) -> tuple[str, str]:
    share = f"{100 * found.improvement:.0f} %"
    if not found.measure.better:
        return "seeds higher", f"{share} for {found.first}, ties counting half"
    return "seeds won", f"{share} by {found.first} (probability of improvement), ties counting half"


def verdict(found: Comparison) -> str:
    """One or two plain sentences: which is better, or that it cannot be told, and why."""
    if found.told_apart:
        return _told(found)
    if found.n < statistics.FEWEST_PAIRS:
        return (
            f"Cannot tell: with {found.n} pairs no p can fall below"
            f" {p_text(statistics.smallest_p(found.n))}; it takes at least"
            f" {statistics.FEWEST_PAIRS}."
        )
    if found.spread == 0 and found.difference.mean == 0:
        return f"Cannot tell: {found.first} and {found.second} are equal on every seed."
    # A bootstrap interval is a little short, so it can leave out zero where the test says chance.
    despite = (
        ", though its interval leaves out zero: p decides"
        if found.difference.low * found.difference.high > 0
        else ""
    )
    return f"Cannot tell: the difference may be chance{despite}. {sensitivity(found)}"


def _told(found: Comparison) -> str:
    higher = found.difference.mean > 0
    measure, names = found.measure, (found.first, found.second)
    if not measure.better:
        winner, other = names if higher else names[::-1]
        return f"{winner} has the higher {measure.title} than {other}: {_size(found)}."
    winner, other = names if higher == (measure.better == "higher") else names[::-1]
    return (
        f"{winner} is better than {other}: its {measure.title} is {measure.better} by"
        f" {_size(found)}."
    )


def _size(found: Comparison) -> str:
    """The difference without its sign, and its interval likewise."""
    ends = sorted((found.difference.low, found.difference.high), key=abs)
    mean, low, high = (
        found.measure.difference(value if found.difference.mean > 0 else -value).lstrip("+")
        for value in (found.difference.mean, *ends)
    )
    return f"{mean}{found.measure.difference_unit} [{low}, {high}]"


def sensitivity(found: Comparison) -> str:
    """How small a true difference would have been noticed, and what the one seen would take."""
    unit = found.measure.difference_unit
    noticed = statistics.detectable_effect(found.n) * found.spread
    line = (
        f"With {found.n} pairs, a true difference of"
        f" {found.measure.difference(noticed).lstrip('+')}{unit} is noticed in four studies out of"
        " five, a smaller one less often"
    )
    seen = abs(found.difference.mean)
    if seen == 0:
        return f"{line}."
    needed = statistics.pairs_needed(seen / found.spread)
    return f"{line}; one as small as that seen would take about {_count(needed)} pairs."


def _count(pairs: int) -> str:
    """A number of pairs to two significant digits, since it is a rough guess."""
    if pairs > 10_000:
        return "more than 10,000"
    return f"{float(f'{pairs:.2g}'):,.0f}"


def _interval(write: Callable[[float], str], estimate: Estimate, unit: str) -> str:
    return f"{write(estimate.mean)}{unit} [{write(estimate.low)}, {write(estimate.high)}]"
