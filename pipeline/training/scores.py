"""Scores of classifiers that follow from their predictions, as scikit-learn defines them.

All but accuracy and loss, which training measures itself. scikit-learn is imported where a score is
computed: studies that go by the accuracy need none of it here.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pipeline.datasets.task import Measure


class Told(NamedTuple):
    """What a classifier says of n examples, and their labels."""

    labels: np.ndarray  # (n,) int32
    classes: np.ndarray  # (n,) the classes that it tells
    probabilities: np.ndarray  # (n, classes) float32, or (n, 1) of the second of two classes
    weights: np.ndarray | None = None  # (n,) > 0, how much each example counts; None: equally

    @property
    def n_classes(self) -> int:
        """The number of classes."""
        return max(2, int(self.probabilities.shape[1]))


def balanced_accuracy(told: Told) -> float:
    """The mean over classes of the share of their examples that are told rightly."""
    from sklearn.metrics import balanced_accuracy_score

    return float(balanced_accuracy_score(told.labels, told.classes, sample_weight=told.weights))


def roc_auc(told: Told) -> float:
    """The area under the ROC curve; of more than two classes the mean of each against the others.

    nan if a probability is not finite.
    """
    from sklearn.metrics import roc_auc_score

    p = told.probabilities
    if not np.isfinite(p).all():
        return float("nan")
    p = p[:, 0] if told.n_classes == 2 else p
    return float(roc_auc_score(told.labels, p, multi_class="ovr", sample_weight=told.weights))


def f1(told: Told) -> float:
    """The F1 score of the second of two classes, or the mean over more classes."""
    from sklearn.metrics import f1_score

    average = "binary" if told.n_classes == 2 else "macro"
    true, weights = told.labels, told.weights
    return float(f1_score(true, told.classes, average=average, sample_weight=weights))


# By the name of the score in `task.SCORES`.
OF_CLASSES: Mapping[str, Callable[[Told], float]] = {
    "balanced_accuracy": balanced_accuracy,
    "roc_auc": roc_auc,
    "f1": f1,
}


def further(scores: Sequence[Measure], told: Told) -> dict[str, float]:
    """Those of the scores beside accuracy and loss, by name; nan where a class has no example.

    Without examples of a class its share, its ranking and its F1 are not defined, and a mean over
    the others would be another score.
    """
    names = [score.name for score in scores if score.name in OF_CLASSES]
    if not names:
        return {}
    if len(np.unique(told.labels)) < told.n_classes:
        return dict.fromkeys(names, float("nan"))
    return {name: OF_CLASSES[name](told) for name in names}
