"""By what a run's targets are standardized, and how much each of its classes counts."""

import numpy as np

from pipeline.datasets import Dataset, Floats, Ints
from pipeline.training.runs import Run


def standard(run: Run, dataset: Dataset) -> tuple[float, float]:
    """The mean and the standard deviation of the targets of the run's training examples.

    A rate or a strength then means the same whatever the unit, and nothing is read of validation
    and test examples. They are left out even if a technique trains on validation examples too, so
    that the losses of all techniques on a draw are in one scale. Equal targets have the scale 1, as
    have targets that are not standardized, whose mean is 0.
    """
    if not run.task.quantity:
        return 0.0, 1.0
    y = dataset.y[run.rows(dataset, "train")].astype(np.float64)
    return float(y.mean()), float(y.std()) or 1.0


def class_weights(run: Run, dataset: Dataset, rows: Ints) -> Floats | None:
    """The factors (n_classes,) by which all classes count the same in training on these rows.

    `n / (classes * n_class)`, as scikit-learn's balanced class weights, where examples count by
    their weights. A class without a training example has the factor 1. None unless the run's
    training asks for them.
    """
    if run.training.class_weight is None:
        return None
    weights, classes = dataset.weights_of(rows), dataset.n_classes
    counts = np.bincount(dataset.y[rows], weights, minlength=classes)
    counts[counts == 0] = len(rows) / classes
    return (len(rows) / (classes * counts)).astype(np.float32)
