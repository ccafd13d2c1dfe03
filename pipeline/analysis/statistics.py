"""What all statistics here share: the level, an estimate, and the probability of improvement.

Intervals and tests of a mean are in `effects`, their check by sign flips in `sign_flips`, what
corrects them for each other in `families`, and power in `power`.

Source: Agarwal et al. 2021, arXiv 2108.13264 (probability of improvement).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Vector = NDArray[np.float64]

CONFIDENCE = 0.95
POWER = 0.8  # the share of studies that should detect a difference


class Estimate(NamedTuple):
    """A mean and the ends of its interval, in the unit of the values."""

    mean: float
    low: float
    high: float


def improvement(gains: ArrayLike) -> float:
    """Probability of improvement: the share of `gains`, shape (n,), above zero, ties counting half.

    Raises ValueError unless n >= 1.

    >>> improvement([0.1, 0.2, 0.0, -0.1])
    0.625
    """
    d = np.asarray(gains, dtype=np.float64)
    if d.ndim != 1 or d.size == 0:
        raise ValueError(f"`gains` must have shape (n,) with n >= 1, but has shape {d.shape}")
    return float(np.mean(d > 0) + np.mean(d == 0) / 2)
