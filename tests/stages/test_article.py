"""The article stage: its table, from the journal the second time, and nothing else written."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats

from pipeline import datasets, results
from pipeline.analysis import article as tables
from pipeline.config import loading
from pipeline.datasets.sources import prepare
from pipeline.errors import UserError
from pipeline.execution.executor import Answer, Work, WorkerDied
from pipeline.execution.jobs import Train
from pipeline.execution.journal import Journal
from pipeline.execution.worker import Job
from pipeline.stages import article
from pipeline.training.runs import Plan
from pipeline.tuning import rounds

from ..clone import tiny
from ..test_leaks import InProcess

KEPT = ("none", "activity_l1_before", "activity_l1_before_today", "l2")


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> datasets.Dataset:
    """A working folder with tiny circles."""
    own = yaml.safe_load(Path(loading.FILE).read_text(encoding="utf-8"))
    given = tiny(yaml.safe_load(Path(loading.FILE).read_text(encoding="utf-8")))
    study = given["studies"]["circles"]
    articles = own["studies"]["circles"]["techniques"]
    study["techniques"] = {name: articles[name] for name in KEPT}
    study["data"] |= {"test": 50, "draws": 8}
    text = yaml.safe_dump(given | {"studies": {"circles": study}})
    (tmp_path / loading.FILE).write_text(text, encoding="utf-8")
    shutil.copytree("data/sources", tmp_path / "data/sources")
    monkeypatch.chdir(tmp_path)
    settings = loading.load()
    data = prepare("circles", settings.study("circles").data, settings.seed, Path("nowhere"))
    datasets.save(data, results.prepared("circles"))
    return data


@pytest.mark.slow
def test_the_table_comes_from_the_journal_the_second_time_and_no_result_is_written(
    prepared: datasets.Dataset,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def away(*_: object) -> InProcess:
        raise AssertionError("an executor is needed, so a run is trained again")

    monkeypatch.setattr("pipeline.execution.on_demand.LocalExecutor", InProcess)
    article.main(["circles"])
    first, announced = capsys.readouterr()
    assert "circles: trains 12 of 12 runs of 2 epochs; Ctrl-C stops it" in announced
    monkeypatch.setattr("pipeline.execution.on_demand.LocalExecutor", away)
    article.main(["circles"])
    second, announced = capsys.readouterr()
    assert second == first
    assert "trains" not in announced
    assert not results.RESULTS.exists()
    assert not results.MODELS.exists()
    own, fresh = first.split("\n\n")
    assert own.startswith("circles, the article's own points: 2 runs each, 95 % intervals")
    assert fresh.startswith("circles, fresh draws, which the article never saw: 2 runs each")
    assert re.search(r"activity_l1_before \(as run then\) .* 96 / 82 ", own)
    assert "96 / 82" not in fresh  # the article printed numbers of its own points
    for block in (own, fresh):
        assert "activity_l1_before_today (as the code runs today)" in block
        assert "l2 " not in block  # no article has it
    # `train` finds the same runs, so it trains none of them again.
    settings = loading.load()
    study = settings.study("circles")
    plan = Plan("circles", prepared.digest, study, settings.seed, settings.engine, prepared.task)
    assert {*Journal("circles").states(rounds.article_runs(plan))} == {"kept"}


def test_a_study_without_settings_of_an_article_is_refused(prepared: datasets.Dataset) -> None:
    given = yaml.safe_load(Path(loading.FILE).read_text(encoding="utf-8"))
    given["studies"]["circles"]["techniques"] = {"none": {}, "l2": {}}
    Path(loading.FILE).write_text(yaml.safe_dump(given), encoding="utf-8")
    with pytest.raises(UserError, match="circles: no technique has an `article` setting"):
        article.main(["circles"])


def test_a_batch_that_the_prepared_data_lack_is_refused(prepared: datasets.Dataset) -> None:
    given = yaml.safe_load(Path(loading.FILE).read_text(encoding="utf-8"))
    given["studies"]["circles"]["data"]["train"] = 300  # and not prepared again
    given["studies"]["circles"]["training"]["batch_size"] = 256
    Path(loading.FILE).write_text(yaml.safe_dump(given), encoding="utf-8")
    with pytest.raises(UserError, match=r"studies\.circles\.training\.batch_size: .* 256"):
        article.main(["circles"])


@pytest.mark.slow
def test_a_run_that_failed_is_told_and_not_left_out(
    prepared: datasets.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Deadly(InProcess):
        def submit(self, slot: int, job: Job[Answer]) -> Work[Answer]:
            if not isinstance(job, Train):
                return super().submit(slot, job)
            work: Work[Answer] = Work()
            work.set_exception(WorkerDied("worker died (signal 9)"))
            return work

    monkeypatch.setattr("pipeline.execution.on_demand.LocalExecutor", Deadly)
    with pytest.raises(UserError, match=r"circles: 12 of 12 runs failed \(worker died"):
        article.main(["circles"])


def test_means_and_gains_are_students_over_pairs() -> None:
    random, rows = np.random.default_rng(0), []
    for replicate in range(6):
        drawn = random.normal(0.75, 0.05)
        for name, more in (("none", 0.0), ("activity_l1_before", 0.04)):
            score = {part: drawn + more + random.normal(0, 0.01) for part in ("train", "test")}
            rows.append(
                {"study": "circles", "task": "classification", "technique": name}
                | {"setting": "article", "search": 0, "replicate": replicate, "seed": replicate}
                | {"overlap": 0.0, **{f"{part}_accuracy": score[part] for part in score}}
            )
    runs = pd.DataFrame(rows)
    told = tables.table(runs).replace("\N{MINUS SIGN}", "-").splitlines()
    by_name = {line.split()[0]: line for line in told[3:]}
    scores = runs.pivot_table(index="replicate", columns="technique", values="test_accuracy")
    gain = scores["activity_l1_before"] - scores["none"]
    for name, values, sign in (
        ("none", scores["none"], ""),
        ("activity_l1_before", scores["activity_l1_before"], ""),
        ("activity_l1_before", gain, "+"),
    ):
        low, high = stats.t.interval(0.95, 5, values.mean(), stats.sem(values))
        mean, low, high = (f"{100 * x:{sign}.1f}" for x in (values.mean(), low, high))
        assert f"{mean} [{low}, {high}]" in by_name[name]
