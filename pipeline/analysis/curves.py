"""The epochs of a learning curve that the report, MLflow and plots/curves.csv show."""

from typing import Any

import numpy as np

POINTS = 300  # of a curve in a figure, at most: about one per pixel


def thinned(epochs: int, points: int = POINTS) -> np.ndarray[Any, np.dtype[np.int64]]:
    """At most `points` of the epochs 1 to `epochs`, ascending, shape (n,), with first and last.

    Logarithmically spaced, because a curve changes most in its first epochs.

    >>> thinned(100, points=5).tolist()
    [1, 3, 10, 32, 100]
    """
    if epochs <= points:
        return np.arange(1, epochs + 1)
    return np.unique(np.geomspace(1, epochs, points).round().astype(np.int64))
