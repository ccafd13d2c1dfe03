"""The trials of the searches, and what a smaller search would have found.

The best of k trials improves with k, so a technique's best score says little without its budget.
The tuning curve is the expected best validation score after k random trials, estimated from the
trials that were drawn at random. Optuna proposed the later ones based on the earlier, so for them
only the best so far is known, in the order in which they ran. A pruned trial counts with the score
it had when it was pruned.

Sources: Dodge et al. 2019, arXiv 1909.03004 (expected validation performance); Tang et al. 2020,
ACL 2020.acl-main.246 (its unbiased estimate, used here).
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import comb

from pipeline.analysis.statistics import Vector
from pipeline.datasets.task import Measure
from pipeline.results import task_of


def ordered(trials: pd.DataFrame) -> pd.DataFrame:
    """Trials in the order in which they were proposed, each with a finite validation score.

    A trial without a finite score gets the worst possible one, as in the search; if scores have no
    bound, it gets the score of the worst other trial.
    """
    task = task_of(trials)
    name, sign = task.val.name, task.val.sign
    scores = trials[name].where(np.isfinite(trials[name]))
    worst = task.worst if np.isfinite(task.worst) else sign * (sign * scores).min()
    finite = trials.assign(**{name: scores.fillna(worst)})
    return finite.sort_values(["technique", "search", "trial"], kind="stable")


def expected_best(values: ArrayLike) -> Vector:
    """Expected largest of k = 1 … n of `values`, shape (n,), drawn without replacement.

    `sum over i of v_(i) * C(i - 1, k - 1) / C(n, k)` over the sorted values: the mean over all
    subsets of size k. Unbiased for the largest of k new draws; the last entry is the maximum.

    >>> expected_best([1.0, 2.0, 3.0]).round(2).tolist()
    [2.0, 2.67, 3.0]
    """
    v = np.sort(np.asarray(values, dtype=np.float64))
    i = np.arange(len(v))
    return np.array([float(comb(i, k) @ v / comb(len(v), k + 1)) for k in range(len(v))])


def tuning_curve(scores: ArrayLike, random: int, sign: int = 1) -> pd.DataFrame:
    """The tuning curve of one technique: columns `trials`, `expected`, `best_so_far`.

    `scores`, shape (n,), are in the order of the trials, the first `random` of them drawn at
    random; with a `sign` of -1 smaller ones are better. `expected` is nan after the random trials,
    `best_so_far` before the last of them, where both are equal.
    """
    v = sign * np.asarray(scores, dtype=np.float64)
    random = min(random, len(v))
    curve = pd.DataFrame({"trials": np.arange(1, len(v) + 1)})
    curve = curve.assign(expected=np.nan, best_so_far=np.nan)
    curve.loc[: random - 1, "expected"] = sign * expected_best(v[:random])
    curve.loc[random - 1 :, "best_so_far"] = sign * np.maximum.accumulate(v)[random - 1 :]
    return curve


def mean_curve(trials: pd.DataFrame, random: int, measure: Measure) -> pd.DataFrame:
    """The mean of the tuning curves of one technique's searches, with the columns of each.

    `trials`: as `ordered` gives them. It ends where the shortest search does.
    """
    curves = [
        tuning_curve(own[measure.name].to_list(), random, measure.sign)
        for _, own in trials.groupby("search", sort=False)
    ]
    shortest = min(map(len, curves))
    return pd.concat([curve.head(shortest) for curve in curves]).groupby(level=0).mean()
