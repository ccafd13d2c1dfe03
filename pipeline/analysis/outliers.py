"""Runs that end far from the others of their technique.

One run in five that ends in a spike of the loss makes most of an interval: a reader must be told,
since more replicates would then say something else.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

# Robust standard deviations. Of three techniques with normal scores chance flags one in 1 to 8 % of
# settings with five runs each, as their spreads are alike or not, and in 1 % or less with ten.
FAR = 8.0
LEAST = 4  # runs of a technique; fewer do not tell where the others are
PER_DEVIATION = 1.4826  # standard deviations of a normal distribution per median deviation


@dataclass(frozen=True)
class Outliers:
    """How many runs of a technique are far from its median, and the farthest value (NaN: none)."""

    outliers: int
    farthest: float
    median: float


def outliers(runs: Mapping[str, pd.Series], least: float) -> dict[str, Outliers]:
    """The outliers of each technique; values that are not finite are left out.

    A value is far if it differs from its technique's median by more than `least`, in its own unit,
    and by more than `FAR` robust standard deviations, of the technique's own values and of all
    techniques': where four values agree by chance, the fifth is not strange. Source: Hampel's
    identifier, which takes three; here many tables are looked at.

    >>> scores = pd.Series([0.83, 0.84, 0.82, 0.42, 0.83])
    >>> outliers({"l1": scores}, least=0.005)["l1"]
    Outliers(outliers=1, farthest=0.42, median=0.83)
    """
    values = {name: of[np.isfinite(of)] for name, of in runs.items()}
    deviations = {name: (of - of.median()).abs() for name, of in values.items()}
    shared = pd.concat([*deviations.values()]).median()
    found = {}
    for name, away in deviations.items():
        far = away > max(least, FAR * PER_DEVIATION * max(shared, away.median()))
        count = int(far.sum()) if len(away) >= LEAST else 0
        farthest = float(values[name][away.idxmax()]) if count else np.nan
        found[name] = Outliers(count, farthest, float(values[name].median()))
    return found
