"""A task says all that depends on it: a further one needs no change where runs are compared."""

import pickle
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline import datasets
from pipeline.analysis import comparison, summary
from pipeline.analysis.claims import CLAIMS
from pipeline.analysis.judging import judge
from pipeline.config import loading, sections
from pipeline.datasets import Dataset
from pipeline.datasets import task as tasks
from pipeline.datasets.task import (
    CLASSIFICATION,
    LOSS,
    RECONSTRUCTION,
    TASKS,
    Measure,
    Target,
    Task,
    Wording,
)
from pipeline.errors import UserError
from pipeline.models.architectures import Autoencoder
from pipeline.stages.train import _line
from pipeline.training.measures import MEASURED
from pipeline.training.runs import Plan

from .synthetic import make_runs

over_tasks = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)


def _one_value(_: int, __: tuple[int, ...]) -> tuple[int, None]:
    return 1, None


TEMPERATURE = Task(
    name="temperature",
    target=Target("float32"),
    output=_one_value,
    loss="mean squared error",
    scores=(Measure("rmse", better="lower", own_unit="K"), LOSS),
    worst=inf,
    own=(Measure("largest_error", better="lower", own_unit="K", averaged=True),),
    wording=Wording("predict a temperature", aim="a small error"),
)


@pytest.fixture
def temperatures(monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """Runs of a task that the package does not know; l2 has the smallest errors."""
    monkeypatch.setattr(tasks, "TASKS", {**TASKS, "temperature": TEMPERATURE})
    runs = make_runs({"none": 0.0, "l2": 0.03, "l1": -0.05})
    of_classes = [
        name
        for name in CLASSIFICATION.measures
        if name in runs and name not in RECONSTRUCTION.measures
    ]
    errors = {f"{part}_rmse": 1 - runs[f"{part}_accuracy"] for part in ("train", "val", "test")}
    gap = errors["test_rmse"] - errors["train_rmse"]
    return runs.drop(columns=of_classes).assign(
        task="temperature", **errors, gap=gap, largest_error=3 * errors["test_rmse"]
    )


def test_a_further_task_is_summarized_and_compared_by_its_own_score(
    temperatures: pd.DataFrame,
) -> None:
    table = summary.summarize(temperatures)
    finding = summary.find(table)
    assert (finding.measure.name, finding.better, finding.worse) == ("test_rmse", ("l2",), ("l1",))
    assert table.loc[table["outcome"] == "largest_error", "mean"].notna().all()
    assert not [name for name in table["outcome"] if "accuracy" in name]
    found = comparison.compare(temperatures, "l2", "none")
    assert comparison.verdict(found).startswith("l2 is better than none: its test rmse is lower by")
    assert " K [" in comparison.text(found)


def test_a_further_task_is_told_by_its_own_score(temperatures: pd.DataFrame) -> None:
    line = _line("l2", temperatures.to_dict("records"))  # type: ignore[arg-type]
    assert line.startswith("l2: 10 tuned runs, mean test rmse 0.")


def test_claims_are_about_classifiers(temperatures: pd.DataFrame) -> None:
    claim = next(claim for claim in CLAIMS if claim.id == "B1")
    runs = temperatures.assign(setting="article")
    verdict = judge(claim, dict.fromkeys(claim.studies, runs))
    assert verdict.word == "not run"
    assert verdict.notes == (
        f"the models of {claim.studies[0]} predict a temperature, and the claim is about accuracy",
    )


@over_tasks
def test_the_loss_is_scored_and_the_score_is_measured(task: Task) -> None:
    names = {f"{part}_{score}" for part in ("train", "val", "test") for score in ("loss",)}
    assert names | {*task.headlines, "seconds"} <= task.measures.keys()
    assert task.score.better
    assert {name for name, measure in task.measures.items() if measure.name != name} == set()


@over_tasks
def test_the_worst_score_ranks_last(task: Task) -> None:
    good, better = sorted([0.4, 0.6], reverse=task.val.better == "lower")
    one = {"val_loss": 0.5, task.val.name: good}
    assert task.rank({"val_loss": 0.9, task.val.name: better}) < task.rank(one)
    assert task.rank(one) < task.rank({})


@over_tasks
def test_the_gap_is_positive_where_training_data_do_better(task: Task) -> None:
    better, worse = sorted([0.2, 0.7], reverse=task.score.better == "higher")
    assert task.gap({task.train.name: better, task.test.name: worse}) == pytest.approx(0.5)


def test_every_task_is_found_by_its_name_and_its_models_are_measured() -> None:
    assert [task.name for task in TASKS.values()] == list(TASKS) == list(MEASURED)
    with pytest.raises(UserError, match="unknown task 'clasification'; did you mean"):
        tasks.named("clasification")


@pytest.mark.parametrize(
    ("n_classes", "expected"), [(2, (1, "sigmoid")), (3, (3, "softmax")), (10, (10, "softmax"))]
)
def test_labels_have_one_unit_for_two_classes_and_one_each_for_more(
    n_classes: int, expected: tuple[int, str]
) -> None:
    assert CLASSIFICATION.output(n_classes, (8, 8)) == expected


def test_of_a_reconstruction_the_example_is_the_target() -> None:
    task = TASKS["reconstruction"]
    assert task.target.shape((8, 8)) == (8, 8)
    assert task.output(10, (8, 8)) == (64, None)
    assert not task.labels


def test_the_task_is_stored_with_the_data(tmp_path: Path) -> None:
    rows = np.zeros((1, 1), np.int32)
    parts: Any = {"train": rows, "val": rows, "test": rows}
    splits: Any = {"article": parts, "leak_free": parts}
    x, y = np.zeros((1, 2), np.float32), np.zeros(1, np.int32)
    data = Dataset("toy", 2, x, y, splits, task=RECONSTRUCTION)
    datasets.save(data, tmp_path / "toy.npz")
    assert datasets.load(tmp_path / "toy.npz").task == RECONSTRUCTION
    assert replace(data, task=CLASSIFICATION).digest == data.digest  # of what the rows are made


def test_runs_have_the_task_of_the_data_unless_the_architecture_has_its_own() -> None:
    study = loading.load().study("digits")
    plan = Plan("digits", "digest", study, 1, sections.Engine(), RECONSTRUCTION)
    run = plan.tuned("none", {}, 0)[0]
    assert run.task == RECONSTRUCTION
    usual = replace(plan, data_task=CLASSIFICATION)
    assert usual.tuned("none", {}, 0)[0].task == CLASSIFICATION
    assert usual.tuned("none", {}, 0)[0].key != run.key
    autoencoder = replace(study, model=Autoencoder("autoencoder", (4,), code=2))
    own = replace(usual, study=autoencoder).tuned("none", {}, 0)[0]
    assert own.task == RECONSTRUCTION
    assert pickle.loads(pickle.dumps(own)) == own  # as a worker gets it


def test_a_run_says_whether_its_technique_stops_early() -> None:
    plan = Plan("circles", "digest", loading.load().study("circles"), 1, sections.Engine())
    assert all(run.stops_early for run in plan.tuned("early_stopping", {"patience": 3}, 0))
    assert not any(run.stops_early for run in plan.tuned("none", {}, 0))


def test_a_measure_that_no_run_has_is_not_shown() -> None:
    runs = make_runs({"none": 0.0, "l2": 0.03})
    fewer = runs.drop(columns=["kernel_norm", "calibration_error", "test_loss", "collapsed"])
    whole, part = summary.summarize(runs), summary.summarize(fewer)
    lost = ["calibration_error", "kernel_norm", "test_loss"]
    assert sorted(set(whole["outcome"]) - set(part["outcome"])) == lost
    kept = whole[~whole["outcome"].isin(lost)].reset_index(drop=True)
    same = [name for name in part if name != "collapsed"]
    pd.testing.assert_frame_equal(part[same], kept[same])
    assert part["collapsed"].isna().all()
    assert "kernel_norm" not in comparison.measures(fewer)


def test_runs_of_two_tasks_are_refused() -> None:
    runs = make_runs({"none": 0.0, "l2": 0.03})
    runs["task"] = np.where(runs["seed"] > 4, "reconstruction", "classification")
    with pytest.raises(UserError, match="one task, but have classification, reconstruction"):
        summary.summarize(runs)


def test_a_measure_is_told_in_its_unit() -> None:
    share, seconds = CLASSIFICATION.test, CLASSIFICATION.measures["seconds"]
    assert (share.told(0.755), seconds.told(2.5)) == ("75.50 %", "2.5 s")
    assert (share.difference_unit, seconds.difference_unit) == (" points", " s")
    assert replace(seconds, own_unit="").told(2.5) == "2.5"
    assert share.told(None) == "diverged"
