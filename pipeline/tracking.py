"""MLflow as a view of the result files: a run per trial and per final run, and none of them twice.

The only importer of mlflow. A live stage and `publish` take the same path: rows of trials.csv and
runs.csv become `Record`s, and a `Tracker` writes those whose key the experiment does not hold yet.
Training never waits for the tracking server and never stops with it.

    experiment        regularization/<dataset>
      parent run      a technique's search, or its final runs      tags: phase, technique, study
        child run     a trial, or a final run                      tag: unit_key
    registered model  regularization-<dataset>                     alias: champion

A child's metrics have the names of the columns; `curve/…` are its learning curves by epoch and
`best_…` the values at the best epoch. A parent's metrics are the best trial's values, or means over
its children, of each setting too: MLflow's charts have a section for each name before a slash, so
`test_accuracy/article` and `test_accuracy/tuned` are side by side, and above all other charts. Its
artifacts are figures, the report's under `report`, and curves.parquet, in which the thinned curves
of the children are complete.

Other params or other data make another study, with parents of its own. A run that two studies have
in common stays with the parent that had it first, and counts in the figures of both.
"""

import importlib.metadata
import json
import logging
import os
import platform
import queue
import re
import sqlite3
import subprocess
import tempfile
import textwrap
import threading
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import numpy as np
import pandas as pd

from pipeline import charts
from pipeline.objectives import Measure, Objective, of_columns
from pipeline.params import MODELS, Params, Study
from pipeline.techniques import TECHNIQUES, Range

# mlflow takes seconds to import. That happens where it is used, on the writer's thread, while
# training starts; so `--help` does not wait for it either.
if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, LoggedModel, Metric, Param, Run
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models import ModelSignature
    from mlflow.types.schema import Schema

# MLflow's own limits would hold up a stage for minutes when its server has gone away.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
for _name, _value in _ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)
# A request that is tried again has not failed yet.
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)

Phase = Literal["tune", "train"]
Setting = Literal["trial", "article", "tuned"]
Status = Literal["FINISHED", "FAILED", "KILLED"]
Row = Mapping[str, Any]  # a row of trials.csv or runs.csv

DEFAULT_URI = "sqlite:///mlflow.db"
STATES: Mapping[str, Status] = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}
STUDY = "study_digest"  # a column and a tag: the params and the data that decide a technique's runs
PARAMS = {"learning_rate", "epochs"} | {name for t in TECHNIQUES.values() for name in t.search}
IDENTITY = {"key", "dataset", "architecture", "technique", "setting", "protocol", "leaks"} | {
    "made_of",
    *("seed", "trial", "state", "mlflow_run_id", "model", STUDY),
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Record:
    """Everything that MLflow shows of one trial or one final run."""

    key: str  # names the unit of work; hexadecimal
    dataset: str
    architecture: str
    technique: str
    phase: Phase
    setting: Setting
    seed: int  # a trial's number, a final run's seed
    params: Mapping[str, float]  # hyperparameters, under their names in params.yaml
    metrics: Mapping[str, float]  # finite
    status: Status = "FINISHED"
    study: str = ""  # digest of the params and data behind it; "": those of the context
    curve: pd.DataFrame | None = field(default=None, compare=False)  # epoch, val_accuracy, …
    model: Path | None = None  # a .keras file
    tags: Mapping[str, str] = field(default_factory=dict)  # beside those of the fields above

    @property
    def objective(self) -> Objective:
        """What the model was trained for."""
        return MODELS[self.architecture].objective

    @property
    def name(self) -> str:
        """What the list of runs shows, such as `l2 · tuned · seed 3` or `l2 · trial 7`."""
        place = (
            f"trial {self.seed}" if self.phase == "tune" else f"{self.setting} · seed {self.seed}"
        )
        return f"{self.technique} · {place}"


def trial_record(row: Row, architecture: str) -> Record:
    """The record of a row of trials.csv."""
    state = str(row["state"])
    return Record(
        **_common(row),
        architecture=architecture,
        phase="tune",
        setting="trial",
        seed=int(row["trial"]),
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
        metrics=_metrics(row) | _best(curve),
        curve=curve,
        model=model,
        tags=_texts(row, "protocol", "leaks", "made_of"),
    )


def _texts(row: Row, *names: str) -> dict[str, str]:
    """These columns where the row has them."""
    return {name: _text(row[name]) for name in names if name in row and not _missing(row[name])}


def _common(row: Row) -> dict[str, Any]:
    params = {name: float(row[name]) for name in row if _is_param(name) and _finite(row[name])}
    names = ("key", "dataset", "technique")
    study = _texts(row, STUDY).get(STUDY, "")
    return {**{name: str(row[name]) for name in names}, "params": params, "study": study}


def _metrics(row: Row) -> dict[str, float]:
    """The finite numbers that a row measures: a NaN or an infinity would spoil a chart's axis."""
    names = [name for name in row if name not in IDENTITY and not _is_param(name)]
    columns = [name for name in of_columns(names).headlines if name in names]
    columns += [name for name in names if name not in columns]
    return {name: float(row[name]) for name in columns if _finite(row[name])}


def _is_param(name: str) -> bool:
    """Whether a column is a hyperparameter's, of a part of a combination too: `l2.strength`."""
    return name.rpartition(".")[2] in PARAMS


def _finite(value: object) -> bool:
    return isinstance(value, (bool, int, float, np.number, np.bool)) and bool(np.isfinite(value))


def _missing(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, float) and np.isnan(value))


def _text(value: object) -> str:
    """One spelling for a value, whether it is live or has been through a CSV file."""
    if isinstance(value, (bool, np.bool)):
        return str(bool(value)).lower()
    if isinstance(value, (int, float, np.number)):
        number = float(value)
        return str(int(number)) if number.is_integer() else repr(number)
    return str(value)


def _as_stored(curve: pd.DataFrame) -> pd.DataFrame:
    """A curve in the types of curves.parquet, so that live values equal published ones."""
    metrics = curve.columns.difference(["key", "epoch"])
    return curve.astype(dict.fromkeys(metrics, np.float32) | {"epoch": np.int32})


def _best(curve: pd.DataFrame | None) -> dict[str, float]:
    if curve is None or curve.empty:
        return {}
    best = curve.iloc[best_epoch(curve)]
    names = [name for name in ("epoch", "val_accuracy", "val_loss") if name in best]
    return {f"best_{name}": float(best[name]) for name in names if _finite(best[name])}


def best_epoch(curve: pd.DataFrame) -> int:
    """The position of the first row with the best validation score."""
    val = of_columns(curve.columns).val
    return int((val.sign * curve[val.name]).fillna(-np.inf).to_numpy().argmax())


def thin(curve: pd.DataFrame, points: int) -> pd.DataFrame:
    """At most `points` rows of a curve, evenly spread: the first, the best and the last are kept.

    Raises ValueError for fewer than three points.
    """
    if points < 3:
        raise ValueError(f"`points` must be at least 3, but got {points}")
    if len(curve) <= points:
        return curve
    even = np.linspace(0, len(curve) - 1, points - 1).round().astype(int)
    return curve.iloc[np.union1d(even, best_epoch(curve))]


@dataclass(frozen=True)
class Context:
    """What all runs of one data set share."""

    dataset: str
    data_digest: str
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, object] = field(default_factory=dict)  # of the parents
    ranges: Mapping[str, Mapping[str, Range]] = field(default_factory=dict)  # by technique
    points: int = 100  # of a learning curve; >= 3
    example: np.ndarray | None = field(default=None, compare=False)  # (1, *input_shape) float32

    @classmethod
    def of_study(
        cls, dataset: str, settings: Params, data_digest: str, example: np.ndarray | None = None
    ) -> Self:
        """The context that params.yaml gives a data set; logged models show the example."""
        study = settings.study(dataset)
        tags = {"params_digest": sha256(repr(study).encode()).hexdigest()[:16]}
        engine = settings.engine
        params = {
            "seed": settings.seed,
            "engine.program": engine.program,
            "engine.population": engine.population,
            "engine.deterministic": engine.deterministic,
            **study_params(study),
        }
        return cls(
            dataset,
            data_digest,
            tags | git_tags(),
            params,
            {name: study.search(name) for name in study.techniques},
            settings.tracking.curve_points,
            example,
        )

    def study_digest(self, technique: str, phase: Phase) -> str:
        """Names what decides a technique's runs: its params, then, after a hyphen, its data.

        More seeds of the final runs continue a study; they make no other.
        """
        idle = ("final.", f"techniques.{technique}.article") if phase == "tune" else ("final.",)
        params = {
            name: _text(value)
            for name, value in self.parent_params(technique).items()
            if not name.startswith(idle)
        }
        ranges = {name: asdict(found) for name, found in self.ranges.get(technique, {}).items()}
        return f"{_digest([technique, params, ranges])}-{_digest(self.data_digest)}"

    def describes(self, record: Record) -> bool:
        """Whether the params are those behind the record; result files can be older than they."""
        params, _, _ = self.study_digest(record.technique, record.phase).partition("-")
        return not record.study or record.study.startswith(params)

    def parent_params(self, technique: str) -> dict[str, object]:
        """The study's params without those of other techniques."""
        own = f"techniques.{technique}."
        return {
            name: value
            for name, value in self.params.items()
            if not name.startswith("techniques.") or name.startswith(own)
        }


def _digest(content: object) -> str:
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


def study_params(study: Study) -> dict[str, object]:
    """A study as flat names and values, such as `training.batch_size`."""
    return dict(_flat(asdict(study), ""))


def _flat(section: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, object]]:
    for name, value in section.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif value is not None:
            yield f"{prefix}{name}", value


def git_tags() -> dict[str, str]:
    """The commit that is checked out, as our tag and as MLflow's; nothing outside of git."""
    command = ["git", "rev-parse", "--verify", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return {}
    commit = done.stdout.strip()
    return {"git_commit": commit, "mlflow.source.git.commit": commit}


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or the SQLite file in the current folder; a file's path is absolute."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI
    file, (_, *options) = _sqlite_file(uri), uri.split("?")
    return uri if file is None else "?".join((f"sqlite:///{file.absolute()}", *options))


def _sqlite_file(uri: str) -> Path | None:
    """The database that a SQLite URI names."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(uri.removeprefix("sqlite:///").split("?")[0])


def experiment_name(dataset: str) -> str:
    """The MLflow experiment that holds a data set's runs."""
    return f"regularization/{dataset}"


def model_name(dataset: str) -> str:
    """The registered model whose version `@champion` is a data set's best model."""
    return f"regularization-{dataset}"


Job = Callable[["_Experiment"], object]


class Tracker:
    """Writes records to MLflow from one background thread, which alone talks to the store.

    Log all records of a data set, old ones too: what the experiment already holds is not written
    again but counts in the parents' means. When the store fails, one warning is logged, `failure`
    holds the reason and the rest is dropped: the caller goes on.

    After the `with` block, `run_ids` maps keys to MLflow runs, and `added` and `present` count
    the records that were written and those that had been there.

    `system_metrics`: whether parents show the machine's load from their first new record on.
    """

    def __init__(self, context: Context, system_metrics: bool = False) -> None:
        self.run_ids: Mapping[str, str] = {}
        self.added = 0
        self.present = 0
        self.failure: Exception | None = None
        self._context = context
        self._system_metrics = system_metrics
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="mlflow-writer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def log(self, record: Record) -> None:
        """Hands a record to the writer. Returns at once."""
        self._put(lambda experiment: self._add(experiment, record))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self._put(_Experiment.finish_all)
        self._jobs.put(None)
        self._thread.join()

    def _put(self, job: Job) -> None:
        if self.failure is None:
            self._jobs.put(job)

    def _add(self, experiment: "_Experiment", record: Record) -> None:
        if experiment.add(record):
            self.added += 1
        else:
            self.present += 1

    def _write(self) -> None:
        try:
            with _Experiment(tracking_uri(), self._context, self._system_metrics) as experiment:
                self.run_ids = experiment.run_ids
                for job in iter(self._jobs.get, None):
                    job(experiment)
        except Exception as error:
            self.failure = error
            _log.warning(
                "%s: MLflow %s; results are not affected, and `python -m pipeline publish %s` "
                "completes its record later",
                self._context.dataset,
                _describe(error),
                self._context.dataset,
            )


def _away(error: BaseException | None) -> bool:
    """Whether a server gave no answer, as opposed to one that refuses something."""
    from requests import HTTPError, RequestException

    while error is not None:
        if isinstance(error, RequestException):
            return not isinstance(error, HTTPError)
        error = error.__cause__ or error.__context__
    return False


def _describe(error: Exception) -> str:
    """What happened to MLflow in one line, without the password that a URI may hold."""
    if _away(error):
        happened = f"is away ({tracking_uri()} does not answer)"
    else:
        happened = f"failed ({str(error) or type(error).__name__})"
    return textwrap.shorten(re.sub(r"//[^/@\s]*@", "//", happened), 200)


_Place = tuple[str, Phase, str]  # technique, phase, study: what tells parents apart


@dataclass
class _Parent:
    run_id: str
    status: str
    changed: bool = False
    monitor: Any = None  # MLflow's SystemMetricsMonitor, which has no types
    records: list[Record] = field(default_factory=list)


class _Experiment:
    """The MLflow experiment of a data set and the runs in it. Used by one thread.

    Leaving the `with` block ends the parents that are still running.
    """

    def __init__(self, uri: str, context: Context, system_metrics: bool) -> None:
        from mlflow import MlflowClient

        _prepare_sqlite(uri)
        self._uri = uri
        self._system_metrics = system_metrics
        self.run_ids: dict[str, str] = {}
        self._began = _now()
        self._context = context
        self._parents: dict[_Place, _Parent] = {}
        self._parent_ids: dict[str, str] = {}  # by the keys of the children
        self._client = MlflowClient(uri)
        self._id = self._get_or_create(experiment_name(context.dataset), uri)
        self._look_up()
        self._packages = _Packages(context.example)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._packages.close()
        if _away(error):  # the next tracker ends what it finds running
            return
        with suppress(Exception):
            for parent in self._parents.values():
                if parent.status == "RUNNING":
                    self._end(parent, "FAILED")

    def _get_or_create(self, name: str, uri: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            location = _artifacts(uri, self._context.dataset)
            tags = {"mlflow.experimentKind": "custom_model_development"}  # not the view of agents
            return str(self._client.create_experiment(name, location, tags))
        if found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def _look_up(self) -> None:
        for run in list(self._runs()):  # discarding a run moves the pages
            tags = run.data.tags
            if "unit_key" not in tags:
                self._look_up_parent(run)
            elif run.info.status == "RUNNING":  # a killed writer left it half written
                self._discard(run.info.run_id)
            else:
                self.run_ids[tags["unit_key"]] = run.info.run_id
                self._parent_ids[tags["unit_key"]] = tags.get("mlflow.parentRunId", "")

    def _look_up_parent(self, run: "Run") -> None:
        tags = run.data.tags
        technique, phase, study = (tags.get(name) for name in ("technique", "phase", STUDY))
        if technique and phase and study:
            place = technique, cast(Phase, phase), study
            self._parents[place] = _Parent(run.info.run_id, run.info.status)

    def _runs(self) -> "Iterator[Run]":
        token: str | None = ""
        while token is not None:
            page = self._client.search_runs([self._id], max_results=1000, page_token=token or None)
            yield from page
            token = page.token or None

    def add(self, record: Record) -> bool:
        """Writes a record, unless the experiment has its key. Tells whether it was written."""
        parent = self._parent(record)
        parent.records.append(record)
        if record.key in self.run_ids:
            return False
        parent.changed = True
        if self._system_metrics and parent.monitor is None:
            self._watch(parent)
        self.run_ids[record.key] = self._create(record, parent.run_id)
        self._parent_ids[record.key] = parent.run_id
        return True

    def _study(self, record: Record) -> str:
        return record.study or self._context.study_digest(record.technique, record.phase)

    def _parent(self, record: Record) -> _Parent:
        place = record.technique, record.phase, self._study(record)
        if place not in self._parents:
            self._parents[place] = self._create_parent(record)
        return self._parents[place]

    def _watch(self, parent: _Parent) -> None:
        """Has MLflow write the machine's load to a parent until it ends."""
        from mlflow.system_metrics import system_metrics_monitor as mlflows

        # It stops by itself when the store fails, of which the tracker tells.
        logging.getLogger("mlflow.system_metrics").setLevel(logging.CRITICAL)
        self._client.update_run(parent.run_id, "RUNNING")  # it watches no other runs
        parent.status = "RUNNING"
        monitor: Any = mlflows.SystemMetricsMonitor
        parent.monitor = monitor(parent.run_id, resume_logging=True, tracking_uri=self._uri)
        parent.monitor.start()

    def _create_parent(self, record: Record) -> _Parent:
        name = f"{record.technique} · {record.phase}"
        run = self._client.create_run(self._id, tags=self._tags(record), run_name=name)
        if self._context.describes(record):
            params = self._context.parent_params(record.technique)
            self._client.log_batch(run.info.run_id, params=_params(params))
        self._client.log_inputs(run.info.run_id, [self._data()])
        return _Parent(run.info.run_id, "RUNNING")

    def _tags(self, record: Record) -> dict[str, str]:
        return {
            **self._context.tags,
            "mlflow.source.name": f"python -m pipeline {record.phase}",
            "mlflow.source.type": "LOCAL",
            "data_digest": self._context.data_digest,
            **{name: getattr(record, name) for name in ("dataset", "architecture", "technique")},
            "phase": record.phase,
            STUDY: self._study(record),
        }

    def _data(self) -> "DatasetInput":
        from mlflow.entities import Dataset, DatasetInput, InputTag

        name = self._context.dataset
        source = json.dumps({"uri": f"data/prepared/{name}.npz"})
        data = Dataset(name, self._context.data_digest, source_type="local", source=source)
        return DatasetInput(data, [InputTag("mlflow.data.context", "training")])

    def _create(self, record: Record, parent_id: str) -> str:
        # The list of runs starts with the newest: parents before children, seeds in their order.
        start = self._began - record.seed
        end = start + int(1000 * record.metrics.get("seconds", 0))
        tags = {
            **self._tags(record),
            **record.tags,
            "setting": record.setting,
            "trial" if record.phase == "tune" else "seed": str(record.seed),
            "unit_key": record.key,
            "mlflow.parentRunId": parent_id,
        }
        run = self._client.create_run(self._id, start, tags, record.name)
        run_id = str(run.info.run_id)
        try:
            self._fill(run_id, record, end)
        except Exception as error:
            if not _away(error):  # asking in vain once more would only take time
                with suppress(Exception):
                    self._discard(run_id)
            raise
        return run_id

    def _fill(self, run_id: str, record: Record, end: int) -> None:
        model_id = self._log_model(run_id, record) if record.model else None
        scalars = _scalars(record.metrics, end, model_id)
        curve = (
            [] if record.curve is None else _curve(thin(record.curve, self._context.points), end)
        )
        self._client.log_batch(run_id, [*scalars, *curve], _params(record.params))
        if record.phase == "train":
            self._client.log_inputs(run_id, [self._data()])
        self._client.set_terminated(run_id, record.status, end)

    def _log_model(self, run_id: str, record: Record) -> str:
        from mlflow.entities import LoggedModelOutput

        assert record.model is not None
        params = {name: _text(value) for name, value in record.params.items()}
        name = f"{record.technique}-{record.setting}-{record.seed}"
        logged = self._client.create_logged_model(self._id, name, run_id, params=params)
        folder = self._packages.pack(record.model, logged, run_id)
        self._client.log_model_artifacts(logged.model_id, str(folder))
        self._client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
        self._client.finalize_logged_model(logged.model_id, "READY")
        return str(logged.model_id)

    def _discard(self, run_id: str) -> None:
        models = self._client.search_logged_models([self._id], f"source_run_id = '{run_id}'")
        for model in models:
            self._client.delete_logged_model(model.model_id)
        self._client.delete_run(run_id)

    def finish_all(self) -> None:
        """Ends every parent that has records, and names the champion of the final runs."""
        for parent in self._parents.values():
            self._finish(parent)
        self._register([record for each in self._parents.values() for record in each.records])

    def _register(self, records: list[Record]) -> None:
        """Gives the champion's version the alias; the version is made if it is not there."""
        best = champion(records)
        if best is None:
            return
        run_id, name = self.run_ids[best.key], model_name(self._context.dataset)
        version = self._version(name, run_id, best.objective.val)
        if version is None:
            return
        description = champion_note(best, records)
        if version.description != description:
            self._client.update_model_version(name, version.version, description)
        if CHAMPION not in version.aliases:
            self._client.set_registered_model_alias(name, CHAMPION, version.version)

    def _version(self, name: str, run_id: str, measure: Measure) -> "ModelVersion | None":
        """The version of a run's model, new where there is none; None for a run without model."""
        versions = self._client.search_model_versions(f"name = '{name}'")
        for version in versions:
            if version.run_id == run_id:
                # A search does not tell aliases.
                return self._client.get_model_version(name, version.version)
        models = self._client.search_logged_models([self._id], f"source_run_id = '{run_id}'")
        if not models:
            return None
        (model,) = models
        if not self._client.search_registered_models(f"name = '{name}'", max_results=1):
            about = (
                f"The model of the technique with the {measure.best} mean {measure.title} on "
                f"{self._context.dataset}: `models:/{name}@{CHAMPION}`."
            )
            self._client.create_registered_model(name, description=about)
        # Its place, and not `models:/<id>`, which MLflow would look up in another store than ours.
        version = self._client.create_model_version(
            name, model.artifact_location, run_id, model_id=model.model_id, await_creation_for=0
        )
        link = [{"name": name, "version": int(version.version)}]
        tags = {"mlflow.modelVersions": json.dumps(link)}
        self._client.set_logged_model_tags(model.model_id, tags)
        return version

    def _finish(self, parent: _Parent) -> None:
        """Describes a parent by its records and ends it, if anything in it is new."""
        from mlflow.entities import RunTag

        if parent.records and (parent.changed or parent.status != "FINISHED"):
            elsewhere = sum(
                self._parent_ids[record.key] != parent.run_id for record in parent.records
            )
            description = note(parent.records, elsewhere)
            tags = self._tags(parent.records[0]) | {"mlflow.note.content": description}
            metrics = _scalars(summary(parent.records), _now(), None)
            run_tags = [RunTag(name, value) for name, value in tags.items()]
            self._client.log_batch(parent.run_id, metrics, tags=run_tags)
            with tempfile.TemporaryDirectory() as folder:
                self._draw(parent.records, Path(folder))
                self._client.log_artifacts(parent.run_id, folder)
            self._end(parent, "FINISHED")

    def _draw(self, records: list[Record], folder: Path) -> None:
        """A parent's artifacts: figures of its search, or its curves as figure and as table."""
        objective = records[0].objective
        trials = [
            charts.Trial(record.params, score, record.status == "KILLED")
            for record in records
            if record.phase == "tune" and record.status != "FAILED"
            if np.isfinite(score := record.metrics.get(objective.val.name, objective.worst))
        ]
        ranges = self._context.ranges.get(records[0].technique, {})
        charts.draw_search(trials, ranges, folder, objective)
        labelled = [
            record.curve.assign(key=record.key, setting=record.setting, seed=record.seed)
            for record in records
            if record.curve is not None
        ]
        if labelled:
            curves = pd.concat(labelled, ignore_index=True)
            curves = curves.astype({"key": "category", "setting": "category"})
            curves.to_parquet(folder / "curves.parquet", index=False)
            charts.draw_curves(curves, folder / charts.CURVES)

    def _end(self, parent: _Parent, status: Status) -> None:
        if parent.monitor is not None:
            parent.monitor.finish()
        self._client.set_terminated(parent.run_id, status)
        parent.status = status
        parent.changed = False


def _prepare_sqlite(uri: str) -> None:
    """Turns on write-ahead logging: commits cost a third, and the UI reads while we write."""
    path = _sqlite_file(uri)
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # It is for speed alone, so a database that somebody holds locked is left as it is.
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")


def _artifacts(uri: str, dataset: str) -> str | None:
    """Where an experiment's artifacts go: beside a SQLite file; a server knows its own place."""
    file = _sqlite_file(uri)
    return None if file is None else (file.parent / "mlartifacts" / dataset).resolve().as_uri()


def _now() -> int:
    return time.time_ns() // 1_000_000


def _params(params: Mapping[str, object]) -> "list[Param]":
    from mlflow.entities import Param

    return [Param(name, _text(value)) for name, value in params.items()]


def _scalars(metrics: Mapping[str, float], time_ms: int, model_id: str | None) -> "list[Metric]":
    from mlflow.entities import Metric

    return [Metric(name, value, time_ms, 0, model_id=model_id) for name, value in metrics.items()]


def _curve(curve: pd.DataFrame, time_ms: int) -> "list[Metric]":
    """A curve's finite points, last epoch first: MLflow then need not replace the latest value."""
    from mlflow.entities import Metric

    steps = curve["epoch"].tolist()[::-1]
    return [
        Metric(f"curve/{name}", value, time_ms, step)
        for name in curve.columns.difference(["key", "epoch"])
        for step, value in zip(steps, curve[name].tolist()[::-1], strict=True)
        if np.isfinite(value)
    ]


def summary(records: Iterable[Record]) -> dict[str, float]:
    """A parent's metrics: the best trial's, or means over the final runs of each setting.

    The plain names hold the means of the tuned setting, or of the article's where none is tuned.
    """
    done = [record for record in records if record.status == "FINISHED"]
    if not done:
        return {}
    if done[0].phase == "tune":
        best = best_trial(done)
        # A combination's `l2/first.strength` would be a section of its own.
        values = {f"best_{name.replace('/', '.')}": value for name, value in best.params.items()}
        return {**best.metrics, **values}
    return _means(_table(done))


def best_trial(records: Iterable[Record]) -> Record:
    """The finished trial of the best validation score, then of the lowest loss."""
    return min(
        (record for record in records if record.status == "FINISHED"),
        key=lambda trial: (*trial.objective.rank(trial.metrics), trial.seed),
    )


def _table(records: Iterable[Record]) -> pd.DataFrame:
    """Final runs: a row each, indexed by setting, a column per metric."""
    records = list(records)
    settings = pd.Index([record.setting for record in records], name="setting")
    return pd.DataFrame([dict(record.metrics) for record in records], index=settings)


def _means(table: pd.DataFrame) -> dict[str, float]:
    means = table.groupby(level="setting").mean()
    deviations = table.groupby(level="setting").std()
    found = dict(means.iloc[-1])  # `tuned` sorts after `article`
    for setting in means.index:
        for name in means.columns.intersection(list(of_columns(means.columns).headlines)):
            found[f"{name}/{setting}"] = means.loc[setting, name]
            found[f"{name}_sd.{setting}"] = deviations.loc[setting, name]
    return {str(name): float(value) for name, value in found.items() if _finite(value)}


CHAMPION = "champion"


def champion(records: Iterable[Record]) -> Record | None:
    """The run whose model is the data set's best by validation data alone; None without models.

    The technique is that of the best mean validation score over the final runs of the tuned
    setting, then of the lowest mean loss; the run is its best by the same two.
    """
    finals = _finals(records)
    if not finals:
        return None
    runs = finals[min(finals, key=lambda name: (*_mean_validation(finals[name]), name))]
    kept = [run for run in runs if run.model is not None]
    return min(kept, key=lambda run: (*_validation(run), run.seed), default=None)


def champion_note(best: Record, records: Iterable[Record]) -> str:
    """One sentence that says why this run's model is the champion."""
    finals = _finals(records)
    measure = best.objective.val
    mean = -measure.sign * _mean_validation(finals[best.technique])[0]
    return (
        f"`{best.technique}`, tuned, has the {measure.best} mean {measure.title} on {best.dataset} "
        f"({mean:.4f} over {len(finals[best.technique])} seeds; techniques compared: "
        f"{len(finals)}), and seed {best.seed} is its best "
        f"({-measure.sign * _validation(best)[0]:.4f})."
    )


def _finals(records: Iterable[Record]) -> dict[str, list[Record]]:
    """The final runs of the tuned setting by technique."""
    found: dict[str, list[Record]] = {}
    for record in records:
        if record.setting == "tuned" and record.status == "FINISHED":
            found.setdefault(record.technique, []).append(record)
    return found


def _validation(record: Record) -> tuple[float, float]:
    """`Objective.rank` of a run; one that diverged has the worst there is."""
    return record.objective.rank({} if record.metrics.get("diverged") else record.metrics)


def _mean_validation(records: Iterable[Record]) -> tuple[float, float]:
    """The mean of `_validation` and that of the loss: the smaller, the better."""
    pairs = [_validation(record) for record in records]
    score, loss = (float(np.mean(column)) for column in zip(*pairs, strict=True))
    return score, loss


def note(records: Iterable[Record], elsewhere: int = 0) -> str:
    """A parent's description: what it is, and what was found.

    `elsewhere`: how many of its runs are listed under a parent that had them before.
    """
    records = list(records)
    technique = records[0].technique
    about = records[0].tags.get("made_of") or TECHNIQUES[technique].summary
    name = f"`{technique}` ({about}) on {records[0].dataset}"
    listed = f", {elsewhere} of them listed under an earlier study" if elsewhere else ""
    if records[0].phase == "tune":
        return _tune_note(name, records, listed)
    return _train_note(name, records, listed)


def _tune_note(name: str, records: list[Record], listed: str) -> str:
    counts = {state: sum(r.tags["state"] == state for r in records) for state in STATES}
    states = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    count = f"{len(records)} trials ({states})"
    what = f"The search for the hyperparameters of {name}: {count}{listed}."
    if not counts["complete"]:
        return f"{what} None was completed, so nothing was found."
    best = best_trial(records)
    values = ", ".join(f"{key} {value:.3g}" for key, value in best.params.items())
    measure = best.objective.val
    score = best.metrics.get(measure.name, np.nan)
    return f"{what} Trial {best.seed} is best, with {measure.title} {score:.4f} at {values}."


def _train_note(name: str, records: list[Record], listed: str) -> str:
    measure = records[0].objective.test
    table = _table(records).reindex(columns=[measure.name])[measure.name]
    found = table.groupby(level="setting").agg(["size", "mean", "std"])
    counts = " and ".join(f"{row['size']:.0f} {setting}" for setting, row in found.iterrows())
    means = " and ".join(
        f"{row['mean']:.4f} (standard deviation {row['std']:.4f}, {setting})"
        for setting, row in found.iterrows()
    )
    what = f"The final runs of {name}, one per setting and seed: {counts}{listed}."
    return f"{what} Mean {measure.title}: {means}."


class _Packages:
    """Makes an MLflow model of a .keras file, without loading it, in one folder used over again."""

    def __init__(self, example: np.ndarray | None) -> None:
        self._temporary = tempfile.TemporaryDirectory()
        self._folder = Path(self._temporary.name)
        names = ("mlflow", "keras", "tensorflow", "numpy")
        pins = [f"{name}=={importlib.metadata.version(name)}" for name in names]
        self._write("requirements.txt", "\n".join(pins))
        python = f"python: {platform.python_version()}\ndependencies:\n- -r requirements.txt\n"
        self._write("python_env.yaml", python)
        (self._folder / "data").mkdir()
        self._example = None if example is None else self._write_example(example)

    def close(self) -> None:
        """Removes the folder."""
        self._temporary.cleanup()

    def pack(self, keras_file: Path, logged: "LoggedModel", run_id: str) -> Path:
        """The folder with the files of one model, as they are to be logged."""
        from mlflow import pyfunc
        from mlflow.models import Model

        link = self._folder / "data" / "model.keras"
        link.unlink(missing_ok=True)
        link.symlink_to(keras_file.resolve(strict=True))
        model = Model(
            artifact_path=logged.artifact_location,
            run_id=run_id,
            model_uuid=logged.model_id,
            model_id=logged.model_id,
            model_size_bytes=keras_file.stat().st_size,
            signature=signature(keras_file),
            saved_input_example_info=self._example,
        )
        version = importlib.metadata.version("keras")
        model.add_flavor("keras", data="data", keras_version=version, save_exported_model=False)
        pyfunc.add_to_model(model, loader_module="mlflow.keras", python_env="python_env.yaml")
        model.save(self._folder / "MLmodel")
        return self._folder

    def _write_example(self, example: np.ndarray) -> dict[str, str]:
        """Two files, for people and for a server's requests, and what an MLmodel says of them."""
        rows = np.round(example.astype(float), 6).tolist()
        self._write("input_example.json", json.dumps(rows))
        self._write("serving_input_example.json", json.dumps({"inputs": rows}))
        return {
            "artifact_path": "input_example.json",
            "serving_input_path": "serving_input_example.json",
            "type": "ndarray",
        }

    def _write(self, name: str, text: str) -> None:
        (self._folder / name).write_text(text, encoding="utf-8")


def signature(keras_file: Path) -> "ModelSignature":
    """Shapes and types of a model's input and, where its last layer is dense, of its output."""
    from mlflow.models import ModelSignature

    with zipfile.ZipFile(keras_file) as archive:
        layers = json.loads(archive.read("config.json"))["config"]["layers"]
    _, *shape = layers[0]["config"]["batch_shape"]
    units = layers[-1]["config"].get("units")
    outputs = None if units is None else _floats(units)
    return ModelSignature(inputs=_floats(*shape), outputs=outputs)


def _floats(*shape: int) -> "Schema":
    from mlflow.types.schema import Schema, TensorSpec

    return Schema([TensorSpec(np.dtype(np.float32), (-1, *shape))])


# Figures


def studies(runs: pd.DataFrame) -> dict[str, str]:
    """Technique → the study digest of its rows of runs.csv; older files have none."""
    told = runs.reindex(columns=["technique", STUDY]).dropna().drop_duplicates("technique")
    return dict(zip(told["technique"], told[STUDY], strict=True))


def log_figures(
    dataset: str, figures: Mapping[str, Sequence[Path]], studies: Mapping[str, str]
) -> int:
    """Puts files, technique → paths, under `report` in the parents of a study's final runs.

    `studies`: technique → study digest; a technique without one has its newest parent. Returns
    how many files there are now; one of the same name is replaced. A store without the data set is
    left alone, and one that fails costs a warning.
    """
    file = _sqlite_file(tracking_uri())
    if file is not None and not file.exists():
        return 0
    from mlflow import MlflowClient

    try:
        client = MlflowClient(tracking_uri())
        found = client.get_experiment_by_name(experiment_name(dataset))
        return 0 if found is None else _log_figures(client, found.experiment_id, figures, studies)
    except Exception as error:
        _log.warning(
            "%s: MLflow %s; the figures are in the result files", dataset, _describe(error)
        )
        return 0


def _log_figures(
    client: "MlflowClient",
    experiment_id: str,
    figures: Mapping[str, Sequence[Path]],
    studies: Mapping[str, str],
) -> int:
    logged = 0
    for technique, paths in figures.items():
        # Of all runs of this name none is a child: children's names end in a seed.
        wanted = f"attributes.run_name = '{technique} · train'"
        if technique in studies:
            wanted += f" and tags.{STUDY} = '{studies[technique]}'"
        for run in client.search_runs([experiment_id], wanted, max_results=1):
            for path in paths:
                client.log_artifact(run.info.run_id, str(path), "report")
                logged += 1
    return logged


# What `mlflow run` opened


@dataclass(frozen=True)
class Outcome:
    """What a study found on one data set, as the run of `mlflow run` shows it."""

    dataset: str
    table: str  # plain text, aligned
    headline: str  # one sentence
    metrics: Mapping[str, float]
    files: Sequence[Path]  # result files


class ProjectRun:
    """The run that `mlflow run` opened for our command, named by MLFLOW_RUN_ID.

    Leaving the `with` block ends it, as FINISHED, FAILED or KILLED, and says why. Without such a
    run nothing here does anything. A store that fails costs a warning, never the study.
    """

    def __init__(self) -> None:
        # Taken from the environment, so that no stage, here or in a child process, resumes it.
        self._run_id = os.environ.pop("MLFLOW_RUN_ID", None)
        os.environ.pop("MLFLOW_EXPERIMENT_ID", None)
        self._uri = tracking_uri()  # the caller may change its folder

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None or (isinstance(error, SystemExit) and not error.code):
            self._tell(lambda client, run_id: client.set_terminated(run_id, "FINISHED"))
            return
        interrupted = isinstance(error, KeyboardInterrupt)
        why = "interrupted" if interrupted else str(error) or type(error).__name__
        self._tag({"error": why, "mlflow.note.content": f"This run did not finish:\n\n    {why}"})
        status: Status = "KILLED" if interrupted else "FAILED"
        self._tell(lambda client, run_id: client.set_terminated(run_id, status))

    def asked(self, tags: Mapping[str, str], settings: str) -> None:
        """Shows what is to be studied: tags, and the content of params.yaml that holds."""
        self._tag(tags)
        self._tell(lambda client, run_id: client.log_text(run_id, settings, "params.yaml"))

    def found(self, outcomes: Sequence[Outcome], place: Path) -> None:
        """Shows the results, whose files are in the folder `place`."""
        self._tell(lambda client, run_id: _show(client, run_id, outcomes))
        self._tell(lambda client, run_id: _describe_project(client, run_id, outcomes, place))

    def _tag(self, tags: Mapping[str, str]) -> None:
        def write(client: "MlflowClient", run_id: str) -> None:
            for name, value in tags.items():
                client.set_tag(run_id, name, value[:_TAG_LIMIT])

        self._tell(write)

    def _tell(self, write: "Callable[[MlflowClient, str], object]") -> None:
        if self._run_id is None:
            return
        from mlflow import MlflowClient

        try:
            write(MlflowClient(self._uri), self._run_id)
        except Exception as error:
            _log.warning(
                "run %s of `mlflow run` is left as it is: MLflow %s",
                self._run_id,
                _describe(error),
            )
            self._run_id = None


_TAG_LIMIT = 5000  # characters that every MLflow store takes
_TRAINING_PAGES = "workflowType=machine_learning"  # not those for language models


def _show(client: "MlflowClient", run_id: str, outcomes: Sequence[Outcome]) -> None:
    """Metrics, tables and result files."""
    metrics = {
        f"{outcome.dataset}/{name}": value
        for outcome in outcomes
        for name, value in outcome.metrics.items()
    }
    client.log_batch(run_id, _scalars(metrics, _now(), None))
    text = "\n\n".join(f"{outcome.table}\n\n{outcome.headline}" for outcome in outcomes)
    client.log_text(run_id, f"{text}\n", "results.txt")
    for outcome in outcomes:
        for file in outcome.files:
            client.log_artifact(run_id, str(file), outcome.dataset)


def _describe_project(
    client: "MlflowClient", run_id: str, outcomes: Sequence[Outcome], place: Path
) -> None:
    """A description with what was found, and where it is."""
    lines = [f"Result files are in `{place}`, and under this run's artifacts.", ""]
    for outcome in outcomes:
        name = experiment_name(outcome.dataset)
        link = f"`{name}`"
        if found := client.get_experiment_by_name(name):
            client.set_tag(run_id, f"experiment.{outcome.dataset}", found.experiment_id)
            link = f"[{name}](#/experiments/{found.experiment_id}?{_TRAINING_PAGES})"
        lines.append(f"- {link}: {outcome.headline}")
    client.set_tag(run_id, "mlflow.note.content", "\n".join(lines)[:_TAG_LIMIT])
