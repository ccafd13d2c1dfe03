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
from pipeline.analysis.ensembles import SMALLEST, of_classes
from pipeline.results import SAME_TEST

Vector32 = NDArray[np.float32]
Rows = Mapping[str, Mapping[str, Vector32]]  # outcome -> key of a run -> (n,)


def read(folder: Path, runs: pd.DataFrame) -> Rows:
    """Whether each run is right about each test example, and its loss there.

    Empty unless all replicates have the same test examples, or for a task without labels. Raises
    UserError if predictions are missing.
    """
    if not results.task_of(runs).labels or not runs[SAME_TEST].all():
        return {}
    labels: dict[str, np.ndarray] = {}
    found: dict[str, tuple[str, np.ndarray]] = {}
    for sample, key, array in results.read_predictions(folder, runs):
        if key is None:
            labels[sample] = array
        else:
            found[key] = sample, of_classes(array)
    hits: dict[str, Vector32] = {}
    losses: dict[str, Vector32] = {}
    for key, (sample, probabilities) in found.items():
        own = labels[sample]
        hits[key] = (probabilities.argmax(axis=1) == own).astype(np.float32)
        of_label = probabilities[np.arange(len(own)), own]
        losses[key] = -np.log(np.maximum(of_label, SMALLEST)).astype(np.float32)
    return {"test_accuracy": hits, "test_loss": losses}
