"""Runs paired with runs: the differences that every comparison and every claim starts from.

A pair has the same draw or split, the same search's turn, the same initial weights and batch order
under two techniques. The replicate is the unit: seeds within it are averaged.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.analysis import effects, power, sign_flips, variance
from pipeline.analysis.effects import Effect, Matrix, mean_squares
from pipeline.analysis.sign_flips import SignFlips
from pipeline.analysis.statistics import Vector
from pipeline.analysis.variance import Component

Index = NDArray[np.int64]

PAIR = ("search", "replicate", "seed")  # columns of runs.csv that name a pair


@dataclass(frozen=True)
class Pairs:
    """Values of n pairs of runs, such as differences of accuracies, sorted by `PAIR`.

    `overlap`: n_test / n_train if the replicates are splits of one file, which share rows; 0 for
    fresh draws, and for seeds on the same rows. It corrects nothing where `by_row` does.
    """

    index: Index  # (n, 3): search, replicate and seed
    values: Vector  # (n,)
    overlap: float
    # Of each replicate on each test example, (R, rows), where all have the same test examples.
    by_row: Matrix | None = None

    @cached_property
    def _cells(self) -> tuple[Matrix, Index]:
        """Means over seeds and their counts, searches by replicates, both (a, b)."""
        searches, replicates = (_places(self.index[:, column]) for column in (0, 1))
        shape = searches.max() + 1, replicates.max() + 1
        cell = searches * shape[1] + replicates
        counts = np.bincount(cell, minlength=shape[0] * shape[1])
        sums = np.bincount(cell, weights=self.values, minlength=counts.size)
        return (sums / np.maximum(counts, 1)).reshape(shape), counts.reshape(shape)

    @property
    def table(self) -> Matrix | None:
        """Searches by replicates, (a, b), if every search's setting met every replicate.

        None if each replicate has its own search, or if there is one search.
        """
        means, counts = self._cells
        return means if min(means.shape) > 1 and counts.all() else None

    @cached_property
    def by_replicate(self) -> Vector:
        """The mean of each replicate over searches and seeds, (R,); nan if a value is not known."""
        means, counts = self._cells
        return np.asarray(means.sum(axis=0) / (counts > 0).sum(axis=0))

    @property
    def replicates(self) -> int:
        """The number of replicates."""
        return len(self._cells[0][0])

    @property
    def searches(self) -> int:
        """The number of searches."""
        return len(self._cells[0])

    @cached_property
    def effect(self) -> Effect:
        """The mean with its standard error, corrected for the one source that needs it."""
        if self.by_row is not None:
            return effects.crossed(self.by_row)
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
        pairs, seed = np.unique(self.index[:, 1:], axis=0, return_inverse=True)
        means = np.bincount(seed, weights=self.values) / np.bincount(seed)
        seeds = np.bincount(_places(pairs[:, 0]))
        if len(seeds) < 2 or seeds.min() < 2 or seeds.min() < seeds.max():
            return None
        return means.reshape(len(seeds), seeds[0])

    def flips(self, rng: np.random.Generator) -> SignFlips | None:
        """Sign flips of the replicates' means; None where they are fewer than nine or dependent.

        Splits of one file share rows, as do replicates with the same test examples, and draws that
        all settings of some searches meet share what the searches found: signs are not independent
        then.
        """
        dependent = self.overlap or self.table is not None or self.by_row is not None
        return None if dependent else sign_flips.sign_flips(self.by_replicate, rng)

    def needed(self, difference: float, level: float = power.LEVEL) -> int | None:
        """The fewest replicates that show a true `difference` at `level` in 80 % of such studies.

        What stays as it is with more replicates is counted: the number of searches that chose the
        values, the test examples, and the rows that splits of one file share. None if no number of
        replicates suffices, or if a single replicate leaves the spread unknown.
        """
        spread = float(self.by_replicate.std(ddof=1)) if self.replicates > 1 else np.nan
        if not (spread > 0 and difference > 0):
            return None
        overlap = self.overlap if self.by_row is None else 0.0
        floor = overlap + (self._of_searches + self._of_rows) / spread**2
        return power.replicates_needed(difference, spread, floor, level)

    @property
    def limits(self) -> tuple[str, ...]:
        """What no number of replicates takes away from the error, in words."""
        causes = {
            "splits of one file share rows": self.overlap > 0 and self.by_row is None,
            "few searches chose the values": bool(
                np.isfinite(self.values).all() and self._of_searches > 0
            ),
            "all replicates have the same test examples": self.by_row is not None,
        }
        return tuple(words for words, holds in causes.items() if holds)

    @property
    def _of_searches(self) -> float:
        """The variance of the mean that the number of searches decides, whatever the draws."""
        if self.table is None:
            return 0.0
        ms = mean_squares(self.table)
        return max(ms.rows - ms.rest, 0.0) / self.table.size

    @property
    def _of_rows(self) -> float:
        """The variance of the mean that the number of test examples decides, if all share them."""
        if self.by_row is None or len(self.by_row) < 2:
            return 0.0
        ms = mean_squares(self.by_row)
        return max(ms.columns - ms.rest, 0.0) / self.by_row.size

    def components(self) -> tuple[Component, ...]:
        """Where the variance of the values comes from, as far as the design can tell."""
        table, by_seed = self.table, self.by_seed
        if self.by_row is not None:
            return variance.crossed(self.by_row, ("replicate", "test example", "interaction"))
        if table is not None:
            return variance.crossed(table, ("search", "draw", "interaction and seed"))
        if by_seed is not None:
            return variance.nested(by_seed, ("draw or split, with its search", "seed"))
        return (variance.spread("replicate", self.by_replicate),)


def pairs(
    first: pd.DataFrame,
    second: pd.DataFrame | None,
    measure: str,
    relative: bool = False,
    rows: Mapping[str, NDArray[np.float32]] | None = None,
) -> Pairs:
    """`first` minus `second` in a column of runs.csv, on the pairs that both have.

    Args:
        first, second: the runs of one technique and setting each; without `second` the values of
            `first` themselves.
        relative: whether a difference is a share of the second side's value.
        rows: key of a run -> its values of the measure on each test example, (n,), if all
            replicates have the same ones; see `by_example`.

    Raises ValueError if no pair is common.
    """
    index, values = _indexed(first, measure)
    if second is not None:
        where, others = _indexed(second, measure)
        place = {pair: row for row, pair in enumerate(map(tuple, where.tolist()))}
        common = [row for row, pair in enumerate(map(tuple, index.tolist())) if pair in place]
        index, values = index[common], values[common]
        others = others[[place[pair] for pair in map(tuple, index.tolist())]]
        values = values - others
        if relative:
            with np.errstate(divide="ignore", invalid="ignore"):  # no share of zero is finite
                values = values / np.abs(others)
    if not len(index):
        raise ValueError("`first` and `second` must have a pair in common, but have none")
    by_row = None if rows is None or relative else _by_row(index, first, second, rows)
    return Pairs(index, values, float(first["overlap"].iloc[0]), by_row)


def _by_row(
    index: Index,
    first: pd.DataFrame,
    second: pd.DataFrame | None,
    rows: Mapping[str, NDArray[np.float32]],
) -> Matrix:
    """Differences of each replicate on each test example, means over searches and seeds, (R, n)."""
    sides = [(first, 1.0)] if second is None else [(first, 1.0), (second, -1.0)]
    keys = [
        (dict(zip(map(tuple, _pairs_of(side).tolist()), side["key"], strict=True)), weight)
        for side, weight in sides
    ]
    replicates = np.unique(index[:, 1])
    table = []
    for replicate in replicates:
        own = [tuple(pair) for pair in index[index[:, 1] == replicate].tolist()]
        sums = [w * rows[str(by_pair[pair])].astype(float) for by_pair, w in keys for pair in own]
        table.append(np.sum(sums, axis=0) / len(own))
    return np.stack(table)


def _pairs_of(runs: pd.DataFrame) -> Index:
    """The search, replicate and seed of each run, (n, 3)."""
    return np.column_stack([runs[name].to_numpy(np.int64) for name in PAIR])


def _indexed(runs: pd.DataFrame, measure: str) -> tuple[Index, Vector]:
    """The pairs of runs, (n, 3), in their order, and the values of a measure."""
    index = _pairs_of(runs)
    order = np.lexsort(index.T[::-1])
    return index[order], runs[measure].to_numpy(np.float64)[order]


def _places(values: Index) -> Index:
    """The rank of each value among the distinct ones, shape (n,)."""
    return np.asarray(np.unique(values, return_inverse=True)[1])
