"""What each run says about each test example, where all replicates have the same test examples.

Then these are a source of variance of their own: other test images would give other differences,
however many replicates there are. It is crossed with the replicates; see `effects.crossed`.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline import results
from pipeline.analysis import ensembles
from pipeline.results import SAME_TEST

Vector32 = NDArray[np.float32]
Rows = Mapping[str, Mapping[str, Vector32]]  # outcome -> key of a run -> (n,)


def read(folder: Path, runs: pd.DataFrame) -> Rows:
    """Whether each run is right about each test example, and its loss there.

    Of the balanced accuracy, whether it is right, weighted so that every class counts the same.
    Where examples have weights, all values are times these.

    A stored probability bounds an example's loss at 16, while runs.csv has it from logits. So a
    run's losses are moved to the mean that runs.csv has.

    Empty unless all replicates have the same test examples, or for a task without labels. Raises
    UserError if predictions are missing.
    """
    if not results.task_of(runs).labels or not runs[SAME_TEST].all():
        return {}
    predictions = ensembles.read(folder, runs)
    hits: dict[str, Vector32] = {}
    losses: dict[str, Vector32] = {}
    balanced: dict[str, Vector32] = {}
    means = runs.set_index("key")["test_loss"]
    for key, outputs in predictions.probabilities.items():
        labels = predictions.labels[predictions.samples[key]]
        weights = predictions.weights.get(predictions.samples[key], np.ones(len(labels)))
        right = ensembles.hits(outputs, labels)
        hits[key] = (right * weights).astype(np.float32)
        balanced[key] = right * _shares(labels, weights, max(2, outputs.shape[1]))
        bounded = ensembles.losses(outputs, labels) * weights
        losses[key] = (bounded + (means[key] - bounded.mean())).astype(np.float32)
    return {"test_accuracy": hits, "test_loss": losses, "test_balanced_accuracy": balanced}


def _shares(labels: NDArray[np.int32], weights: NDArray[np.float64], classes: int) -> Vector32:
    """The weight of each example by which every class counts the same, (n,), of mean 1.

    nan if a class has no example: then the balanced accuracy is not defined.
    """
    counts = np.bincount(labels, weights, minlength=classes)
    if not counts.all():
        return np.full(len(labels), np.nan, np.float32)
    return (weights * len(labels) / (classes * counts[labels])).astype(np.float32)
