"""Runs paired with runs: the differences that every comparison and every claim starts from.

A pair has the same draw or split, the same search's turn, the same initial weights and batch order
under two techniques. The replicate is the unit: seeds within it are averaged.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from pipeline.analysis import effects, power, sign_flips, variance
from pipeline.analysis.effects import Effect, Matrix, mean_squares
from pipeline.analysis.sign_flips import SignFlips
from pipeline.analysis.statistics import Vector
from pipeline.analysis.variance import Component

PAIR = ("search", "replicate", "seed")  # columns of runs.csv that name a pair


@dataclass(frozen=True)
class Pairs:
    """Values of pairs of runs, such as differences of accuracies.

    `values`: indexed by `PAIR`. `overlap`: n_test / n_train if the replicates are splits of one
    file, which share rows; 0 for fresh draws, and for seeds on the same rows.
    """

    values: "pd.Series[float]"
    overlap: float

    @cached_property
    def cells(self) -> "pd.Series[float]":
        """The mean over seeds of each search and replicate."""
        return self.values.groupby(level=["search", "replicate"]).mean()

    @cached_property
    def table(self) -> Matrix | None:
        """Searches by replicates, (a, b), if every search's setting met every replicate.

        None if each replicate has its own search, or if there is one search.
        """
        table = self.cells.unstack("replicate").to_numpy(np.float64)
        return None if min(table.shape) < 2 or np.isnan(table).any() else table

    @cached_property
    def by_replicate(self) -> Vector:
        """The mean of each replicate over searches and seeds, (R,)."""
        return np.asarray(self.cells.groupby(level="replicate").mean(), np.float64)

    @property
    def replicates(self) -> int:
        """The number of replicates."""
        return self.values.index.get_level_values("replicate").nunique()

    @cached_property
    def effect(self) -> Effect:
        """The mean with its standard error, corrected for the one source that needs it."""
        table = self.table
        if table is not None:
            return effects.crossed(table)
        return effects.resplit(self.by_replicate, self.overlap)

    @property
    def of_seeds(self) -> Effect | None:
        """The mean with the error that seeds alone give; None unless replicates have several."""
        table = self.by_seed
        if table is None:
            return None
        a, b = table.shape
        error = float(np.sqrt(table.var(axis=1, ddof=1).mean() / (a * b)))
        return Effect(float(table.mean()), error, a * (b - 1.0))

    @cached_property
    def by_seed(self) -> Matrix | None:
        """Replicates by seeds within them, (R, b), means over searches; None unless b >= 2."""
        of_seed = self.values.groupby(level=["replicate", "seed"]).mean()
        groups = [group.to_numpy(np.float64) for _, group in of_seed.groupby(level="replicate")]
        same = len({len(group) for group in groups}) == 1
        if not same or len(groups) < 2 or len(groups[0]) < 2:
            return None
        return np.stack(groups)

    def flips(self, rng: np.random.Generator) -> SignFlips | None:
        """Sign flips of the replicates' means; None for fewer than nine, or if they overlap.

        Splits of one file are not independent, which sign flips would need.
        """
        return None if self.overlap else sign_flips.sign_flips(self.by_replicate, rng)

    def needed(self, difference: float, level: float = power.LEVEL) -> int | None:
        """The fewest replicates that show a true `difference` at `level` in 80 % of such studies.

        What stays as it is with more replicates is counted: the number of searches that chose the
        values, and the rows that splits of one file share. None if no number of replicates
        suffices, or if a single replicate leaves the spread unknown.
        """
        spread = float(self.by_replicate.std(ddof=1)) if self.replicates > 1 else np.nan
        if not (spread > 0 and difference > 0):
            return None
        floor = self.overlap + self._of_searches / spread**2
        return power.replicates_needed(difference, spread, floor, level)

    @property
    def _of_searches(self) -> float:
        """The variance of the mean that the number of searches decides, whatever the draws."""
        if self.table is None:
            return 0.0
        ms = mean_squares(self.table)
        return max(ms.rows - ms.rest, 0.0) / self.table.size

    def components(self) -> tuple[Component, ...]:
        """Where the variance of the values comes from, as far as the design can tell."""
        table, by_seed = self.table, self.by_seed
        if table is not None:
            return variance.crossed(table, ("search", "draw", "interaction and seed"))
        if by_seed is not None:
            return variance.nested(by_seed, ("draw or split, with its search", "seed"))
        return (variance.spread("replicate", self.by_replicate),)


def pairs(
    first: pd.DataFrame, second: pd.DataFrame | None, measure: str, relative: bool = False
) -> Pairs:
    """`first` minus `second` in a column of runs.csv, on the pairs that both have.

    Args:
        first, second: the runs of one technique and setting each; without `second` the values of
            `first` themselves.
        relative: whether a difference is a share of the second side's value.

    Raises ValueError if no pair is common.
    """
    values = _indexed(first, measure)
    if second is not None:
        values, others = values.align(_indexed(second, measure), join="inner")
        values = values - others
        if relative:
            with np.errstate(divide="ignore", invalid="ignore"):  # no share of zero is finite
                values = values / others.abs()
    if values.empty:
        raise ValueError("`first` and `second` must have a pair in common, but have none")
    return Pairs(values, float(first["overlap"].iloc[0]))


def _indexed(runs: pd.DataFrame, measure: str) -> "pd.Series[float]":
    values: pd.Series[float] = runs.set_index(list(PAIR))[measure].astype(float).sort_index()
    return values
