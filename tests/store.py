"""Tracking stores for tests: a server that can be killed, and what a store shows."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.tracking.store import WRITER

if TYPE_CHECKING:  # mlflow takes seconds to import, and conftest.py imports this file
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Run

EXPERIMENT = "regularization/circles"


def free_port() -> int:
    """A port that nothing listens to."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def answers(address: str) -> bool:
    """Whether a server is there and gives a page."""
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return int(answer.status) == 200
    except (urllib.error.URLError, OSError):
        return False


class Server:
    """A real tracking server that can be killed, and started again on the same port and data."""

    def __init__(self, folder: Path, database: str | None = None, artifacts: str = "files") -> None:
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.database = database or f"sqlite:///{folder}/mlflow.db"
        self._folder, self._artifacts = folder, artifacts
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the server, unless it is running, and waits until it answers."""
        if self._process is not None:
            return
        store = ["--backend-store-uri", self.database]
        store += ["--artifacts-destination", self._artifacts]
        place = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with (self._folder / "log").open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *store, *place],
                cwd=self._folder,
                env=os.environ | quiet,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(self._answers, seconds=300)

    def kill(self) -> None:
        """Kills the server with all its processes, if it is running."""
        if self._process is not None:
            with suppress(ProcessLookupError):  # it has ended by itself
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to all processes of the server."""
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def set_aside(self) -> None:
        """Leaves the next test no runs of the experiment and no registered models."""
        client = _client(self.uri)
        found = client.get_experiment_by_name(EXPERIMENT)
        if found is not None:
            client.rename_experiment(found.experiment_id, f"{EXPERIMENT}, {found.experiment_id}")
        for model in client.search_registered_models():
            client.delete_registered_model(model.name)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log").read_text()
        return answers(f"{self.uri}/health")


def _client(uri: str) -> "MlflowClient":
    from mlflow import MlflowClient

    return MlflowClient(uri)


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    """Waits for a condition; fails after as many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.05)


def runs(name: str = EXPERIMENT) -> "list[Run]":
    """All runs of an experiment in the store that MLFLOW_TRACKING_URI names."""
    client = _client(os.environ["MLFLOW_TRACKING_URI"])
    experiment = client.get_experiment_by_name(name)
    return [] if experiment is None else list(client.search_runs([experiment.experiment_id]))


def children(name: str = EXPERIMENT) -> "list[Run]":
    """The runs of trials and seeds."""
    return [run for run in runs(name) if "unit_key" in run.data.tags]


def parents() -> "dict[str, Run]":
    """The runs of techniques by name."""
    return {run.info.run_name: run for run in runs() if "unit_key" not in run.data.tags}


def inputs(run: "Run") -> "list[DatasetInput]":
    """The data sets that a run names."""
    assert run.inputs is not None
    return run.inputs.dataset_inputs


def view() -> dict[str, Any]:
    """What the experiment shows, by names and without ids and times."""
    client, found = _client(os.environ["MLFLOW_TRACKING_URI"]), runs()
    names = {run.info.run_id: run.info.run_name for run in found}
    return {run.info.run_name: _shown(client, run, names) for run in found}


def _shown(client: "MlflowClient", run: "Run", names: dict[str, str]) -> tuple[object, ...]:
    histories = {
        name: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }
    tags = {name: value for name, value in run.data.tags.items() if name != WRITER}
    parent = names.get(tags.pop("mlflow.parentRunId", ""))
    curves = sorted(name for name in histories if name.startswith("curve/"))
    assert all(histories[name] for name in curves)
    data = [(each.dataset.name, each.dataset.digest) for each in inputs(run)]
    steps = {name: sorted(history) for name, history in histories.items()}
    return run.info.status, parent, tags, run.data.params, run.data.metrics, steps, data
