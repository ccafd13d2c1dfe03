"""Which epochs of a learning curve are shown, in the report, in MLflow and in plots/curves.csv."""

from typing import Any

import numpy as np

POINTS = 300  # of a figure's curve, at most: about one a pixel


def thinned(epochs: int, points: int = POINTS) -> np.ndarray[Any, np.dtype[np.int64]]:
    """At most `points` of the epochs 1 to `epochs`, first and last included, denser early on.

    Logarithmically spaced, since a curve changes most in its first epochs, (n,), rising.
    """
    if epochs <= points:
        return np.arange(1, epochs + 1)
    return np.unique(np.geomspace(1, epochs, points).round().astype(np.int64))
