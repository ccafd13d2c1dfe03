"""The evaluation of a final run's exported model.

It depends on the model and the data alone, so a changed measure needs no new training. Worker
processes run this module; the parent does not import it, nor TensorFlow.
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
    """Of one model; the fields are those of `Result`."""

    measures: dict[str, float]
    probabilities: np.ndarray | None
    inspection: Mapping[str, np.ndarray] | None


def evaluate(run: Run, model: keras.Sequential, dataset: Dataset) -> Evaluation:
    """Evaluates a final run's exported model on the examples of the run."""
    parts = {part: dataset.split(run.protocol, part, run.draw) for part in PARTS}
    exported = MEASURED[run.task.name](model, parts)
    measures = dict(exported.measures)
    if dataset.informative is not None:
        measures |= selection(input_norms(model), dataset.informative)
    measures["gap"] = run.task.gap(measures)
    inspection = inspect(model, parts) if run.seed == INSPECTED else None
    return Evaluation(measures, exported.probabilities, inspection)
