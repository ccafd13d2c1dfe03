"""Where the variance comes from: components, each with an interval of its own.

A component from few replicates is hardly known: with five, a standard deviation's 95 % interval is
0.6 to 2.9 times the estimate. A table of components without intervals would claim more than it
knows, so here there is none without.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from pipeline.analysis.effects import array_of, mean_squares
from pipeline.analysis.statistics import CONFIDENCE


@dataclass(frozen=True)
class Component:
    """A standard deviation, in the unit of the values, and the ends of its 95 % interval."""

    name: str
    deviation: float
    low: float
    high: float


def of_mean_square(name: str, variance: float, df: int) -> Component:
    """The component that is a mean square itself: `df variance / sigma^2` is chi-squared.

    Raises ValueError unless `df` >= 1.
    """
    if df < 1:
        raise ValueError(f"`df` of {name} must be >= 1, but got {df}")
    ends = (df * variance / _chi_squared(df, share) for share in _shares())
    low, high = (float(np.sqrt(end)) for end in ends)
    return Component(name, float(np.sqrt(variance)), low, high)


def between(name: str, square: float, rest: float, dfs: tuple[int, int], repeats: int) -> Component:
    """The component `(square - rest) / repeats` of two mean squares with `dfs`.

    An estimate below zero counts as zero. The interval is that of Williams (1962) and Tukey (1951):
    `df (square - F rest) / (repeats chi^2)` at the same quantile of F and chi^2 for each end; it
    holds the truth in about 95 % of studies, where Satterthwaite's can fail for a small component.
    A `square` far below `rest`, as in 2.5 % of studies without the component, gives [0, 0].
    """
    df, df_rest = dfs
    ends = []
    for share in _shares():
        excess = square - float(special.fdtri(df, df_rest, share)) * rest
        ends.append(np.sqrt(max(df * excess / (repeats * _chi_squared(df, share)), 0.0)))
    deviation = np.sqrt(max((square - rest) / repeats, 0.0))
    return Component(name, float(deviation), float(ends[0]), float(ends[1]))


def spread(name: str, values: ArrayLike) -> Component:
    """The standard deviation of `values`, shape (R,), R >= 2; all are nan if one is not finite."""
    x = array_of("values", values, dims=1)
    if not np.isfinite(x).all():
        return _unknown(name)
    return of_mean_square(name, float(x.var(ddof=1)) if x.size > 1 else np.nan, x.size - 1)


def nested(values: ArrayLike, names: tuple[str, str] = ("draw", "seed")) -> tuple[Component, ...]:
    """Components of `values`, shape (a, b): a draws or splits with their search, b seeds in each.

    One-way random effects, `value_ij = mean + draw_i + seed_ij`: two draws share no seed. Raises
    ValueError unless a, b >= 2. Searle, Casella and McCulloch 1992, chapter 3.
    """
    x = _table(values)
    if not np.isfinite(x).all():
        return tuple(map(_unknown, names))
    a, b = x.shape
    inner, outer = float(x.var(axis=1, ddof=1).mean()), float(b * x.mean(axis=1).var(ddof=1))
    df = a * (b - 1)
    return between(names[0], outer, inner, (a - 1, df), b), of_mean_square(names[1], inner, df)


def crossed(
    values: ArrayLike, names: tuple[str, str, str] = ("replicate", "test row", "interaction")
) -> tuple[Component, ...]:
    """Components of `values`, shape (a, b), as in `effects.crossed`: rows, columns, and the rest.

    With one value in each cell the interaction cannot be told from noise. Raises ValueError unless
    a, b >= 2.
    """
    x = _table(values)
    if not np.isfinite(x).all():
        return tuple(map(_unknown, names))
    ms = mean_squares(x)
    a, b = x.shape
    rows, columns, rest = ms.dfs
    return (
        between(names[0], ms.rows, ms.rest, (rows, rest), b),
        between(names[1], ms.columns, ms.rest, (columns, rest), a),
        of_mean_square(names[2], ms.rest, rest),
    )


def _table(values: ArrayLike) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    x = array_of("values", values, dims=2)
    if min(x.shape) < 2:
        raise ValueError(f"`values` must have shape (a, b) with a, b >= 2, but has shape {x.shape}")
    return x


def _shares() -> tuple[float, float]:
    """The quantile that gives the low end of a variance first: it stands in the denominator."""
    tail = (1 - CONFIDENCE) / 2
    return 1 - tail, tail


def _chi_squared(df: int, share: float) -> float:
    return float(special.chdtri(df, 1 - share))


def _unknown(name: str) -> Component:
    return Component(name, np.nan, np.nan, np.nan)
