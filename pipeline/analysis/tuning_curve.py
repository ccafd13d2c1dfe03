"""The trials of the searches: what was tried, and what a smaller search would have found.

The best of k trials grows with k, so a technique's best says little without its budget. The
tuning curve tells the expected best validation score after k random trials, from the trials
that were drawn at random. Later ones were proposed by Optuna in view of the earlier: of those only
the best so far is known, in the one order in which they came. A trial that was pruned counts with
the score it had then: what it would have reached is not known.

Sources: Dodge et al. 2019, arXiv 1909.03004 (expected validation performance); Tang et al. 2020,
ACL 2020.acl-main.246 (its unbiased estimate, used here).
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import comb

from pipeline.analysis.statistics import Vector
from pipeline.results import task_of


def ordered(trials: pd.DataFrame) -> pd.DataFrame:
    """Trials in the order in which they were asked, each with a finite validation score.

    One without counts as the worst there is, as in the search, or, where a score has no bound, as
    much as the worst trial that has one.
    """
    task = task_of(trials)
    name, sign = task.val.name, task.val.sign
    scores = trials[name].where(np.isfinite(trials[name]))
    worst = task.worst if np.isfinite(task.worst) else sign * (sign * scores).min()
    shown = trials.assign(**{name: scores.fillna(worst)})
    return shown.sort_values(["technique", "trial"], kind="stable")


def expected_best(values: ArrayLike) -> Vector:
    """Expected largest of k = 1 … n of `values`, shape (n,), drawn without replacement.

    `sum over i of v_(i) * C(i - 1, k - 1) / C(n, k)` over the sorted values: the mean over all
    subsets of k. Unbiased for the largest of k new draws; the last entry is the largest of all.
    """
    v = np.sort(np.asarray(values, dtype=np.float64))
    i = np.arange(len(v))
    return np.array([float(comb(i, k) @ v / comb(len(v), k + 1)) for k in range(len(v))])


def tuning_curve(scores: ArrayLike, random: int, sign: int = 1) -> pd.DataFrame:
    """The tuning curve of one technique: columns `trials` (k), `expected` and `found`.

    `scores`, shape (n,), are in the order of the trials, the first `random` of them drawn at
    random; with a `sign` of -1 the smaller are better. `expected` is nan beyond those; `found`, the
    best so far, is nan before the last of them, where the two meet.
    """
    v = sign * np.asarray(scores, dtype=np.float64)
    random = min(random, len(v))
    curve = pd.DataFrame({"trials": np.arange(1, len(v) + 1), "expected": np.nan, "found": np.nan})
    curve.loc[: random - 1, "expected"] = sign * expected_best(v[:random])
    curve.loc[random - 1 :, "found"] = sign * np.maximum.accumulate(v)[random - 1 :]
    return curve
