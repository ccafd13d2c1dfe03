"""The MLflow experiment of a study: what is in it, and what a record adds to it."""

import json
import logging
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, cast

from pipeline.execution.journal import ROOT
from pipeline.results import STUDY
from pipeline.tracking.context import Context
from pipeline.tracking.drawing import Drawing, artists
from pipeline.tracking.entities import params_of, points_of, scalars
from pipeline.tracking.findings import note, summary
from pipeline.tracking.opening import client_of
from pipeline.tracking.packages import Packages
from pipeline.tracking.records import Phase, Record, Status, as_text, parent_name, thin
from pipeline.tracking.restoring import Restoring
from pipeline.tracking.store import (
    WRITER,
    artifacts,
    away,
    check_place,
    experiment_name,
    now,
)

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Run

_ParentKey = tuple[str, Phase, str]  # technique, phase, study digest: what identifies a parent


@dataclass
class Parent:
    """A technique's parent run, and the records that were added to it."""

    run_id: str
    status: str
    ours: bool = True  # False: of another checkout that writes to the same store
    changed: bool = False
    monitor: Any = None  # MLflow's SystemMetricsMonitor, which has no types
    drawing: Drawing | None = None
    records: list[Record] = field(default_factory=list)


class Experiment:
    """The MLflow experiment of a study and the runs in it. Used by one thread.

    Leaving the `with` block ends the parents that are still running: as finished, once they are
    drawn, if they were described, else as failed. `restores`: see `Tracker`.
    """

    def __init__(
        self, uri: str, context: Context, system_metrics: bool, restores: bool = False
    ) -> None:
        self._client = client_of(uri)
        self._uri = uri
        # Names the checkout: processes that share a journal write one at a time.
        self._writer = f"{socket.gethostname()}:{ROOT.resolve()}"
        self._system_metrics = system_metrics
        self.run_ids: dict[str, str] = {}
        self._began = now()
        self._context = context
        self._parents: dict[_ParentKey, Parent] = {}
        self._parent_ids: dict[str, str] = {}  # by the keys of the children
        self._id = self._get_or_create(experiment_name(context.study), uri)
        self._look_up()
        self._packages = Packages(context.inputs)
        self._restoring = Restoring(self._client, self._id, self._packages) if restores else None

    @property
    def restored(self) -> int:
        """The number of runs whose lost artifacts were logged again."""
        return 0 if self._restoring is None else self._restoring.runs

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._packages.close()
        if not away(error):  # else the next tracker ends runs that it finds running
            for parent in self._parents.values():
                with suppress(Exception):
                    self._conclude(parent)
                with suppress(Exception):  # its artifacts may have found no space
                    if parent.status == "RUNNING" and (parent.ours or parent.records):
                        self._end(parent, "FAILED")
        for parent in self._parents.values():
            if parent.drawing is not None:
                parent.drawing.close()

    def _get_or_create(self, name: str, uri: str) -> str:
        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            location = artifacts(uri, self._context.study)
            tags = {"mlflow.experimentKind": "custom_model_development"}  # not the view for agents
            return str(self._client.create_experiment(name, location, tags))
        check_place(experiment.artifact_location, uri, self._context.study)
        if experiment.lifecycle_stage == "deleted":
            self._client.restore_experiment(experiment.experiment_id)
        return str(experiment.experiment_id)

    def _look_up(self) -> None:
        for run in list(self._runs()):  # discarding a run moves the pages
            tags = run.data.tags
            if "unit_key" not in tags:
                self._look_up_parent(run)
            elif run.info.status == "RUNNING":
                if self._is_ours(run):  # a killed writer left it incomplete
                    self._discard(run.info.run_id)
            else:
                self.run_ids[tags["unit_key"]] = run.info.run_id
                self._parent_ids[tags["unit_key"]] = tags.get("mlflow.parentRunId", "")

    def _look_up_parent(self, run: "Run") -> None:
        tags = run.data.tags
        technique, phase, study = (tags.get(name) for name in ("technique", "phase", STUDY))
        if technique and phase and study:
            key = technique, cast(Phase, phase), study
            self._parents[key] = Parent(run.info.run_id, run.info.status, self._is_ours(run))

    def _is_ours(self, run: "Run") -> bool:
        return bool(run.data.tags.get(WRITER, self._writer) == self._writer)

    def _runs(self) -> "Iterator[Run]":
        token: str | None = ""
        while token is not None:
            page = self._client.search_runs([self._id], max_results=1000, page_token=token or None)
            yield from page
            token = page.token or None

    def add(self, record: Record) -> bool:
        """Writes a record unless the experiment has its key; returns whether it was written."""
        self._conclude_drawn()
        parent = self._parent(record)
        parent.records.append(record)
        if record.key in self.run_ids:
            if self._restoring is not None:
                self._restoring.model(self.run_ids[record.key], record)
            return False
        parent.changed = True
        artists()  # starts its imports
        if self._system_metrics and parent.monitor is None:
            self._watch(parent)
        self.run_ids[record.key] = self._create(record, parent.run_id)
        self._parent_ids[record.key] = parent.run_id
        return True

    def _study(self, record: Record) -> str:
        return record.study_digest or self._context.study_digest(record.technique, record.phase)

    def _parent(self, record: Record) -> Parent:
        key = record.technique, record.phase, self._study(record)
        if key not in self._parents:
            self._parents[key] = self._create_parent(record)
        return self._parents[key]

    def _watch(self, parent: Parent) -> None:
        """Lets MLflow log the machine's load to a parent until the parent ends."""
        from mlflow.system_metrics import system_metrics_monitor as mlflows

        # The monitor stops by itself when the store fails, which the tracker reports.
        logging.getLogger("mlflow.system_metrics").setLevel(logging.CRITICAL)
        self._client.update_run(parent.run_id, "RUNNING")  # it monitors only running runs
        parent.status = "RUNNING"
        monitor: Any = mlflows.SystemMetricsMonitor
        parent.monitor = monitor(parent.run_id, resume_logging=True, tracking_uri=self._uri)
        parent.monitor.start()

    def _create_parent(self, record: Record) -> Parent:
        name = parent_name(record.technique, record.phase, record.size, self._context.asked)
        run = self._client.create_run(self._id, tags=self._tags(record), run_name=name)
        if self._context.describes(record):
            params = self._context.parent_params(record.technique)
            named = {"technique": record.technique, "phase": record.phase}
            self._client.log_batch(run.info.run_id, params=params_of({**params, **named}))
        self._client.log_inputs(run.info.run_id, [self._data()])
        return Parent(run.info.run_id, "RUNNING")

    def _tags(self, record: Record) -> dict[str, str]:
        return {
            **self._context.tags,
            "mlflow.source.name": f"python -m pipeline {record.phase}",
            "mlflow.source.type": "LOCAL",
            "data_digest": self._context.data_digest,
            WRITER: self._writer,
            **{name: getattr(record, name) for name in ("study", "architecture", "technique")},
            "task": record.task.name,
            "phase": record.phase,
            **({} if record.size is None else {"size": str(record.size)}),
            **({"asked": self._context.asked} if self._context.asked else {}),
            STUDY: self._study(record),
        }

    def _data(self) -> "DatasetInput":
        from mlflow.entities import Dataset, DatasetInput, InputTag

        name = self._context.study
        source = json.dumps({"uri": f"data/prepared/{name}.npz"})
        data = Dataset(name, self._context.data_digest, source_type="local", source=source)
        return DatasetInput(data, [InputTag("mlflow.data.context", "training")])

    def _create(self, record: Record, parent_id: str) -> str:
        # MLflow lists the newest run first: so parents precede children, and seeds are in order.
        start = self._began - record.seed
        end = start + int(1000 * record.metrics.get("seconds", 0))
        tags = {
            **self._tags(record),
            **record.tags,
            "setting": record.setting,
            "trial" if record.phase == "tune" else "seed": str(record.seed),
            "search": str(record.search),
            "replicate": str(record.replicate),
            "unit_key": record.key,
            "mlflow.parentRunId": parent_id,
        }
        run = self._client.create_run(self._id, start, tags, record.name)
        run_id = str(run.info.run_id)
        try:
            self._fill(run_id, record, end)
        except Exception as error:
            if not away(error):  # a further request would only wait in vain
                with suppress(Exception):
                    self._discard(run_id)
            raise
        return run_id

    def _fill(self, run_id: str, record: Record, end: int) -> None:
        model_id = self._log_model(run_id, record) if record.model else None
        metrics = scalars(record.metrics, end, model_id)
        if record.curve is not None:
            metrics += points_of(thin(record.curve, self._context.points, record.task), end)
        self._client.log_batch(run_id, metrics, params_of({**record.params, **record.place}))
        if record.phase == "train":
            self._client.log_inputs(run_id, [self._data()])
        self._client.set_terminated(run_id, record.status, end)

    def _log_model(self, run_id: str, record: Record) -> str:
        from mlflow.entities import LoggedModelOutput

        assert record.model is not None
        params = {name: as_text(value) for name, value in record.params.items()}
        name = f"{record.technique}-{record.setting}-{record.search}-{record.seed}"
        logged = self._client.create_logged_model(self._id, name, run_id, params=params)
        folder = self._packages.pack(record.model, logged, run_id, record.replicate, record.task)
        self._client.log_model_artifacts(logged.model_id, str(folder))
        self._client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
        self._client.finalize_logged_model(logged.model_id, "READY")
        return str(logged.model_id)

    def _discard(self, run_id: str) -> None:
        models = self._client.search_logged_models([self._id], f"source_run_id = '{run_id}'")
        for model in models:
            self._client.delete_logged_model(model.model_id)
        self._client.delete_run(run_id)

    def finish(self, technique: str) -> None:
        """Describes the parents of a technique that have records; they end when they are drawn."""
        for (name, _, _), parent in self._parents.items():
            if name == technique:
                self._describe(parent)
        self._conclude_drawn()

    def finish_all(self) -> None:
        """Ends every parent that has records."""
        for parent in self._parents.values():
            self._describe(parent)
        for parent in self._parents.values():
            self._conclude(parent)

    def _describe(self, parent: Parent) -> None:
        """Describes a parent by its records and starts drawing, if any of them is new."""
        from mlflow.entities import RunTag

        begun = parent.status == "FINISHED" or parent.drawing is not None
        if parent.records and (parent.changed or not begun):
            elsewhere = sum(
                self._parent_ids[record.key] != parent.run_id for record in parent.records
            )
            description = note(parent.records, elsewhere)
            tags = self._tags(parent.records[0]) | {"mlflow.note.content": description}
            metrics = scalars(summary(parent.records), now(), None)
            run_tags = [RunTag(name, value) for name, value in tags.items()]
            self._client.log_batch(parent.run_id, metrics, tags=run_tags)
            if parent.drawing is not None:
                parent.drawing.close()
            ranges = self._context.ranges.get(parent.records[0].technique, {})
            parent.drawing, parent.changed = Drawing(parent.records, ranges), False
        elif parent.records and parent.drawing is None and self._restoring is not None:
            ranges = self._context.ranges.get(parent.records[0].technique, {})
            self._restoring.drawings(parent.run_id, parent.records, ranges)

    def _conclude_drawn(self) -> None:
        for parent in self._parents.values():
            if parent.drawing is not None and parent.drawing.ready:
                self._conclude(parent)

    def _conclude(self, parent: Parent) -> None:
        """Logs a parent's artifacts, waiting until they are drawn, and ends the parent."""
        if parent.drawing is not None:
            self._client.log_artifacts(parent.run_id, parent.drawing.finished())
            parent.drawing.close()
            parent.drawing = None
            self._end(parent, "FINISHED")

    def _end(self, parent: Parent, status: Status) -> None:
        if parent.monitor is not None:
            parent.monitor.finish()
        self._client.set_terminated(parent.run_id, status)
        parent.status = status
