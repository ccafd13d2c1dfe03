"""A standard deviation, which chi-squared judges as Student's t does an `effects.Effect`."""

from dataclasses import dataclass

import numpy as np
from scipy import special

from pipeline.analysis.paired import Pairs
from pipeline.analysis.statistics import CONFIDENCE, Estimate


@dataclass(frozen=True)
class Deviation:
    """The standard deviation of normal values: `df s^2 / sigma^2` is chi-squared."""

    mean: float  # the estimate, s, in the unit of the values; nan if a value is not finite
    df: float  # its degrees of freedom; 0 for a single value

    def interval(self, level: float = CONFIDENCE) -> Estimate:
        """The estimate and `s sqrt(df / chi2)` at chi-squared's quantiles; nan if df is 0."""
        if not 0 < level < 1:
            raise ValueError(f"`level` must lie in (0, 1), but got {level}")
        if self.df < 1:
            return Estimate(self.mean, np.nan, np.nan)
        tails = (1 - level) / 2, (1 + level) / 2  # upper tails: the smaller one, the larger chi2
        low, high = (self.mean * np.sqrt(self.df / special.chdtri(self.df, tail)) for tail in tails)
        return Estimate(self.mean, float(low), float(high))

    def p(self, null: float) -> float:
        """Two-sided p-value of "sigma is `null`", > 0: below 0.05 iff the interval omits it."""
        if not null > 0:
            raise ValueError(f"`null` must be > 0, but got {null}")
        if self.df < 1:
            return np.nan
        scaled = self.df * (self.mean / null) ** 2
        tails = special.chdtr(self.df, scaled), special.chdtrc(self.df, scaled)
        return float(np.minimum(1.0, 2 * np.minimum(*tails)))


def of_repeats(pairs: Pairs) -> Deviation:
    """How much repeats of one setting vary.

    Over seeds within a draw or split, pooled, if each has several; else over replicates.
    """
    by_seed = pairs.by_seed
    values = pairs.by_replicate[None] if by_seed is None else by_seed
    df = values.shape[0] * (values.shape[1] - 1)
    if df == 0:
        return Deviation(np.nan, 0)
    return Deviation(float(np.sqrt(values.var(axis=1, ddof=1).mean())), df)
