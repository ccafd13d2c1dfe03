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
from pipeline.training.measures import (
    MEASURED,
    SCORED,
    errors,
    input_norms,
    outputs,
    predict,
    selection,
)
from pipeline.training.runs import Run
from pipeline.training.scores import Told, further
from pipeline.training.targets import standard


class Evaluation(NamedTuple):
    """Of one model; the fields are those of `Result`."""

    measures: dict[str, float]
    probabilities: np.ndarray | None
    inspection: Mapping[str, np.ndarray] | None


def evaluate(run: Run, model: keras.Sequential, dataset: Dataset) -> Evaluation:
    """Evaluates a final run's exported model on the examples of the run."""
    by_part = {part: run.rows(dataset, part) for part in PARTS}
    parts = {part: (dataset.x[rows], dataset.y[rows]) for part, rows in by_part.items()}
    exported = MEASURED[run.task.kind](model, parts, run.task)
    measures = dict(exported.measures)
    if dataset.informative is not None:
        measures |= selection(input_norms(model), dataset.informative)
    measures["gap"] = run.task.gap(measures)
    inspection = inspect(model, parts, run.task.labels) if run.inspected else None
    return Evaluation(measures, exported.probabilities, inspection)


def score(
    run: Run, model: keras.Sequential, dataset: Dataset, weights: Sequence[np.ndarray]
) -> dict[str, float]:
    """A trial's scores on test examples, and on those held out, if there are any.

    For after the choice: what the trials would have scored. `model` is set to `weights`.
    """
    model.set_weights(weights)
    parts = {"test": dataset.split(run.protocol, "test", run.draw)}
    if dataset.held_out is not None:
        rows = dataset.held_out[run.draw]
        parts["held_out"] = dataset.x[rows], dataset.y[rows]
    return SCORED[run.task.kind](model, parts, run.task)


def validation_score(
    run: Run, model: keras.Sequential, dataset: Dataset, weights: Sequence[np.ndarray]
) -> dict[str, float]:
    """A trial's score on validation examples under its column, for scores without a curve.

    `model` is set to `weights`; that of a regression predicts standardized targets.
    """
    model.set_weights(weights)
    rows = run.rows(dataset, "val")
    x, y = dataset.x[rows], dataset.y[rows]
    if run.task.quantity:
        mean, scale = standard(run, dataset)
        predicted = mean + scale * outputs(model, x)[:, 0].astype(np.float64)
        return {run.task.val.name: errors("val", predicted, y, scale)[run.task.val.name]}
    told = predict(model, x, y)
    found = further([run.task.score], Told(y, told.classes, told.outputs))
    return {run.task.val.name: found[run.task.score.name]}
