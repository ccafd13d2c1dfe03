"""The evaluation of a final run's exported model.

It depends on the model and the data alone, so a changed measure needs no new training. Worker
processes run this module; the parent does not import it, nor TensorFlow.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from pipeline.datasets import PARTS, Dataset, Floats, Ints
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
    weights = _weights(dataset, by_part)
    exported = MEASURED[run.task.kind](model, parts, run.task, weights)
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
    by_part = {"test": dataset.rows(run.protocol, "test", run.draw)}
    if dataset.held_out is not None:
        by_part["held_out"] = dataset.held_out[run.draw]
    parts = {part: (dataset.x[rows], dataset.y[rows]) for part, rows in by_part.items()}
    return SCORED[run.task.kind](model, parts, run.task, _weights(dataset, by_part))


def _weights(dataset: Dataset, rows: Mapping[Any, Ints]) -> dict[Any, Floats]:
    """The weights of the examples of each part; empty if all count the same."""
    found = {part: dataset.weights_of(of_part) for part, of_part in rows.items()}
    return {part: weights for part, weights in found.items() if weights is not None}


def validation_score(
    run: Run, model: keras.Sequential, dataset: Dataset, weights: Sequence[np.ndarray]
) -> dict[str, float]:
    """A trial's score on validation examples under its column, for scores without a curve.

    `model` is set to `weights`; that of a regression predicts standardized targets.
    """
    model.set_weights(weights)
    rows = run.rows(dataset, "val")
    x, y, counted = dataset.x[rows], dataset.y[rows], dataset.weights_of(rows)
    if run.task.quantity:
        mean, scale = standard(run, dataset)
        predicted = mean + scale * outputs(model, x)[:, 0].astype(np.float64)
        return {run.task.val.name: errors("val", predicted, y, scale, counted)[run.task.val.name]}
    told = predict(model, x, y)
    found = further([run.task.score], Told(y, told.classes, told.outputs, counted))
    return {run.task.val.name: found[run.task.score.name]}
