"""By what the targets of a regression are standardized."""

import numpy as np

from pipeline.datasets import Dataset
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
