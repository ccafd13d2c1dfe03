"""When does it matter: gains of techniques against training rows or layer widths, and their limits.

A study that varies a size has one setting of final runs for each, such as rows_50, with searches of
its own. The rows of a replicate are nested, so its gains at all sizes are one sample of a curve.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pandas as pd

from pipeline.analysis import effects, paired, summary
from pipeline.analysis.effects import Effect, Matrix
from pipeline.analysis.paired import Pairs
from pipeline.analysis.statistics import Estimate, Vector
from pipeline.analysis.summary import Finding, gain
from pipeline.analysis.telling import amount, listed
from pipeline.datasets.task import Measure
from pipeline.formatting import aligned, counted
from pipeline.results import SIZE
from pipeline.techniques.registry import BASELINE

What = Literal["rows", "width"]
SAMPLES = 4000  # curves drawn for the interval of a limit
WORDS: Mapping[str, str] = {"rows": "training rows", "width": "units a layer"}


@dataclass(frozen=True)
class Course:
    """A technique's gain over the baseline against size."""

    technique: str
    gains: tuple[Estimate, ...]  # at each size, with simultaneous intervals over techniques
    limit: Estimate  # the size to which, or from which, the gain matters; see `limit`
    slope: Estimate  # what doubling the size adds to the gain


@dataclass(frozen=True)
class Sizes:
    """What a study that varies a size shows."""

    study: str
    what: What
    sizes: tuple[int, ...]
    findings: tuple[Finding, ...]  # at each size
    courses: tuple[Course, ...]
    growth: tuple[Estimate, ...]  # what the baseline gains from each size to the next

    @property
    def measure(self) -> Measure:
        """The score."""
        return self.findings[0].measure

    @property
    def margin(self) -> float:
        """The smallest gain that matters."""
        return self.findings[0].margin

    @property
    def first(self) -> Course:
        """The technique with the largest mean gain at any size."""
        return max(self.courses, key=lambda each: max(gain.mean for gain in each.gains))


def read(runs: pd.DataFrame, table: pd.DataFrame) -> Sizes:
    """The sizes in a study's final runs and in their summary.

    Args:
        runs: final runs with the column `size`.
        table: `summary.summarize` of them.
    """
    settings = runs.drop_duplicates("setting").set_index(SIZE)["setting"].sort_index()
    findings = tuple(summary.find(table, setting) for setting in settings)
    what: What = "rows" if str(settings.iloc[0]).startswith("rows") else "width"
    sizes, measure = tuple(int(size) for size in settings.index), findings[0].measure
    by_setting = [runs[runs["setting"] == setting] for setting in settings]
    baselines = [own[own["technique"] == BASELINE] for own in by_setting]
    return Sizes(
        study=findings[0].study,
        what=what,
        sizes=sizes,
        findings=findings,
        courses=tuple(
            _course(name, by_setting, findings, sizes, what)
            for name in dict.fromkeys(runs["technique"])
            if name != BASELINE
        ),
        growth=tuple(
            summary.turned(measure, paired.pairs(after, before, measure.name).effect.interval())
            for before, after in pairwise(baselines)
        ),
    )


def _course(
    technique: str,
    by_setting: Sequence[pd.DataFrame],
    findings: Sequence[Finding],
    sizes: Sequence[int],
    what: What,
) -> Course:
    measure, margin = findings[0].measure, findings[0].margin
    rows = [next(r for r in each.primary if r["technique"] == technique) for each in findings]
    pairs = [_pairs(own, technique, measure) for own in by_setting]
    gains = measure.sign * np.stack([each.by_replicate for each in pairs], axis=1)
    overlap = pairs[0].overlap
    return Course(
        technique=technique,
        gains=tuple(gain(row) for row in rows),
        limit=limit(gains, sizes, margin, what, overlap),
        slope=slope(gains, sizes, overlap).interval(),
    )


def _pairs(runs: pd.DataFrame, technique: str, measure: Measure) -> Pairs:
    """A technique's differences to the baseline at one size."""
    first, second = (runs[runs["technique"] == name] for name in (technique, BASELINE))
    return paired.pairs(first, second, measure.name)


def limit(
    gains: Matrix, sizes: Sequence[int], margin: float, what: What, overlap: float = 0.0
) -> Estimate:
    """The size up to which the mean gain is at least `margin`, or from which, for widths.

    The mean gain is interpolated between sizes, on their logarithmic scale; where it crosses the
    margin more than once, the crossing furthest from where it matters counts. The result is 0 if
    the gain matters at no size, and infinite if at every one; for widths the other way round. The
    interval has the middle 95 % of limits of curves drawn from the multivariate t distribution of
    the mean, with a fixed seed.

    Args:
        gains: (R, sizes), of each replicate.
        sizes: in rising order.
        overlap: n_test / n_train if the replicates are splits of one file, else 0.

    >>> gains = np.array([[0.04, 0.01], [0.04, 0.01]])
    >>> round(limit(gains, (100, 1000), 0.02, "rows").mean)
    464
    """
    count = len(gains)
    x = np.log(np.asarray(sizes, dtype=float))
    mean = gains.mean(axis=0)
    found = float(_crossings(mean[np.newaxis], x, margin, what)[0])
    if count < 2:
        return Estimate(found, np.nan, np.nan)
    rng = np.random.default_rng(0)
    centred = (gains - mean) * np.sqrt((1 / count + overlap) / (count - 1))
    normal = rng.standard_normal((SAMPLES, count)) @ centred
    scale = np.sqrt((count - 1) / rng.chisquare(count - 1, SAMPLES))
    drawn = np.sort(_crossings(mean + normal * scale[:, np.newaxis], x, margin, what))
    low, high = drawn[int(0.025 * SAMPLES)], drawn[int(0.975 * SAMPLES)]
    return Estimate(found, float(low), float(high))


def _crossings(curves: Matrix, x: Vector, margin: float, what: What) -> Vector:
    """The limit of each curve, (n,); see `limit`."""
    if what == "width":  # from the widest layer down, it is the same question
        return np.exp(-_last_crossing(curves[:, ::-1], -x[::-1], margin))
    return np.exp(_last_crossing(curves, x, margin))


def _last_crossing(curves: Matrix, x: Vector, margin: float) -> Vector:
    """The largest x at which each curve is at least `margin`; infinite with its sign beyond x."""
    above = curves >= margin
    found = np.full(len(curves), -np.inf)
    for left in range(curves.shape[1] - 1):
        falls = above[:, left] & ~above[:, left + 1]
        first, second = curves[falls, left], curves[falls, left + 1]
        share = (first - margin) / (first - second)
        found[falls] = x[left] + share * (x[left + 1] - x[left])
    found[above[:, -1]] = np.inf
    return found


def slope(gains: Matrix, sizes: Sequence[int], overlap: float = 0.0) -> Effect:
    """What doubling the size adds to the gain: the mean of the replicates' least-squares slopes."""
    x = np.log2(np.asarray(sizes, dtype=float))
    weights = (x - x.mean()) / np.square(x - x.mean()).sum()
    return effects.resplit(gains @ weights, overlap)


# As text


def limit_text(course: Course, sizes: Sizes) -> str:
    """Where a technique's gain matters, such as up to 130 training rows [below 50, 400]."""
    found = course.limit
    low, high = (_end(size, sizes) for size in (found.low, found.high))
    below, above = _outside(found.mean, sizes)
    if below or above:
        everywhere = above if sizes.what == "rows" else below
        where = f"at {'all' if everywhere else 'none'} of these sizes"
    else:
        preposition = "up to" if sizes.what == "rows" else "from"
        where = f"{preposition} {_size(found.mean)} {WORDS[sizes.what]}"
    return f"{where} [{low}, {high}]"


def _outside(size: float, sizes: Sizes) -> tuple[bool, bool]:
    """Whether a size lies below, and whether above the sizes that were tried."""
    return size < sizes.sizes[0], size > sizes.sizes[-1]


def _end(size: float, sizes: Sizes) -> str:
    """An end of a limit's interval."""
    if np.isnan(size):
        return "unknown"
    below, above = _outside(size, sizes)
    if below:
        return f"below {sizes.sizes[0]:,}"
    return f"above {sizes.sizes[-1]:,}" if above else _size(size)


def _size(size: float) -> str:
    """A size to two significant digits, since it is an estimate."""
    return f"{float(f'{size:.2g}'):,.0f}"


def sentence(sizes: Sizes, title: str) -> str:
    """When it matters: what is shown to help where, up to where, and what more rows gain."""
    first, measure = sizes.first, sizes.measure
    at = int(np.argmax([each.mean for each in first.gains]))
    size, words = sizes.sizes[at], WORDS[sizes.what]
    told = [f"On {title}, with {sizes.sizes[0]:,} to {sizes.sizes[-1]:,} {words}, {_shown(sizes)}."]
    told.append(
        f"The largest gain is that of {first.technique} at {size:,}:"
        f" {_change(first.gains[at], measure)}."
    )
    if not any(_outside(first.limit.mean, sizes)):
        margin = amount(measure, sizes.margin)
        told.append(f"Its estimate is {margin} or more {limit_text(first, sizes)}.")
    if sizes.what == "width":
        change = _change(first.slope, measure)
        told.append(f"Each time the layers are twice as wide, its gain changes by {change}.")
    else:
        before = min(at, len(sizes.growth) - 1)
        told.append(
            f"From {sizes.sizes[before]:,} to {sizes.sizes[before + 1]:,} rows the network without"
            f" regularization gains {_change(sizes.growth[before], measure)}."
        )
    return " ".join(told)


def _shown(sizes: Sizes) -> str:
    """Which techniques are shown to help, and at which sizes."""
    helping = {
        each.technique: [f"{sizes.sizes[i]:,}" for i, gain in enumerate(each.gains) if gain.low > 0]
        for each in sizes.courses
    }
    told = [f"{name} at {listed(where)}" for name, where in helping.items() if where]
    return f"shown to help: {'; '.join(told)}" if told else "no technique is shown to help"


def _change(estimate: Estimate, measure: Measure) -> str:
    """A gain with its interval, such as +1.20 points [+0.40, +2.00]; more is better."""
    mean, low, high = map(measure.difference, estimate)
    return f"{mean}{measure.difference_unit} [{low}, {high}]"


def table(sizes: Sizes) -> str:
    """Gains of each technique at each size, and where they matter, as plain text."""
    measure = sizes.measure
    head = (
        sizes.what,
        f"none, {measure.heading}",
        *(f"{each.technique}{', points' if measure.share else ''}" for each in sizes.courses),
    )
    lines = [
        (
            f"{size:,}",
            measure.value(finding.baseline["mean"]),
            *(_change(each.gains[at], measure) for each in sizes.courses),
        )
        for at, (size, finding) in enumerate(zip(sizes.sizes, sizes.findings, strict=True))
    ]
    matters = [
        f"{each.technique}: estimated to matter {limit_text(each, sizes)}; each doubling adds"
        f" {_change(each.slope, measure)}"
        for each in sizes.courses
    ]
    title = (
        f"{sizes.study}: gain over none by {WORDS[sizes.what]}"
        f" ({counted(sizes.findings[0].n, 'replicate')}, simultaneous 95 % intervals at each size)"
    )
    return aligned(title, [head, *lines], matters)


def rows(sizes: Sizes) -> list[dict[str, Any]]:
    """The data behind the figure, a row for each technique and size."""
    return [
        {
            "study": sizes.study,
            "what": sizes.what,
            SIZE: size,
            "technique": each.technique,
            "baseline": finding.baseline["mean"],
            "gain": each.gains[at].mean,
            "low": each.gains[at].low,
            "high": each.gains[at].high,
            "limit": each.limit.mean,
            "limit_low": each.limit.low,
            "limit_high": each.limit.high,
        }
        for each in sizes.courses
        for at, (size, finding) in enumerate(zip(sizes.sizes, sizes.findings, strict=True))
    ]
