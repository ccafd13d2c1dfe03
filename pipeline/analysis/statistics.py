"""Intervals and paired tests: arrays in, floats out. SciPy and statsmodels do the work.

Runs are paired by seed: entry i of two arrays has the same data draw, initial weights and batch
order under two techniques. Every comparison uses the differences of these pairs.

Coverage. A BCa interval for a mean uses the quantiles of the sample, and small samples have short
tails. How often, in %, the 95 % interval contained the true mean in 10,000 simulated studies:

    seeds   values        BCa    bootstrap-t   Student's t
        5   normal        84.0   94.7          94.9
        5   uniform       86.5   95.7          93.0
        5   exponential   79.4   93.0          88.1
        5   accuracy      83.7   94.1          94.8
       10   normal        90.0   95.1          95.0
       10   uniform       93.4   97.5          94.8
       10   exponential   87.6   94.0          90.0
       10   accuracy      89.5   94.9          94.8
       20   normal        92.4   94.6          94.8
       20   uniform       94.4   96.9          94.8
       20   exponential   91.2   94.4          91.6
       20   accuracy      92.4   94.9          94.7
       30   normal        93.5   94.9          95.0
       30   uniform       94.8   96.4          94.9
       30   exponential   92.0   94.2          92.4
       30   accuracy      93.7   95.0          94.9

where an accuracy is the share of 352 examples that are right, each with probability 98 %. With 10
seeds, read a BCa interval as a 90 % interval. Bootstrap-t contains the mean in 94 to 97.5 % of the
studies, with intervals about 1.3 times as long with 10 seeds and twice as long with 5. Verdicts use
the sign-flip test, which is exact if the differences are symmetric about the mean that is tested,
and about as good as Student's t if they are skewed.

Sources: Efron 1987 (BCa); Hall 1988 (bootstrap-t); Fisher 1935 (sign flips); Agarwal et al. 2021,
arXiv 2108.13264 (probability of improvement); Bouthillier et al. 2021, arXiv 2103.03098.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Vector = NDArray[np.float64]

CONFIDENCE = 0.95
RESAMPLES = 9_999  # bootstrap samples behind one interval
ARRANGEMENTS = 2**16  # up to this many sign flips, so up to 16 pairs, all are tried
RANDOM_FLIPS = 19_999  # tried with more pairs
FEWEST_PAIRS = 6  # with fewer, no sign-flip p-value can be below 0.05
POWER = 0.8  # the share of studies that should detect a difference


class Estimate(NamedTuple):
    """A mean and the ends of its interval, in the unit of the values."""

    mean: float
    low: float
    high: float


def mean_interval(
    values: ArrayLike, rng: np.random.Generator, resamples: int = RESAMPLES
) -> Estimate:
    """Mean of `values`, shape (n,), with its 95 % BCa bootstrap interval.

    Equal values give an interval of width zero; a single value has no interval (nan); a value
    that is not finite makes all three nan. Raises ValueError unless n >= 1.

    >>> mean_interval([0.5, 0.5, 0.5], np.random.default_rng(0))
    Estimate(mean=0.5, low=0.5, high=0.5)
    """
    x = _vector("values", values)
    if not np.isfinite(x).all():
        return Estimate(np.nan, np.nan, np.nan)
    mean, spread = float(x.mean()), float(np.ptp(x))
    if x.size == 1:
        return Estimate(mean, np.nan, np.nan)
    if spread == 0:
        return Estimate(float(x[0]), float(x[0]), float(x[0]))
    # Standardized, so that the interval moves and stretches exactly with the values.
    interval = stats.bootstrap(
        ((x - mean) / spread,),
        _mean,
        n_resamples=resamples,
        confidence_level=CONFIDENCE,
        method="BCa",
        vectorized=True,
        rng=rng,
    ).confidence_interval
    return Estimate(mean, mean + spread * float(interval.low), mean + spread * float(interval.high))


def sign_flip_p(differences: ArrayLike, rng: np.random.Generator) -> float:
    """Two-sided p-value of "the differences, shape (n,), are symmetric about zero".

    Compares their mean with its value under sign flips: all 2^n up to n = 16 (the smallest p is
    then 2 / 2^n), 19,999 random ones for larger n. A difference that is not finite gives nan.
    Raises ValueError unless n >= 1.

    >>> sign_flip_p([0.02, 0.03, 0.01, 0.03, 0.01, 0.03], np.random.default_rng(0))
    0.03125
    """
    d = _vector("differences", differences)
    scale = float(np.abs(d).max())
    if not np.isfinite(scale):
        return np.nan
    return _flip(d / (scale or 1.0), _mean, "two-sided", rng)


def _flip(
    sample: Vector,
    statistic: Callable[..., Any],
    alternative: Literal["two-sided", "greater"],
    rng: np.random.Generator,
) -> float:
    if sample.size == 1:  # SciPy rejects it; both signs are equally extreme
        return 1.0
    test = stats.permutation_test(
        (sample,),
        statistic,
        permutation_type="samples",
        n_resamples=ARRANGEMENTS if 2**sample.size <= ARRANGEMENTS else RANDOM_FLIPS,
        alternative=alternative,
        vectorized=True,
        rng=rng,
    )
    return float(test.pvalue)


def improvement(gains: ArrayLike) -> float:
    """Probability of improvement: the share of `gains`, shape (n,), above zero, ties counting half.

    Raises ValueError unless n >= 1. Agarwal et al. 2021.

    >>> improvement([0.1, 0.2, 0.0, -0.1])
    0.625
    """
    d = _vector("gains", gains)
    return float(np.mean(d > 0) + np.mean(d == 0) / 2)


def _vector(name: str, values: ArrayLike) -> Vector:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or x.size == 0:
        raise ValueError(f"`{name}` must have shape (n,) with n >= 1, but has shape {x.shape}")
    return x


def _mean(x: Vector, axis: int) -> Any:
    # Rounded: accuracies have many equal means, which rounding errors of the sum would separate.
    return np.round(np.mean(x, axis=axis), 12)
