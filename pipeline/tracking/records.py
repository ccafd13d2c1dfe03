"""Trials and final runs as MLflow shows them: a `Record` per row of trials.csv and runs.csv."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from pipeline.analysis.curves import thinned
from pipeline.datasets import PARTS
from pipeline.datasets.task import Task, named
from pipeline.results import PARAM, SAME_TEST, SIZE, STUDY, params_of

Phase = Literal["tune", "train"]
Status = Literal["FINISHED", "FAILED", "KILLED"]
Row = Mapping[str, Any]  # a row of trials.csv or runs.csv
STATES: Mapping[str, Status] = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}
IDENTITY = {
    *("key", "study", "task", "architecture", "technique", "made_of", "setting", "protocol"),
    *(
        "leaks",
        "stops_early",
        "reference",
        SIZE,
        "search",
        "replicate",
        "seed",
        "overlap",
        SAME_TEST,
        "trial",
        "state",
        "mlflow_run_id",
        "model",
        "failed",
        STUDY,
    ),
}


@dataclass(frozen=True)
class Record:
    """Everything that MLflow shows of one trial or one final run."""

    key: str  # identifies the trial or run; hexadecimal
    study: str
    task: Task  # what the model was trained for
    architecture: str
    technique: str
    phase: Phase
    setting: str  # trial, or a setting of final runs
    seed: int  # a trial's number, a final run's seed
    search: int  # of which its values are, or to which the trial belongs
    replicate: int  # a final run's draw or split; a trial's search
    params: Mapping[str, float]  # hyperparameters, under their names in params.yaml
    metrics: Mapping[str, float]  # finite
    status: Status = "FINISHED"
    size: int | None = None  # of what the study varies, if it does
    stops_early: bool = False  # whether its score is that of its best epoch
    study_digest: str = ""  # of its params and data; "": as in the context
    curve: pd.DataFrame | None = field(default=None, compare=False)  # epoch, val_accuracy, …
    model: Path | None = None  # a .keras file
    tags: Mapping[str, str] = field(default_factory=dict)  # beside those of the fields above

    @property
    def name(self) -> str:
        """The name in lists of runs, such as `l2 · search 0 · trial 7`.

        A final run's is such as `l2 · tuned · search 0 · seed 3`.
        """
        search = f"search {self.search} · " if "tuned" in self.setting else ""
        if self.phase == "tune":
            size = "" if self.size is None else f"size {self.size} · "
            return f"{self.technique} · {size}search {self.search} · trial {self.seed}"
        return f"{self.technique} · {self.setting} · {search}seed {self.seed}"

    @property
    def place(self) -> dict[str, object]:
        """Where it stands in its study, as parameters that charts and searches can use."""
        own = {"technique": self.technique, "search": self.search}
        if self.phase == "tune":
            return own | {"trial": self.seed}
        return own | {"setting": self.setting, "replicate": self.replicate, "seed": self.seed}


def parent_name(technique: str, phase: Phase, *of: object) -> str:
    """The name of a parent, such as `l2 · train`; `of`: its size and what was asked for, if any.

    No child has it, since their names end in a seed or a trial.
    """
    return " · ".join([technique, phase, *(str(each) for each in of if each)])


def trial_record(row: Row, architecture: str) -> Record:
    """The record of a row of trials.csv."""
    state = str(row["state"])
    return Record(
        **_common(row),
        architecture=architecture,
        phase="tune",
        setting="trial",
        seed=int(row["trial"]),
        search=int(row["search"]),
        replicate=int(row["search"]),
        metrics=_metrics(row),
        status=STATES[state],
        tags={"state": state} | _texts(row, "made_of"),
    )


def final_record(row: Row, curve: pd.DataFrame | None, model: Path | None) -> Record:
    """The record of a row of runs.csv.

    Args:
        curve: one row per epoch: epoch (1-based), val_accuracy and other metrics.
        model: its .keras file.
    """
    curve = None if curve is None else _as_stored(curve)
    return Record(
        **_common(row),
        architecture=str(row["architecture"]),
        phase="train",
        setting=row["setting"],
        seed=int(row["seed"]),
        search=int(row["search"]),
        replicate=int(row["replicate"]),
        metrics=_metrics(row) | _best(curve, named(row["task"])),
        curve=curve,
        model=model,
        status="FAILED" if _texts(row, "failed") else "FINISHED",
        stops_early=bool(row.get("stops_early", False)),
        tags=_texts(row, "protocol", "leaks", "made_of", "failed"),
    )


def _texts(row: Row, *names: str) -> dict[str, str]:
    """The values of these columns as text, if the row has them."""
    return {name: as_text(row[name]) for name in names if name in row and not _missing(row[name])}


def _common(row: Row) -> dict[str, Any]:
    params = {name: float(value) for name, value in params_of(row).items() if finite(value)}
    names = {name: str(row[name]) for name in ("key", "study", "technique")}
    digest = _texts(row, STUDY).get(STUDY, "")
    size = None if _missing(row.get(SIZE)) else int(row[SIZE])
    task = named(row["task"])
    return {**names, "task": task, "params": params, "study_digest": digest, "size": size}


def _metrics(row: Row) -> dict[str, float]:
    """The finite measures of a row that `_hidden` does not leave out.

    NaN or infinity would spoil the axis of a chart.
    """
    task = named(row["task"])
    hidden = _hidden(task)
    names = [
        name
        for name in row
        if name not in IDENTITY and not name.startswith(PARAM) and name not in hidden
    ]
    columns = [name for name in task.headlines if name in names]
    columns += [name for name in names if name not in columns]
    return {name: float(row[name]) for name in columns if finite(row[name])}


@cache
def _hidden(task: Task) -> frozenset[str]:
    """The measures that MLflow does not get: a table of runs with all fifty is read by nobody.

    It gets scores, flags, and what summary.csv has as a mean; runs.csv has the others.
    """
    scores = (task.of(part, score).name for score in task.scores for part in PARTS)
    kept = {*task.headlines, *scores, "collapsed"}
    every = task.measures.items()
    return frozenset(name for name, each in every if not (each.averaged or name in kept))


def finite(value: object) -> bool:
    return isinstance(value, (bool, int, float, np.number, np.bool)) and bool(np.isfinite(value))


def _missing(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, float) and np.isnan(value))


def as_text(value: object) -> str:
    """A value as text, which is the same for a live value and for one read from a CSV file.

    >>> as_text(3), as_text(3.0), as_text(0.5), as_text(True)
    ('3', '3', '0.5', 'true')
    """
    if isinstance(value, (bool, np.bool)):
        return str(bool(value)).lower()
    if isinstance(value, (int, float, np.number)):
        number = float(value)
        return str(int(number)) if number.is_integer() else repr(number)
    return str(value)


def _as_stored(curve: pd.DataFrame) -> pd.DataFrame:
    """A curve with the types of curves.parquet, so that live and published values are equal."""
    names = [name for name in curve.columns if name != "key"]
    types = dict.fromkeys(names, np.dtype(np.float32)) | {"epoch": np.dtype(np.int32)}
    present = all(curve.dtypes[name] == kind for name, kind in types.items())
    return curve if present else curve.astype(types)


def _best(curve: pd.DataFrame | None, task: Task) -> dict[str, float]:
    if curve is None or curve.empty:
        return {}
    best = curve.iloc[best_epoch(curve, task)]
    score = task.of("val", task.followed).name
    names = [name for name in dict.fromkeys(("epoch", score, "val_loss")) if name in best]
    return {f"best_{name}": float(best[name]) for name in names if finite(best[name])}


def best_epoch(curve: pd.DataFrame, task: Task) -> int:
    """The position of the first row with the best validation score that the curves follow."""
    followed = task.of("val", task.followed)
    scores = followed.sign * curve[followed.name]
    return int(scores.fillna(-np.inf).to_numpy().argmax())


def thin(curve: pd.DataFrame, points: int, task: Task) -> pd.DataFrame:
    """At most `points` rows of a curve, denser early on, with the first, best and last ones.

    Of score and unpenalised loss, in training and validation; curves.parquet has the others.
    Raises ValueError for fewer than three points.
    """
    if points < 3:
        raise ValueError(f"`points` must be at least 3, but got {points}")
    names = ["epoch", *task.curves, "train_loss"]
    best, curve = best_epoch(curve, task), curve[curve.columns.intersection(names)]
    if len(curve) <= points:
        return curve
    return curve.iloc[np.union1d(thinned(len(curve), points - 1) - 1, best)]
