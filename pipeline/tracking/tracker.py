"""Writes records to MLflow on its own thread, so that training never waits for a server."""

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Self

from pipeline.tracking import drawing
from pipeline.tracking.context import Context
from pipeline.tracking.experiment import Experiment
from pipeline.tracking.records import Record
from pipeline.tracking.store import describe, tracking_uri

_log = logging.getLogger(__name__)

Job = Callable[["Experiment"], object]


class Tracker:
    """Writes records to MLflow on one background thread, the only one that uses the store.

    The thread starts with the first record, since MLflow's imports would delay those of workers.
    Log all records of a study, also old ones: a record that the experiment already has is not
    written again but counts in the means of its parent. If the store fails, one warning is logged,
    `failure` is the reason, further records are dropped, and the caller continues.

    After the `with` block, `run_ids` maps keys to MLflow runs, and `added` and `present` count the
    records that were written and those that the experiment had.

    `system_metrics`: whether parents show the machine's load, from their first new record on.
    `restores`: whether artifacts that the store has lost are logged again; `restored` counts the
    runs. Raises UserError if no store can have the address, before anything is trained.
    """

    def __init__(
        self, context: Context, system_metrics: bool = False, restores: bool = False
    ) -> None:
        self._uri = tracking_uri()
        self.run_ids: Mapping[str, str] = {}
        self.added = 0
        self.present = 0
        self.restored = 0
        self.failure: Exception | None = None
        self._context = context
        self._system_metrics, self._restores = system_metrics, restores
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="mlflow-writer", daemon=True)

    def __enter__(self) -> Self:
        return self

    def log(self, record: Record) -> None:
        """Queues a record for the writer. Returns at once."""
        self._put(lambda experiment: self._add(experiment, record))

    def finish(self, technique: str) -> None:
        """Queues the description of a technique, whose records are all logged. Returns at once."""
        self._put(lambda experiment: experiment.finish(technique))

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            self._put(Experiment.finish_all)
        elif isinstance(error, KeyboardInterrupt):  # the next run writes what is left
            with suppress(queue.Empty):
                while True:
                    self._jobs.get_nowait()
        if not self._begun:
            return
        self._jobs.put(None)
        try:
            self._thread.join()
        except KeyboardInterrupt:
            drawing.stop()
            raise

    def _put(self, job: Job) -> None:
        if self.failure is None:
            self._jobs.put(job)
            if not self._begun:
                self._thread.start()

    @property
    def _begun(self) -> bool:
        return self._thread.ident is not None

    def _add(self, experiment: "Experiment", record: Record) -> None:
        if experiment.add(record):
            self.added += 1
        else:
            self.present += 1

    def _write(self) -> None:
        try:
            with Experiment(
                self._uri, self._context, self._system_metrics, self._restores
            ) as experiment:
                self.run_ids = experiment.run_ids
                for job in iter(self._jobs.get, None):
                    job(experiment)
                self.restored = experiment.restored
        except Exception as error:
            self.failure = error
            _log.warning(
                "%s: MLflow %s; results are not affected. Afterwards, run `python -m pipeline "
                "publish %s` (for a study with other values: the same command again) to complete "
                "MLflow",
                self._context.study,
                describe(error),
                self._context.study,
            )
