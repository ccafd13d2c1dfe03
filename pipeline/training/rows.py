"""The result of a final run as a row of runs.csv and as learning curves."""

from typing import TYPE_CHECKING

import numpy as np

from pipeline import results
from pipeline.datasets import Dataset
from pipeline.training.runs import Result, Run

if TYPE_CHECKING:
    import pandas as pd


def final_row(run: Run, result: Result, data: Dataset) -> results.Row:
    """A row of runs.csv, without the MLflow run, which is not known yet.

    `data`: of the study, which tells whether its splits leak and how far replicates overlap. A
    failed run has no measures and no model, and the reason in the column `failed`.
    """
    path = results.model_path(run.study, run.technique, run.setting, run.search, run.seed)
    model = {"model": path.as_posix()} if run.keeps_model else {}
    return {
        "key": run.key,
        "study": run.study,
        "task": run.task.name,
        "architecture": run.model.architecture,
        "technique": run.technique,
        **run.made_of,
        "setting": run.setting,
        **run.at,
        "protocol": run.protocol,
        "leaks": data.leaks(run.protocol),
        "stops_early": run.stops_early,
        "search": run.search,
        "replicate": run.replicate,
        "seed": run.seed,
        "overlap": data.overlap(run.protocol),
        results.SAME_TEST: data.same_test(run.protocol),
        **results.param_columns(run.hyperparameters),
        **result.measures,
        **results.param_columns({"epochs": run.training.epochs}),
        **({"failed": result.failed} if result.failed else model),
    }


def curve_table(result: Result) -> "pd.DataFrame":
    """A final run's curves: one row per epoch, from 1, and one column per curve."""
    import pandas as pd

    assert result.curves is not None, "only final runs have curves"
    epochs = np.arange(1, 1 + len(result.curves["val_loss"]), dtype=np.int32)
    return pd.DataFrame({"epoch": epochs, **result.curves})
