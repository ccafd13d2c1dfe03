"""How sure a choice is: candidates compared on the score that chose among them.

A search takes the candidate with the best validation score. If two candidates differ by less than
the error of their difference, the choice is a lottery, and the chosen value says little.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95


@dataclass(frozen=True)
class ChoiceError:
    """The standard error of the difference between two candidates of one search."""

    deviation: float  # of one candidate's score on one draw, what candidate and draw make taken off
    df: int  # degrees of freedom of `deviation`
    candidates: int

    def on(self, draws: int) -> float:
        """The error between two candidates with `draws` >= 1 common draws."""
        if draws < 1:
            raise ValueError(f"`draws` must be >= 1, but got {draws}")
        return float(self.deviation * np.sqrt(2 / draws))


def choice_error(scores: ArrayLike) -> ChoiceError:
    """The error of `scores`, shape (candidates, draws), from what each candidate did on each draw.

    nan: not evaluated there, as in a race whose later rounds are of fewer candidates on more draws.
    A candidate that diverged must be left out. Draws are common to the candidates, so what a draw
    adds to all of them cancels in a difference: `score_ij = candidate_i + draw_j + rest_ij`, fitted
    by least squares. On full tables the variance of a difference, `2 var_rest / draws`, is the mean
    of the paired variances of all pairs of candidates. Without degrees of freedom the deviation is
    nan. Raises ValueError for a score that is infinite, or a shape that is not of two axes.

    A race keeps what was lucky, which makes the deviation 3 % too small where all candidates are
    equal, and less so where they differ (24 on 2 draws, 6 on 6, 2 on 15: 400 simulated searches).
    """
    x = _floats("scores", scores, dims=2)
    if np.isinf(x).any():
        raise ValueError("`scores` must be finite, or nan where a candidate was not evaluated")
    candidates, draws = np.nonzero(~np.isnan(x))
    design = np.hstack(
        [candidates[:, None] == np.arange(len(x)), draws[:, None] == np.arange(x.shape[1])]
    )
    fitted, _, rank, _ = np.linalg.lstsq(design.astype(float), x[candidates, draws], rcond=None)
    df = len(draws) - int(rank)
    rest = x[candidates, draws] - design @ fitted
    deviation = float(np.sqrt(rest @ rest / df)) if df else np.nan
    return ChoiceError(deviation, df, len(np.unique(candidates)))


def _floats(name: str, values: ArrayLike, dims: int) -> NDArray[Any]:
    """`values` as floats. Raises ValueError if they are empty or have not `dims` axes."""
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != dims or x.size == 0:
        raise ValueError(f"`{name}` must have {dims} axes and values, but has shape {x.shape}")
    return x


def as_good_as_off(chosen: ArrayLike, off: ArrayLike, error: float) -> bool:
    """Whether a chosen value is no better than none by more than one standard error.

    `chosen` and `off` are scores on the same draws, shape (n,), more being better; `error` is that
    of their difference, such as `choice_error(...).on(n)`. Then the page says that the search chose
    no regularization: the simplest of the candidates that are as good as the best. The best of many
    scores is too high by chance, so the rule lets a useless value pass rather than miss a good one.
    With a score or an error that is not finite the answer is no. The one-standard-error rule of
    Breiman et al. 1984.
    """
    pairs = _floats("chosen", chosen, dims=1), _floats("off", off, dims=1)
    if pairs[0].size != pairs[1].size:
        raise ValueError(
            f"`chosen` and `off` must pair up, but have {pairs[0].size} and {pairs[1].size} entries"
        )
    with np.errstate(invalid="ignore"):  # both may have diverged, with infinite scores
        difference = float((pairs[0] - pairs[1]).mean())
    return bool(np.isfinite(difference) and difference <= error)


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's correlation over the trials of a search, with its 95 % interval."""

    mean: float
    low: float
    high: float
    n: int  # trials with both scores


def rank_correlation(validation: ArrayLike, test: ArrayLike) -> RankCorrelation:
    """Whether trials that are good on validation are good on test; both of shape (n,).

    Trials with a score that is not finite are left out: a diverged trial is never chosen. The
    95 % interval is Fisher's z with the error `sqrt((1 + r^2 / 2) / (n - 3))`; nan for fewer than
    four trials or constant scores. Raises ValueError if the lengths differ. Bonett and Wright 2000.
    """
    a, b = _floats("validation", validation, dims=1), _floats("test", test, dims=1)
    if a.size != b.size:
        raise ValueError(f"`validation` and `test` must pair up, but have {a.size} and {b.size}")
    known = np.isfinite(a) & np.isfinite(b)
    a, b = a[known], b[known]
    if a.size < 4 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return RankCorrelation(np.nan, np.nan, np.nan, a.size)
    from scipy import stats  # here: the import takes half a second, while workers start

    r = float(stats.spearmanr(a, b).statistic)
    return RankCorrelation(r, *_fisher(r, a.size), a.size)


def _fisher(r: float, n: int) -> tuple[float, float]:
    from scipy import special

    if abs(r) >= 1:
        return r, r
    reach = float(special.ndtri((1 + CONFIDENCE) / 2)) * np.sqrt((1 + r**2 / 2) / (n - 3))
    return float(np.tanh(np.arctanh(r) - reach)), float(np.tanh(np.arctanh(r) + reach))
