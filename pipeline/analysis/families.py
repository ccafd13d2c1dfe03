"""Comparisons corrected for each other: p-values, intervals that agree with them, and groups.

Two corrections stand side by side, of one family of m comparisons at 0.05:

- *Simultaneous*: Bonferroni's intervals at the level `1 - 0.05 / m`, and the p-value `m p` that
  goes with them. An interval leaves out zero iff this p is below 0.05. All of them hold their true
  differences at once in at least 95 % of studies, whatever the correlation; with m intervals beside
  each other that is what a reader takes them to say. Groups rest on these.
- *Holm*: p-values that are never larger, so they find a difference that is there more often.
  They answer "is there any difference?" and have no intervals of use: those that agree with Holm's
  two-sided test reach from zero to infinity for each technique that it tells apart, unless it tells
  all of them apart (Guilbaud 2008; Strassburger and Bretz 2008).

So an interval never contradicts the p printed with it, and whatever it tells apart Holm tells apart
too. Where Holm alone tells a technique apart, `Member.by_holm_alone` says so: a difference is
there, and its size is not bounded. The price of the intervals, in simulated studies of eight
comparisons with one baseline, ten replicates, and four true differences of 1.5 standard deviations:
87 % of these were told apart by Holm, 83 % by the intervals.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from statsmodels.stats.multitest import multipletests

from pipeline.analysis.effects import Effect
from pipeline.analysis.statistics import CONFIDENCE, Estimate, Vector

Key = TypeVar("Key", bound=Hashable)  # what names a comparison
Group = Literal["better", "worse", "no difference", "unresolved"]


@dataclass(frozen=True)
class Member:
    """One comparison of a family."""

    effect: Effect
    interval: Estimate  # simultaneous
    p: float  # of this comparison alone
    p_simultaneous: float  # agrees with `interval`
    p_holm: float  # never larger than `p_simultaneous`

    @property
    def told_apart(self) -> bool:
        """Whether the simultaneous interval leaves out zero."""
        return self.p_simultaneous < 1 - CONFIDENCE

    @property
    def by_holm_alone(self) -> bool:
        """Whether Holm shows a difference whose size the simultaneous interval does not bound."""
        return self.p_holm < 1 - CONFIDENCE and not self.told_apart


def family(effects: Mapping[Key, Effect]) -> dict[Key, Member]:
    """The members of one family, named as in `effects`.

    Comparisons without a p-value (a run was not finite, or there is a single replicate) are not
    counted and have nan for interval and p-values.

    >>> first, second = family({"l1": Effect(5.0, 1.0, 9), "l2": Effect(2.5, 1.0, 9)}).values()
    >>> round(second.p, 3), round(second.p_holm, 3), round(second.p_simultaneous, 3)
    (0.034, 0.034, 0.068)
    >>> first.told_apart, second.told_apart, second.by_holm_alone
    (True, False, True)
    """
    p = np.array([effect.p() for effect in effects.values()])
    m = max(int(np.isfinite(p).sum()), 1)
    level = simultaneous_level(m)
    corrected = zip(effects.items(), p, holm(p), strict=True)
    return {
        name: Member(
            effect=effect,
            interval=effect.interval(level),
            p=float(raw),
            p_simultaneous=float(np.minimum(m * raw, 1.0)),
            p_holm=float(by_holm),
        )
        for (name, effect), raw, by_holm in corrected
    }


def simultaneous_level(comparisons: int) -> float:
    """The level of each of so many intervals that all hold at once in 95 % of studies.

    >>> round(simultaneous_level(5), 3)
    0.99
    """
    return 1 - (1 - CONFIDENCE) / comparisons


def holm(p_values: ArrayLike) -> Vector:
    """Holm's corrected p-values of one family, shape (m,); a nan stays nan and is not counted.

    Holm 1979.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    return _corrected(p_values, "holm")


def benjamini_hochberg(p_values: ArrayLike) -> Vector:
    """Corrected p-values, shape (m,); a nan stays nan and is not counted.

    Of what is below 0.05 about 5 % at most are false discoveries, if the tests are independent or
    positively dependent. Benjamini and Hochberg 1995.
    """
    return _corrected(p_values, "fdr_bh")


def _corrected(p_values: ArrayLike, method: str) -> Vector:
    p = np.asarray(p_values, dtype=np.float64)
    corrected = np.full_like(p, np.nan)
    known = ~np.isnan(p)
    if known.any():
        corrected[known] = multipletests(p[known], method=method)[1]
    return corrected


def group(interval: Estimate, margin: float) -> Group:
    """Where a technique stands against the baseline, by the interval of its gain.

    - "better": all of the interval is above zero; "worse": below.
    - "no difference": all of it is closer to zero than `margin`, and it holds zero.
    - "unresolved": else.

    A gain is signed so that more is better. Raises ValueError unless `margin` > 0.
    """
    if not margin > 0:
        raise ValueError(f"`margin` must be > 0, but got {margin}")
    if interval.low > 0:
        return "better"
    if interval.high < 0:
        return "worse"
    if -margin < interval.low and interval.high < margin:
        return "no difference"
    return "unresolved"


def groups(members: Mapping[str, Member], margin: float) -> dict[Group, tuple[str, ...]]:
    """The names of the members in each group, in their order; no name stands in two."""
    names: tuple[Group, ...] = ("better", "worse", "no difference", "unresolved")
    where = {name: group(member.interval, margin) for name, member in members.items()}
    return {
        title: tuple(name for name, its_group in where.items() if its_group == title)
        for title in names
    }
