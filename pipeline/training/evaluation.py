"""The evaluation of a final run's exported model.

It depends on the model and the data alone, so a changed measure needs no new training. Worker
processes run this module; the parent does not import it, nor TensorFlow.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import keras
import numpy as np

from pipeline.datasets import PARTS, Dataset
from pipeline.training.inspection import inspect
from pipeline.training.measures import MEASURED, SCORED, input_norms, selection
from pipeline.training.runs import Run


class Evaluation(NamedTuple):
    """Of one model; the fields are those of `Result`."""

    measures: dict[str, float]
    probabilities: np.ndarray | None
    inspection: Mapping[str, np.ndarray] | None


def evaluate(run: Run, model: keras.Sequential, dataset: Dataset) -> Evaluation:
    """Evaluates a final run's exported model on the examples of the run."""
    by_part = {part: run.rows(dataset, part) for part in PARTS}
    parts = {part: (dataset.x[rows], dataset.y[rows]) for part, rows in by_part.items()}
    exported = MEASURED[run.task.name](model, parts)
    measures = dict(exported.measures)
    if dataset.informative is not None:
        measures |= selection(input_norms(model), dataset.informative)
    measures["gap"] = run.task.gap(measures)
    inspection = inspect(model, parts, run.task.labels) if run.inspected else None
    return Evaluation(measures, exported.probabilities, inspection)


def score(
    run: Run, model: keras.Sequential, dataset: Dataset, weights: Sequence[np.ndarray]
) -> dict[str, float]:
    """A trial's score and loss on test examples, and on those held out, if there are any.

    For after the choice: what the trials would have scored. `model` is set to `weights`.
    """
    model.set_weights(weights)
    parts = {"test": dataset.split(run.protocol, "test", run.draw)}
    if dataset.held_out is not None:
        rows = dataset.held_out[run.draw]
        parts["held_out"] = dataset.x[rows], dataset.y[rows]
    return SCORED[run.task.name](model, parts)
