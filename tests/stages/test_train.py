"""A run that fails leaves the stage's other results whole; own data get yardsticks beside them."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from pipeline import datasets, results
from pipeline.config import loading
from pipeline.datasets import about
from pipeline.datasets.sources import prepare
from pipeline.execution.executor import Answer, Work, WorkerDied
from pipeline.execution.jobs import Train
from pipeline.execution.worker import Job
from pipeline.stages import report, train, tune
from pipeline.training import yardsticks

from ..test_leaks import NAME, InProcess, Nowhere, write_params


class Deadly(InProcess):
    """Its worker dies of one final run, each time."""

    def submit(self, slot: int, job: Job[Answer]) -> Work[Answer]:
        if isinstance(job, Train) and any(
            (run.technique, run.setting, run.seed) == ("l2", "tuned", 1) for run in job.runs
        ):
            work: Work[Answer] = Work()
            work.set_exception(WorkerDied("worker died (signal 9)"))
            return work
        return super().submit(slot, job)


def test_a_failed_run_is_told_and_the_others_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stage in (tune, train):
        monkeypatch.setattr("pipeline.execution.on_demand.LocalExecutor", Deadly)
        monkeypatch.setattr(stage, "Tracker", Nowhere)
    monkeypatch.setattr(about, "OWN", (NAME,))
    monkeypatch.setattr(yardsticks, "SECONDS", 1.0)
    write_params(tmp_path / loading.FILE)
    shutil.copytree("data/sources", tmp_path / "data/sources")
    monkeypatch.chdir(tmp_path)
    settings = loading.load()
    data = prepare(NAME, settings.study(NAME).data, settings.seed, Path("nowhere"))
    datasets.save(data, results.prepared(NAME))
    for stage in (tune, train, report):
        stage.main([NAME])
    runs = pd.read_csv(results.RESULTS / NAME / "runs.csv")
    lost = (runs["technique"] == "l2") & (runs["setting"] == "tuned") & (runs["seed"] == 1)
    (failed,) = runs[lost].to_dict("records")
    assert failed["failed"] == "worker died (signal 9), three times"
    assert runs.loc[lost, ["model", "test_accuracy", "val_loss", "diverged"]].isna().all(axis=None)
    others = runs[~lost]
    assert others["failed"].isna().all()
    assert others["test_accuracy"].notna().all()
    assert all(Path(model).exists() for model in others["model"])  # of the first ten seeds
    curves = pd.read_parquet(results.RESULTS / NAME / "curves.parquet")
    assert {*curves["key"]} == {*others["key"]}
    hosts = pd.read_csv(results.RESULTS / NAME / "hosts.csv")
    assert [*hosts["key"]] == [*runs["key"]]
    simple = results.read_yardsticks(results.RESULTS / NAME)
    assert [*simple["yardstick"].unique()] == ["constant", "linear", "trees"]
    assert {*simple["draw"]} == {*runs["replicate"]}
    page = (results.RESULTS / NAME / "report.html").read_text(encoding="utf-8")
    assert '<section id="yardsticks">' in page
