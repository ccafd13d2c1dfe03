"""What models predict for test examples: confusion matrices, ROC curves, residuals."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.analysis import ensembles
from pipeline.analysis.effects import Matrix
from pipeline.analysis.statistics import Vector

RATES = np.linspace(0, 1, 101)  # false positive rates of a mean ROC curve


class Predicted(NamedTuple):
    """A run's predictions for its test examples, in the order of the run's rows."""

    targets: NDArray[np.generic]  # (n,) labels, or numbers
    outputs: NDArray[np.float32]  # (n, classes) or (n, 1): probabilities; (n, 1): numbers


def read(
    folder: Path, runs: pd.DataFrame, techniques: Collection[str]
) -> dict[str, dict[str, list[Predicted]]]:
    """Setting -> technique -> the predictions of its runs, in their order.

    Raises UserError if the file or the predictions of a run are missing.
    """
    own = runs[runs["technique"].isin(techniques)]
    stored = ensembles.read(folder, own)
    found: dict[str, dict[str, list[Predicted]]] = {}
    for run in own.to_dict("records"):
        key = str(run["key"])
        told = Predicted(stored.labels[stored.samples[key]], stored.probabilities[key])
        found.setdefault(run["setting"], {}).setdefault(run["technique"], []).append(told)
    return found


def confusion(runs: Sequence[Predicted], n_classes: int) -> Matrix:
    """Test examples by class (rows) and predicted class (columns), mean over runs.

    The sum is the number of test examples.

    >>> told = Predicted(np.array([0, 1, 1]), np.array([[0.2], [0.9], [0.4]], np.float32))
    >>> confusion([told], 2).tolist()
    [[1.0, 0.0], [1.0, 1.0]]
    """
    tables = np.zeros((len(runs), n_classes, n_classes))
    for table, (labels, outputs) in zip(tables, runs, strict=True):
        np.add.at(table, (labels.astype(np.int64), ensembles.classes(outputs)), 1)
    return np.asarray(tables.mean(axis=0))


def roc(runs: Sequence[Predicted]) -> Vector:
    """True positive rates at `RATES`, mean over runs, of the second of two classes.

    Between the points of a run's curve it is a straight line, as ties have it. Runs whose test
    examples are of one class have no curve; without any other, all is nan.
    """
    curves = [_rates(each) for each in runs if 0 < np.count_nonzero(each.targets) < len(each[0])]
    # Where a curve rises without going aside, `interp` takes the upper end.
    heights = [np.interp(RATES, *curve) for curve in curves]
    return np.mean(heights, axis=0) if heights else np.full(len(RATES), np.nan)


def area(run: Predicted) -> float:
    """The area under a run's ROC curve; nan if its test examples are of one class."""
    if not 0 < np.count_nonzero(run.targets) < len(run.targets):
        return float("nan")
    false, true = _rates(run)
    return float(np.trapezoid(true, false))


def _rates(run: Predicted) -> tuple[Vector, Vector]:
    """False and true positive rates at every threshold, from (0, 0) to (1, 1)."""
    scores, order = np.unique(-run.outputs[:, 0].astype(np.float64), return_inverse=True)
    positive = np.bincount(order, weights=run.targets == 1, minlength=len(scores)).cumsum()
    negative = np.bincount(order, weights=run.targets != 1, minlength=len(scores)).cumsum()
    false, true = (np.concatenate([[0.0], n / n[-1]]) for n in (negative, positive))
    return false, true


def areas(by_technique: Mapping[str, Sequence[Predicted]]) -> dict[str, float]:
    """Technique -> the mean area under the ROC curves of its runs."""
    return {name: float(np.mean([*map(area, runs)])) for name, runs in by_technique.items()}
