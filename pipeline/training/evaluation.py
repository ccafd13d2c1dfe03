"""What a final run tells of its model beside the training itself; it can be told again.

Everything here follows from the exported model and the data, so a changed measure needs no
training. Worker processes run this module; the parent does not import it, nor TensorFlow.
"""

from collections.abc import Mapping
from typing import NamedTuple

import keras
import numpy as np

from pipeline.datasets import PARTS, Dataset
from pipeline.training.inspection import inspect
from pipeline.training.measures import MEASURED, input_norms, selection
from pipeline.training.runs import INSPECTED, Run


class Evaluation(NamedTuple):
    """Of one model: see `Result`, whose fields these are."""

    measures: dict[str, float]
    probabilities: np.ndarray | None
    inspection: Mapping[str, np.ndarray] | None


def evaluate(run: Run, model: keras.Sequential, dataset: Dataset) -> Evaluation:
    """Measures a final run's exported model on the rows of the run."""
    parts = {part: dataset.split(run.protocol, part, run.draw) for part in PARTS}
    exported = MEASURED[run.task.name](model, parts)
    found = dict(exported.numbers)
    if dataset.informative is not None:
        found |= selection(input_norms(model), dataset.informative)
    found["gap"] = run.task.gap(found)
    inside = inspect(model, parts) if run.seed == INSPECTED else None
    return Evaluation(found, exported.probabilities, inside)
