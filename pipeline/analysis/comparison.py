"""The paired comparison of any two techniques, from the final runs of a study.

On the same basis as the summary, which compares with `none` only: means over replicates and their
paired difference with Student's intervals (`analysis.paired`), sign flips beside them as a check,
what the interval rules out, and the replicates that would tell. The p-value is of this comparison
alone, so p and interval are a little narrower than in the summary, which corrects for its family.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.analysis import paired, power, statistics
from pipeline.analysis.families import group
from pipeline.analysis.paired import PAIR
from pipeline.analysis.statistics import Estimate
from pipeline.analysis.summary import SIGNIFICANCE, margin_of
from pipeline.analysis.telling import amount, enough
from pipeline.datasets.task import Measure
from pipeline.errors import UserError, nearest
from pipeline.formatting import p_text
from pipeline.results import task_of

FEWEST = 2  # replicates of a comparison


def measures(runs: pd.DataFrame) -> dict[str, Measure]:
    """The measures of the task that `runs` has columns for, by name."""
    return {name: measure for name, measure in task_of(runs).measures.items() if name in runs}


@dataclass(frozen=True)
class Comparison:
    """Techniques `first` and `second` in one setting, compared over pairs of runs."""

    study: str
    setting: str
    measure: Measure
    first: str
    second: str
    n: int  # replicates
    runs: int  # pairs of runs
    leaks: bool  # whether the setting's validation data leak
    means: tuple[Estimate, Estimate]  # over the common pairs
    difference: Estimate  # first minus second
    p: float
    p_flips: float  # nan for fewer than nine replicates, or for splits of one file
    improvement: float  # share of pairs in which `first` is better, or higher; ties count half
    margin: float  # the smallest difference that matters, in the measure's unit
    needed: int | None  # replicates that show a difference of `margin` in 80 % of studies

    @property
    def significant(self) -> bool:
        """Whether a difference is shown: then the interval leaves out zero."""
        return self.p < SIGNIFICANCE


def compare(
    runs: pd.DataFrame,
    first: str,
    second: str,
    setting: str = "tuned",
    measure: str | None = None,
    seed: int = 0,
) -> Comparison:
    """Compare two techniques of `runs`, as read by `results.read_runs`.

    `measure` defaults to the score on test data, which is the accuracy for classifiers. `seed`
    fixes random sign flips. Raises UserError for a technique, setting or measure that `runs` does
    not have, for fewer than two common replicates, or values that are not finite.
    """
    comparable, measure = measures(runs), measure or task_of(runs).test.name
    if measure not in comparable:
        raise UserError(f"unknown measure {measure!r}{nearest(measure, comparable)}")
    in_setting = _of_setting(runs, setting)
    if first == second:
        raise UserError(f"expected two different techniques, but got {first!r} twice")
    firsts, seconds = _common(*(_runs_of(in_setting, name, measure) for name in (first, second)))
    _check_replicates(firsts, first, second)
    pairs, compared = paired.pairs(firsts, seconds, measure), comparable[measure]
    means = [paired.pairs(side, None, measure).effect.interval() for side in (firsts, seconds)]
    margin = _margin(compared, means[1].mean)
    flips = pairs.flips(np.random.default_rng(seed))
    return Comparison(
        study=str(runs["study"].iloc[0]),
        setting=setting,
        measure=compared,
        first=first,
        second=second,
        n=pairs.replicates,
        runs=len(pairs.values),
        leaks=bool(in_setting["leaks"].any()),
        means=(means[0], means[1]),
        difference=pairs.effect.interval(),
        p=pairs.effect.p(),
        p_flips=flips.p() if flips else np.nan,
        improvement=statistics.improvement(compared.sign * pairs.values),
        margin=margin,
        needed=pairs.needed(margin),
    )


def _margin(measure: Measure, second: float) -> float:
    margin = margin_of(measure)
    return margin.value * (abs(second) if margin.kind == "ratio" else 1)


def _of_setting(runs: pd.DataFrame, setting: str) -> pd.DataFrame:
    settings = list(runs["setting"].unique())
    if setting not in settings:
        raise UserError(f"unknown setting {setting!r}{nearest(setting, settings)}")
    return runs[runs["setting"] == setting]


def _runs_of(runs: pd.DataFrame, technique: str, measure: str) -> pd.DataFrame:
    """One technique's runs, whose values must be finite."""
    names = list(runs["technique"].unique())
    if technique not in names:
        raise UserError(
            f"technique {technique!r} has no runs in the {runs['setting'].iloc[0]} setting"
            f"{nearest(technique, names)}"
        )
    own = runs[runs["technique"] == technique]
    if own[measure].isna().all() and not own["diverged"].any():
        raise UserError(
            f"{technique} has no {measure}, which its models are not measured by; choose another"
            " measure"
        )
    infinite = own[~np.isfinite(own[measure])]
    if len(infinite):
        seeds = ", ".join(map(str, infinite["seed"].unique()))
        raise UserError(
            f"{measure} of {technique} is not finite on seed {seeds}, where the run"
            " diverged; choose another measure"
        )
    return own


def _common(first: pd.DataFrame, second: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The runs of pairs that both techniques have."""
    pairs = first[list(PAIR)].merge(second[list(PAIR)])
    return first.merge(pairs), second.merge(pairs)


def _check_replicates(common: pd.DataFrame, first: str, second: str) -> None:
    if common["replicate"].nunique() < FEWEST:
        raise UserError(
            f"a comparison needs at least {FEWEST} replicates, but {first} and {second} have runs"
            f" of the same search, replicate and seed in {common['replicate'].nunique()}; raise"
            " the replicates or seeds of `final` in params.yaml"
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
        ("p, paired t-test", f"{p_text(comparison.p)} (this comparison only, not corrected)"),
        ("p, sign flips", p_text(comparison.p_flips)),
        _won(comparison),
    ]
    width = max(len(label) for label, _ in rows)
    title = (
        f"{comparison.study}, {comparison.setting} setting: {measure.title}, {comparison.n}"
        f" replicates, {comparison.runs} pairs of runs (95 % intervals{leak})"
    )
    return "\n".join(
        [title, *(f"{label:<{width}}  {value}" for label, value in rows), "", verdict(comparison)]
    )


def _won(comparison: Comparison) -> tuple[str, str]:
    share, first = f"{100 * comparison.improvement:.0f} %", comparison.first
    if not comparison.measure.better:
        return "pairs higher", f"{share} for {first}, ties counting half"
    return "pairs won", f"{share} by {first} (probability of improvement), ties counting half"


def verdict(comparison: Comparison) -> str:
    """One or two plain sentences: which technique is better, or what is ruled out."""
    if comparison.significant:
        return _winner(comparison)
    if comparison.difference.low == comparison.difference.high == 0:
        return f"Cannot tell: {comparison.first} and {comparison.second} are equal in every pair."
    excluded = _ruled_out(comparison)
    if group(comparison.difference, comparison.margin) == "no difference":
        return (
            f"No difference of {amount(comparison.measure, comparison.margin)} or more. {excluded}"
        )
    return f"Cannot tell: the difference could be due to chance. {excluded} {_needed(comparison)}"


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


def _ruled_out(comparison: Comparison) -> str:
    """What the interval excludes on either side."""
    measure, excluded = comparison.measure, power.ruled_out(comparison.difference)
    sizes = (excluded.gain, excluded.loss)[:: measure.sign]
    word = "better" if measure.better else "higher"
    first, second = (
        f"{name} is {word} by more than {amount(measure, size)}"
        for name, size in zip((comparison.first, comparison.second), sizes, strict=True)
    )
    return f"Ruled out: that {first}, and that {second}."


def _needed(comparison: Comparison) -> str:
    """What it would take to show the smallest difference that matters."""
    size = amount(comparison.measure, comparison.margin)
    if comparison.needed is None:
        return f"No number of replicates would show a difference of {size}."
    return enough(size, comparison.needed, comparison.n)


def _interval(write: Callable[[float], str], estimate: Estimate, unit: str) -> str:
    return f"{write(estimate.mean)}{unit} [{write(estimate.low)}, {write(estimate.high)}]"
