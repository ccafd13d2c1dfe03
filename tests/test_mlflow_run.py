"""A real `mlflow run`, from outside of the project and from a git URL."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from .clone import Clone

TAGS = {"study", "architecture", "technique", "phase", "git_commit", "params_digest"} | {
    *("data_digest", "study_digest", "mlflow.source.git.commit"),
}
LOCAL = ("mlflow", "run", "--env-manager", "local")
SMALL = ("-P", "studies=digits", "-P", "techniques=l2", "-P", "trials=1", "-P", "workers=1")


TECHNIQUES = ("none", "l2", "cocktail")


def fewer(params: dict[str, Any]) -> dict[str, Any]:
    digits = params["studies"]["digits"]
    digits["techniques"] = {name: digits["techniques"][name] for name in TECHNIQUES}
    return params


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    clone = Clone(tmp_path_factory.mktemp("project"))
    clone.edit(fewer)
    clone.commit("The project")
    return clone


@pytest.fixture
def outside(tmp_path: Path, project: Clone, empty_database: Path) -> Path:
    """The folder in which `mlflow run` is called; of former tests the project keeps the journal."""
    project.run("git", "clean", "-xdfq", "--exclude", ".journal")
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return tmp_path


def runs(folder: Path) -> tuple[Run, list[Run]]:
    """The newest run that `mlflow run` opened, and all runs of the data sets' experiments."""
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiments = {each.name: each.experiment_id for each in client.search_experiments()}
    opened = client.search_runs([experiments.pop("Default")])[0]
    rest = client.search_runs(list(experiments.values())) if experiments else []
    return opened, list(rest)


@pytest.mark.slow
def test_a_study_from_outside_fills_its_run_and_leaves_params_yaml_alone(
    project: Clone, outside: Path
) -> None:
    command = (*LOCAL, str(project.folder), *SMALL, "-P", "seeds=2")
    done = project.attempt(*command, folder=outside)
    assert done.returncode == 0, done.stderr[-3000:]
    opened, rest = runs(outside)
    assert opened.info.status == "FINISHED"
    assert {"digits/test_accuracy/none", "digits/difference/l2"} <= opened.data.metrics.keys()
    artifacts = MlflowClient(f"sqlite:///{outside}/mlflow.db").list_artifacts(opened.info.run_id)
    assert {each.path for each in artifacts} == {"digits", "params.yaml", "results.txt"}
    # Two techniques on two splits: each with a search, and a final run in each of three settings.
    trials, finals = 2 * 2 * 1, 2 * 2 * 3
    parents = 2 * 2
    assert len(rest) == trials + finals + parents
    assert {run.info.status for run in rest} == {"FINISHED"}
    commit = project.run("git", "rev-parse", "HEAD").strip()
    for run in rest:
        child = {"setting", "trial" if run.data.tags["phase"] == "tune" else "seed"}
        assert run.data.tags.keys() >= TAGS | (child if "unit_key" in run.data.tags else set())
        assert run.data.tags["git_commit"] == commit
    assert len(list((outside / "mlartifacts/digits").rglob("*.keras"))) == finals
    assert project.run("git", "status", "--porcelain") == ""
    assert not (project.folder / "mlflow.db").exists()
    assert [path.name for path in (project.folder / "studies").iterdir()] == [
        "studies=digits_techniques=l2_trials=1_seeds=2_workers=1"
    ]


@pytest.mark.slow
def test_as_params_yaml_says_it_is_dvc_repro(project: Clone, outside: Path) -> None:
    command = (*LOCAL, str(project.folder), "-e", "tune", "-P", "studies=digits")
    done = project.attempt(*command, folder=outside)
    assert done.returncode == 0, done.stderr[-3000:]
    assert project.ran("tune@digits") == set()
    opened, rest = runs(outside)
    assert opened.info.status == "FINISHED"
    assert opened.data.metrics.keys() == {f"digits/val_accuracy/{name}" for name in TECHNIQUES}
    assert {run.info.status for run in rest} == {"FINISHED", "KILLED"}  # the pruned trials


@pytest.mark.slow
def test_a_git_url_is_studied_and_its_results_do_not_stay_in_the_temporary_clone(
    project: Clone, outside: Path
) -> None:
    url = "https://example.org/study.git"
    git = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{project.folder.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": url,
    }
    done = project.attempt(*LOCAL, url, "-e", "tune", *SMALL, folder=outside, **git)
    assert done.returncode == 0, done.stderr[-3000:]
    opened, _ = runs(outside)
    assert opened.info.status == "FINISHED"
    client = MlflowClient(f"sqlite:///{outside}/mlflow.db")
    shown = client.list_artifacts(opened.info.run_id, "digits")
    assert {each.path for each in shown} == {"digits/tuned.json", "digits/trials.csv"}
    assert opened.data.tags["mlflow.source.git.commit"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "manager",
    ["local", pytest.param("uv", marks=pytest.mark.exhaustive)],  # 1 GB where uv's cache is empty
)
def test_a_wrong_parameter_fails_the_run_and_is_named(
    manager: str, project: Clone, outside: Path
) -> None:
    """With uv, in an environment that MLflow makes of uv.lock."""
    command = ("mlflow", "run", "--env-manager", manager, str(project.folder), "-P", "trials=many")
    environments = {"MLFLOW_ENV_ROOT": str(outside / "environments")}
    done = project.attempt(*command, folder=outside, **environments)
    assert done.returncode == 1
    assert "command line:trials: input should be a valid integer" in done.stderr
    opened, rest = runs(outside)
    assert opened.info.status == "FAILED"
    assert "trials: input should be a valid integer" in opened.data.tags["error"]
    assert rest == []


@pytest.mark.slow
def test_an_interruption_ends_the_run_and_dvcs_stage(project: Clone, outside: Path) -> None:
    """The signal goes to the study alone, as when `mlflow run` passes an interruption on."""
    command = [sys.executable, "-m", "pipeline", "study", "--until", "tune", "--studies", "digits"]
    client = MlflowClient(f"sqlite:///{outside}/mlflow.db")
    run_id = client.create_run("0").info.run_id
    variables = {"MLFLOW_TRACKING_URI": client.tracking_uri, "MLFLOW_RUN_ID": run_id}
    log = outside / "log"
    with log.open("w") as output:
        study = subprocess.Popen(
            command, cwd=project.folder, env=os.environ | variables, stdout=output, stderr=output
        )
    end = time.monotonic() + 120
    while "pipeline tune digits" not in log.read_text():
        assert study.poll() is None, log.read_text()
        assert time.monotonic() < end
        time.sleep(0.1)
    study.send_signal(signal.SIGTERM)
    assert study.wait(timeout=60) == 130
    assert "study: interrupted" in log.read_text()
    run = client.get_run(run_id)
    assert (run.info.status, run.data.tags["error"]) == ("KILLED", "interrupted")
    assert not (project.folder / "results/digits/tuned.json").exists()
