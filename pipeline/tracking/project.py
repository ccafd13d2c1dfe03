"""The run that `mlflow run` opened: the request, the results, and how it ended."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pipeline.errors import redacted
from pipeline.tracking.entities import scalars
from pipeline.tracking.opening import client_of
from pipeline.tracking.records import Status
from pipeline.tracking.store import away, describe, experiment_name, now, tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

_log = logging.getLogger(__name__)

_TAG_LIMIT = 5000  # characters that every MLflow store accepts
_TRAINING_PAGES = "workflowType=machine_learning"  # not the pages for language models


@dataclass(frozen=True)
class Outcome:
    """The results of one study, as the run of `mlflow run` shows them."""

    study: str
    table: str  # plain text, aligned
    headline: str  # one sentence
    metrics: Mapping[str, float]
    files: Sequence[Path]  # result files


class ProjectRun:
    """The run that `mlflow run` opened for this command, named by MLFLOW_RUN_ID.

    Leaving the `with` block ends it as FINISHED, FAILED or KILLED, with the reason. Without such a
    run the methods do nothing. A store that fails causes a warning and does not stop the study.
    """

    def __init__(self) -> None:
        # Removed from the environment, so that no stage, here or in a child process, resumes it.
        self._run_id = os.environ.pop("MLFLOW_RUN_ID", None)
        os.environ.pop("MLFLOW_EXPERIMENT_ID", None)
        self._uri = tracking_uri()  # now, since the caller may change the current folder
        self._warned = self._away = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._away = False  # it may be back, and the run should not stay RUNNING
        if error is None or (isinstance(error, SystemExit) and not error.code):
            self._tell(lambda client, run_id: client.set_terminated(run_id, "FINISHED"))
            return
        interrupted = isinstance(error, KeyboardInterrupt)
        why = "interrupted" if interrupted else redacted(str(error)) or type(error).__name__
        self._tag({"error": why, "mlflow.note.content": f"This run did not finish:\n\n    {why}"})
        status: Status = "KILLED" if interrupted else "FAILED"
        self._tell(lambda client, run_id: client.set_terminated(run_id, status))

    def asked(self, tags: Mapping[str, str], settings: str) -> None:
        """Shows the request: tags, and the content of params.yaml that is used."""
        self._tag(tags)
        self._tell(lambda client, run_id: client.log_text(run_id, settings, "params.yaml"))

    def found(self, outcomes: Sequence[Outcome], folder: Path) -> None:
        """Shows the results, whose files are in `folder`."""
        self._tell(lambda client, run_id: _show(client, run_id, outcomes))
        self._tell(lambda client, run_id: _describe_project(client, run_id, outcomes, folder))

    def _tag(self, tags: Mapping[str, str]) -> None:
        def write(client: "MlflowClient", run_id: str) -> None:
            for name, value in tags.items():
                client.set_tag(run_id, name, value[:_TAG_LIMIT])

        self._tell(write)

    def _tell(self, write: "Callable[[MlflowClient, str], object]") -> None:
        if self._run_id is None or self._away:
            return
        try:
            write(client_of(self._uri), self._run_id)
        except Exception as error:
            if not self._warned:
                run_id, happened = self._run_id, describe(error)
                _log.warning("run %s of `mlflow run` is incomplete: MLflow %s", run_id, happened)
            self._warned = True
            self._away = away(error)  # a further request would only wait in vain


def _show(client: "MlflowClient", run_id: str, outcomes: Sequence[Outcome]) -> None:
    """Metrics, tables and result files."""
    metrics = {
        f"{outcome.study}/{name}": value
        for outcome in outcomes
        for name, value in outcome.metrics.items()
    }
    client.log_batch(run_id, scalars(metrics, now(), None))
    text = "\n\n".join(f"{outcome.table}\n\n{outcome.headline}" for outcome in outcomes)
    client.log_text(run_id, f"{text}\n", "results.txt")
    for outcome in outcomes:
        for file in outcome.files:
            client.log_artifact(run_id, str(file), outcome.study)


def _describe_project(
    client: "MlflowClient", run_id: str, outcomes: Sequence[Outcome], folder: Path
) -> None:
    """Describes the run: headlines, links to experiments, and the folder of the results."""
    lines = [f"The result files are in `{folder}` and among this run's artifacts.", ""]
    for outcome in outcomes:
        name = experiment_name(outcome.study)
        link = f"`{name}`"
        if experiment := client.get_experiment_by_name(name):
            client.set_tag(run_id, f"experiment.{outcome.study}", experiment.experiment_id)
            link = f"[{name}](#/experiments/{experiment.experiment_id}?{_TRAINING_PAGES})"
        lines.append(f"- {link}: {outcome.headline}")
    client.set_tag(run_id, "mlflow.note.content", "\n".join(lines)[:_TAG_LIMIT])
