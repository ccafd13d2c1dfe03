"""Values as MLflow's parameters and metrics."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pipeline.tracking.records import as_text

if TYPE_CHECKING:
    from mlflow.entities import Metric, Param


def params_of(params: Mapping[str, object]) -> "list[Param]":
    """Parameters, with values as `as_text` spells them."""
    from mlflow.entities import Param

    return [Param(name, as_text(value)) for name, value in params.items()]


def scalars(metrics: Mapping[str, float], time_ms: int, model_id: str | None) -> "list[Metric]":
    """Metrics at one time; with a model's id they are also shown on the model's page."""
    from mlflow.entities import Metric

    return [Metric(name, value, time_ms, 0, model_id=model_id) for name, value in metrics.items()]


def points_of(curve: pd.DataFrame, time_ms: int) -> "list[Metric]":
    """A curve's finite points, the last epoch first, which saves MLflow updates of the latest."""
    from mlflow.entities import Metric

    steps = curve["epoch"].tolist()[::-1]
    return [
        Metric(f"curve/{name}", value, time_ms, step)
        for name in curve.columns.difference(["key", "epoch"])
        for step, value in zip(steps, curve[name].tolist()[::-1], strict=True)
        if np.isfinite(value)
    ]
