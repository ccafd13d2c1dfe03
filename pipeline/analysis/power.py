"""What a study can show: before it, its power from a pilot; after it, what it rules out.

Power is computed before a study, from the spread of a pilot's or the last study's differences.
Computed afterwards from the effect that was seen it tells nothing that p does not; then the
interval speaks: "gains above 0.4 points ruled out".

All of it is for the two-sided paired t-test at 0.05 of R differences with standard deviation
`spread`. Under a true mean `difference`, t has R - 1 degrees of freedom and the noncentrality
`difference / (spread sqrt(1 / R + overlap))`; `overlap` is 0 for independent replicates and
n_test / n_train for repeated splits of one file. Cohen 1988; Hoenig and Heisey 2001.
"""

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from pipeline.analysis.effects import Effect
from pipeline.analysis.statistics import CONFIDENCE, POWER, Estimate
from pipeline.analysis.variance import spread as spread_of

MOST = 100_000  # replicates that are thought of
LEVEL = 1 - CONFIDENCE


@dataclass(frozen=True)
class RuledOut:
    """Sizes that the data exclude, both >= 0, in the unit of the effect; nan where nothing is."""

    gain: float  # gains above it; 0 if there is none at all
    loss: float  # losses above it


def ruled_out(interval: Estimate) -> RuledOut:
    """What a 95 % interval of a gain, or a simultaneous one, excludes."""
    return RuledOut(float(np.maximum(interval.high, 0.0)), float(np.maximum(-interval.low, 0.0)))


def power(
    difference: float,
    spread: float,
    replicates: int,
    overlap: float = 0.0,
    level: float = LEVEL,
) -> float:
    """The share of studies in which p falls below `level`: 0.05, or 0.05 / m in a family of m.

    Raises ValueError unless spread > 0, replicates >= 2 and overlap >= 0.
    """
    _check(spread, overlap, replicates)
    error = spread * np.sqrt(1 / replicates + overlap)
    return _power(abs(difference) / error, replicates - 1, level)


def power_of(effect: Effect, difference: float, level: float = LEVEL) -> float:
    """The power of another study of the size and kind that gave `effect`.

    For errors that are no `spread / sqrt(R)`: those of `effects.crossed`. Raises ValueError unless
    the error is > 0.
    """
    if not effect.error > 0:
        raise ValueError(f"the error of `effect` must be > 0, but got {effect.error}")
    return _power(abs(difference) / effect.error, effect.df, level)


def _power(shift: float, df: float, level: float) -> float:
    critical = float(special.stdtrit(df, 1 - level / 2))
    return 1 - _share_below(critical, df, shift) + _share_below(-critical, df, shift)


def _share_below(t: float, df: float, shift: float) -> float:
    # SciPy's is nan in places far out in the lower tail, where the share is below 1e-200.
    return float(np.nan_to_num(special.nctdtr(df, shift, t)))


def detectable(spread: float, replicates: int, overlap: float = 0.0, level: float = LEVEL) -> float:
    """The smallest true difference that is shown in 80 % of studies, in the unit of `spread`."""
    _check(spread, overlap, replicates)
    df, error = replicates - 1, float(spread * np.sqrt(1 / replicates + overlap))
    # Half of all studies show a shift as large as the critical t, nearly all show four times it.
    most = 4 * float(special.stdtrit(df, 1 - level / 2))
    shift = optimize.brentq(lambda size: _power(size, df, level) - POWER, 0.0, most)
    return float(shift) * error


def replicates_needed(
    difference: float, spread: float, overlap: float = 0.0, level: float = LEVEL
) -> int | None:
    """The fewest replicates, at least 2, that show a true `difference` in 80 % of studies.

    None if 100,000 do not: overlapping splits have an error that no number of them takes away, and
    a difference of zero is never shown.

    >>> replicates_needed(0.002, spread=0.0037)  # 0.2 points would take 29 seeds
    29
    """
    _check(spread, overlap)

    def shown(replicates: int) -> bool:
        return power(difference, spread, replicates, overlap, level) >= POWER

    if not shown(MOST):
        return None
    return 2 + bisect_left(range(2, MOST), True, key=shown)


@dataclass(frozen=True)
class Needed:
    """Replicates that a difference takes, at a pilot's spread and at the ends of its interval."""

    expected: int | None
    low: int | None
    high: int | None


def needed_after(pilot: ArrayLike, difference: float, overlap: float = 0.0) -> Needed:
    """Replicates for a true `difference`, from a pilot's differences, shape (n,), n >= 2.

    Five replicates know their spread to a factor of 0.6 to 2.9, so the count to one of 0.4 to 8.
    """
    known = spread_of("pilot", pilot)
    return Needed(
        *(
            replicates_needed(difference, deviation, overlap)
            for deviation in (known.deviation, known.low, known.high)
        )
    )


def _check(spread: float, overlap: float, replicates: int = 2) -> None:
    if not spread > 0:
        raise ValueError(f"`spread` must be > 0, but got {spread}")
    if not overlap >= 0:
        raise ValueError(f"`overlap` must be >= 0, but got {overlap}")
    if replicates < 2:
        raise ValueError(f"`replicates` must be >= 2, but got {replicates}")
