"""Inverted sign flips: a test and an interval that need no normal distribution.

If the differences lie symmetrically about the true mean, flipping the signs of `d_i - mean` gives
a study that was as likely. A flip of the pairs in a subset S raises no mean above the one seen iff
the mean of S is at least the one that is tested. So the interval's ends are order statistics of the
means of all subsets that are not empty, and the p-value counts those on either side of the null.

With R pairs there are 2^R flips, and the smallest two-sided p is 2 / 2^R: 0.0625 at R = 5, where
no 95 % interval exists. From R = 9 on the levels lie close enough together to stand beside
Student's t as a check of it.

Hartigan 1969 (typical values); Tritchler 1984 (inverted permutation tests); Fisher 1935.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pipeline.analysis.effects import array_of
from pipeline.analysis.statistics import CONFIDENCE, Estimate, Vector

FEWEST = 9  # replicates from which on the check is made
EXACT = 16  # up to so many pairs all 2^R subsets are tried
RANDOM = 19_999  # subsets are drawn beyond


@dataclass(frozen=True)
class SignFlips:
    """The means of subsets of differences, sorted: all there is to know about their sign flips."""

    mean: float
    subsets: Vector  # shape (2^R - 1,), or fewer if drawn at random

    def p(self, null: float = 0.0) -> float:
        """Two-sided p-value of "the differences are symmetric about `null`"."""
        above = int(np.searchsorted(self.subsets, null, side="right"))
        below = self.subsets.size - int(np.searchsorted(self.subsets, null, side="left"))
        return min(1.0, 2 * (1 + min(above, below)) / (1 + self.subsets.size))

    def interval(self, level: float = CONFIDENCE) -> Estimate:
        """The mean, and all values that `p` does not reject; nan where R is too small for any."""
        rank = int(np.floor(round((1 - level) / 2 * (1 + self.subsets.size), 9)))
        if rank == 0:
            return Estimate(self.mean, np.nan, np.nan)
        return Estimate(self.mean, float(self.subsets[rank - 1]), float(self.subsets[-rank]))


def sign_flips(differences: ArrayLike, rng: np.random.Generator) -> SignFlips | None:
    """Sign flips of `differences`, shape (R,); None if R < 9 or one is not finite.

    All subsets up to R = 16, 19,999 random ones beyond. Raises ValueError unless R >= 1.
    """
    d = array_of("differences", differences, dims=1)
    if d.size < FEWEST or not np.isfinite(d).all():
        return None
    means = _all_means(d) if d.size <= EXACT else _random_means(d, rng)
    # Rounded: accuracies make many equal means, which the last bit of a sum would tell apart.
    scale = float(np.abs(d).max()) or 1.0
    return SignFlips(float(d.mean()), scale * np.sort(np.round(means / scale, 12)))


def _all_means(d: Vector) -> Vector:
    sums, counts = np.zeros(1), np.zeros(1)
    for difference in d:
        sums = np.concatenate([sums, sums + difference])
        counts = np.concatenate([counts, counts + 1])
    means: Vector = sums[1:] / counts[1:]
    return means


def _random_means(d: Vector, rng: np.random.Generator) -> Vector:
    chosen = rng.random((RANDOM, d.size)) < 0.5
    counts = chosen.sum(axis=1)
    # That all of 17 or more pairs stay out is rarer than 1 in 100,000: the identity, once more.
    filled = counts > 0
    means: Vector = (chosen[filled] @ d) / counts[filled]
    return means
