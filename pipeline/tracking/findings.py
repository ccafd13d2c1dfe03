"""What parent runs show of their children: means and descriptions."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from pipeline.datasets.task import Task
from pipeline.formatting import counted
from pipeline.techniques.registry import TECHNIQUES, explained
from pipeline.tracking.records import STATES, Record, finite


def summary(records: Iterable[Record]) -> dict[str, float]:
    """A parent's metrics: those of the best trial, or means over final runs.

    They are means of the tuned setting, or of the article setting if the technique is not tuned;
    `test_accuracy/article` is the mean score of another setting.
    """
    done = [record for record in records if record.status == "FINISHED"]
    if not done:
        return {}
    if done[0].phase == "tune":
        best = best_trial(done)
        # A slash, as in a combination's `l2/first.strength`, would make a section of charts.
        values = {f"best_{name.replace('/', '.')}": value for name, value in best.params.items()}
        return {**best.metrics, **values}
    return _means(_table(done), done[0].task)


def best_trial(records: Iterable[Record]) -> Record:
    """The finished trial with the best validation score and, among equal ones, the lowest loss."""
    return min(
        (record for record in records if record.status == "FINISHED"),
        key=lambda trial: (*trial.task.rank(trial.metrics), trial.seed),
    )


def _table(records: Iterable[Record]) -> pd.DataFrame:
    """A table of final runs: one row each, indexed by setting, one column per metric."""
    records = list(records)
    settings = pd.Index([record.setting for record in records], name="setting")
    return pd.DataFrame([dict(record.metrics) for record in records], index=settings)


def _means(table: pd.DataFrame, task: Task) -> dict[str, float]:
    names = [*dict.fromkeys((*task.headlines, "test_loss", "val_loss", "epochs_run"))]
    means = table[table.columns.intersection(names)].groupby(level="setting").mean()
    main = "tuned" if "tuned" in means.index else means.index[0]
    metrics = dict(means.loc[main])
    for setting in means.index.drop(main):
        metrics[f"{task.test.name}/{setting}"] = means.loc[setting].get(task.test.name)
    return {str(name): float(value) for name, value in metrics.items() if finite(value)}


def note(records: Iterable[Record], elsewhere: int = 0) -> str:
    """A parent's description: what it is, and its results.

    `elsewhere`: how many of its runs are listed under an earlier parent.
    """
    records = list(records)
    technique = records[0].technique
    made_of = records[0].tags.get("made_of")
    description = explained(made_of) if made_of else TECHNIQUES[technique].summary
    name = f"`{technique}` ({description}) on {records[0].study}"
    listed = f", {elsewhere} of them under an earlier version of the study" if elsewhere else ""
    if records[0].phase == "tune":
        return _tune_note(name, records, listed)
    return _train_note(name, records, listed)


def _tune_note(name: str, records: list[Record], listed: str) -> str:
    counts = {state: sum(record.tags["state"] == state for record in records) for state in STATES}
    states = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    count = f"{counted(len(records), 'trial')} ({states})"
    introduction = f"The search for the hyperparameters of {name}: {count}{listed}."
    if not counts["complete"]:
        return f"{introduction} No trial was completed, so no values were chosen."
    best = best_trial(records)
    values = ", ".join(f"{parameter} {value:.3g}" for parameter, value in best.params.items())
    measure = best.task.val
    score = best.metrics.get(measure.name, np.nan)
    return (
        f"{introduction} Trial {best.seed} is best, with {measure.title} {score:.4f} at {values}."
    )


def _train_note(name: str, records: list[Record], listed: str) -> str:
    measure = records[0].task.test
    table = _table(records).reindex(columns=[measure.name])[measure.name]
    by_setting = table.groupby(level="setting").agg(["size", "mean", "std"])
    counts = " and ".join(f"{row['size']:.0f} {setting}" for setting, row in by_setting.iterrows())
    means = " and ".join(
        f"{row['mean']:.4f} (standard deviation {row['std']:.4f}, {setting})"
        for setting, row in by_setting.iterrows()
    )
    introduction = f"The final runs of {name}, one per setting and seed: {counts}{listed}."
    return f"{introduction} Mean {measure.title}: {means}."
