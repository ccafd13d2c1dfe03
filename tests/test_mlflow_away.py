"""A real stage whose tracking server is killed finishes its work, and `publish` its record."""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow import MlflowClient

from pipeline.stages import fetch, prepare, publish

from .clone import Clone
from .store import Server, wait_until


def two_rounds(params: dict[str, Any]) -> dict[str, Any]:
    """Two techniques and two rounds of trials: the server goes after the first."""
    digits = params["studies"]["digits"]
    digits["tuning"]["trials"] = 4
    digits["techniques"] = {name: digits["techniques"][name] for name in ("none", "l2")}
    return params


def trials_in(database: Path) -> int:
    """How many trials the store holds by now; read beside the server."""
    query = "SELECT count(*) FROM tags WHERE key = 'unit_key'"
    with closing(sqlite3.connect(database)) as connection:
        return int(connection.execute(query).fetchone()[0])


@pytest.mark.slow
def test_a_stage_outlives_its_server_and_publish_completes_every_run_once(
    tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = Clone(tmp_path)
    clone.edit(two_rounds)
    monkeypatch.chdir(clone.folder)
    fetch.main(["digits"])
    prepare.main(["digits"])
    shutil.copy(empty_database, "mlflow.db")
    server = Server(clone.folder)
    try:
        server.start()
        command = [sys.executable, "-m", "pipeline", "tune", "digits"]
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "300")  # a busy machine is not away
        with (clone.folder / "errors").open("w") as errors:
            stage = subprocess.Popen(command, stderr=errors)
        wait_until(lambda: trials_in(clone.folder / "mlflow.db") > 0, seconds=240)
        server.kill()
        assert stage.wait(timeout=240) == 0
        (line,) = (clone.folder / "errors").read_text(encoding="utf-8").splitlines()
        assert line.startswith(f"digits: MLflow is away ({server.uri} does not answer);")
        assert "run `python -m pipeline publish digits` (for" in line
        assert (clone.folder / "results/digits/tuned.json").exists()

        server.start()
        publish.main(["digits"])
        trials = pd.read_csv(clone.folder / "results/digits/trials.csv", dtype={"key": str})
        client = MlflowClient(server.uri)
        found = client.get_experiment_by_name("regularization/digits")
        assert found is not None
        runs = client.search_runs([found.experiment_id])
    finally:
        server.kill()
    keys = [run.data.tags["unit_key"] for run in runs if "unit_key" in run.data.tags]
    assert sorted(keys) == sorted(trials["key"])
    assert len(runs) == len(trials) + trials["technique"].nunique()
    assert "RUNNING" not in {run.info.status for run in runs}
