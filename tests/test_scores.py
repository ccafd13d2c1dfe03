"""A study goes by the score that params.yaml names: search, choice, comparison, headline."""

import json
import shutil
import warnings
from dataclasses import replace
from math import inf, isnan, nan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn import metrics

from pipeline import datasets, results
from pipeline.config import loading
from pipeline.datasets import Dataset, sources
from pipeline.datasets.circles import CirclesData
from pipeline.datasets.task import (
    CLASSIFICATION,
    RECONSTRUCTION,
    REGRESSION,
    SCORES,
    TASKS,
    Task,
    named,
    scored,
)
from pipeline.engine import Engine
from pipeline.errors import UserError
from pipeline.execution import devices
from pipeline.stages import report, train, tune
from pipeline.training.measures import errors
from pipeline.training.scores import Told, further
from pipeline.training.trainer import Trainer

from .clone import tiny
from .test_leaks import InProcess, Nowhere
from .test_regression import dataset as numbers
from .test_regression import plan

ALL = scored(CLASSIFICATION, "accuracy").scores
CHOICES = [(TASKS[kind], score) for kind, names in SCORES.items() for score in names]
over_scores = pytest.mark.parametrize(("task", "score"), CHOICES, ids=[name for _, name in CHOICES])


@over_scores
def test_a_task_goes_by_the_score_and_is_read_back_by_its_name(task: Task, score: str) -> None:
    given = scored(task, score)
    assert given.score.name == ("loss" if score == "log_loss" else score)
    assert named(given.name) is given
    assert given.kind == task.kind
    assert scored(given, score) is given
    columns = {"loss" if name == "log_loss" else name for name in SCORES[task.kind]}
    assert {each.name for each in given.scores} == columns | {"loss"}  # each of them once
    assert len(given.scores) == len(columns | {"loss"})
    assert {*given.headlines} <= given.measures.keys()
    assert given.direction == ("minimize" if score in ("log_loss", "rmse", "mae") else "maximize")


@over_scores
def test_an_undefined_score_is_the_worst_one(task: Task, score: str) -> None:
    given = scored(task, score)
    for known in (0.2, 0.7):
        assert given.rank({given.val.name: known, "val_loss": 9.0}) < given.rank(
            {given.val.name: nan, "val_loss": 0.1} if given.val.name != "val_loss" else {}
        )
    assert given.known(nan) == given.known(None) == given.worst


@over_scores
def test_curves_are_those_that_training_has(task: Task, score: str) -> None:
    own = {"classification": "accuracy", "regression": "rmse"}[task.kind]
    curves = {f"{part}_{name}" for part in ("train", "val") for name in (own, "loss")}
    assert {*scored(task, score).curves} <= curves


def test_names_tell_the_score_and_old_ones_stay() -> None:
    assert scored(CLASSIFICATION, "roc_auc").name == "classification/roc_auc"
    assert scored(REGRESSION, "mae").name == "regression/mae"
    assert scored(REGRESSION, "rmse") is REGRESSION is named("regression")
    assert named("classification") is CLASSIFICATION
    titles = [scored(CLASSIFICATION, name).val.title for name in SCORES["classification"]]
    assert titles == [
        *("validation accuracy", "validation balanced accuracy", "validation log loss"),
        *("validation ROC AUC", "validation F1"),
    ]


@pytest.mark.parametrize(
    ("task", "score", "expected"),
    [
        (CLASSIFICATION, "auc", "unknown score 'auc' of a classification; .*expected one of acc"),
        (REGRESSION, "accuracy", "unknown score 'accuracy' of a regression; expected one of rmse"),
        (RECONSTRUCTION, "rmse", "unknown score 'rmse' of a reconstruction; it has no scores"),
    ],
)
def test_a_score_that_the_task_lacks_is_refused(task: Task, score: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        scored(task, score)


def told(classes: int, n: int = 200, seed: int = 0) -> Told:
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, n, p=[0.7, *[0.3 / (classes - 1)] * (classes - 1)])
    raw = rng.random((n, classes)) + 0.4 * np.eye(classes)[labels]
    p = (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32)
    outputs = p[:, 1:] if classes == 2 else p
    return Told(labels.astype(np.int32), p.argmax(axis=1), outputs)


def test_scores_of_two_classes_are_scikit_learns() -> None:
    given = told(2)
    found = further(ALL, given)
    true = given.labels, given.classes
    assert found == pytest.approx(
        {
            "balanced_accuracy": metrics.recall_score(*true, average="macro"),
            "roc_auc": metrics.roc_auc_score(given.labels, given.probabilities[:, 0]),
            "f1": metrics.f1_score(*true, pos_label=1),
        }
    )


def test_scores_of_more_classes_are_means_over_them() -> None:
    given = told(4)
    found = further(ALL, given)
    of_each = [
        (
            metrics.roc_auc_score(given.labels == label, given.probabilities[:, label]),
            metrics.recall_score(given.labels == label, given.classes == label),
            metrics.f1_score(given.labels == label, given.classes == label),
        )
        for label in range(4)
    ]
    auc, recall, f1 = np.mean(of_each, axis=0)
    assert found == pytest.approx({"balanced_accuracy": recall, "roc_auc": auc, "f1": f1})


def test_errors_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(100, 5, 50)
    predicted = y + rng.normal(size=50)
    assert errors("val", predicted, y, 5.0) == pytest.approx(
        {
            "val_rmse": metrics.root_mean_squared_error(y, predicted),
            "val_mae": metrics.mean_absolute_error(y, predicted),
            "val_r2": metrics.r2_score(y, predicted),
            "val_loss": metrics.mean_squared_error(y, predicted) / 25,
        }
    )


@pytest.mark.parametrize("classes", [2, 3])
def test_without_a_class_scores_are_undefined_and_nothing_is_warned(classes: int) -> None:
    given = told(classes)
    kept = given.labels > 0 if classes == 2 else given.labels < classes - 1
    part = Told(given.labels[kept], given.classes[kept], given.probabilities[kept])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = further(ALL, part)
        broken = given._replace(probabilities=np.full_like(given.probabilities, np.nan))
        diverged = further(ALL, broken)
    assert found.keys() == {"balanced_accuracy", "roc_auc", "f1"}
    assert all(map(isnan, found.values()))
    assert isnan(diverged["roc_auc"])


def test_the_usual_task_measures_what_it_did() -> None:
    assert further(CLASSIFICATION.scores, told(2)) == {}
    assert [score.name for score in CLASSIFICATION.scores] == ["accuracy", "loss"]


# A whole study

TECHNIQUES: dict[str, dict[str, Any]] = {"none": {}, "l2": {}}
ROOT = Path.cwd()


def study(folder: Path, data: dict[str, Any], made: Dataset | None = None) -> Path:
    """The results of tune, train and report of circles with these keys in `data`."""
    given = tiny(yaml.safe_load((ROOT / loading.FILE).read_text(encoding="utf-8")))
    own = given["studies"]["circles"]
    own |= {"techniques": TECHNIQUES, "outcomes": [], "final": {"replicates": 3}}
    own["data"] |= {"test": 200, "draws": 3} | data
    own["training"]["epochs"] = 4
    own["tuning"] |= {"trials": 4, "epochs": 4, "seeds": 2, "round": 2}
    own["tuning"] |= {"race": [], "pruning": {"first": 2, "factor": 2}}
    own["model"]["hidden"] = [16]
    text = yaml.safe_dump(given | {"studies": {"circles": own}})
    (folder / loading.FILE).write_text(text, encoding="utf-8")
    shutil.copytree(ROOT / "data/sources", folder / "data/sources")
    with pytest.MonkeyPatch.context() as patched:
        for stage in (tune, train):
            patched.setattr("pipeline.execution.on_demand.LocalExecutor", InProcess)
            patched.setattr(stage, "Tracker", Nowhere)
        patched.setattr(devices, "cores", lambda: 1)  # figures are drawn without helpers
        patched.chdir(folder)
        section = loading.load().study("circles").data
        made = made or sources.prepare("circles", section, 0, Path("nowhere"))
        datasets.save(made, results.prepared("circles"))
        for stage in (tune, train, report):
            stage.main(["circles"])
    return folder / results.RESULTS / "circles"


@pytest.fixture(scope="module")
def by_auc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return study(tmp_path_factory.mktemp("auc"), {"score": "roc_auc"})


@pytest.fixture(scope="module")
def by_mae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    task = scored(REGRESSION, "mae")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(CirclesData, "trained_for", task)
        data = replace(numbers(draws=3), name="circles", task=task)
        return study(tmp_path_factory.mktemp("mae"), {}, data)


STUDIES = [("by_auc", "roc_auc", "ROC AUC", 1), ("by_mae", "mae", "mae", -1)]


@pytest.mark.slow
@pytest.mark.parametrize(("home", "score", "title", "sign"), STUDIES)
def test_a_study_is_chosen_and_told_by_its_score(
    home: str, score: str, title: str, sign: int, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(home)
    tuned = json.loads((folder / "tuned.json").read_text(encoding="utf-8"))
    trials = pd.read_csv(folder / "trials.csv")
    name = f"val_{score}"
    assert tuned["task"].endswith(f"/{score}")
    assert trials[name].notna().all()  # those that were pruned too
    for technique, entry in tuned["techniques"].items():
        for number, search in enumerate(entry["searches"]):
            own = trials[(trials["technique"] == technique) & (trials["search"] == number)]
            complete = own[own["state"] == "complete"].set_index("trial")
            assert search[name] == (sign * complete[name]).max() * sign
            assert search["trial"] in complete.index[complete[name] == search[name]]
    table = pd.read_csv(folder / "summary.csv")
    primary = table[table["role"] == "primary"]
    assert set(primary["outcome"]) == {f"test_{score}"}
    runs = results.read_runs(folder)
    means = runs.groupby("technique")[f"test_{score}"].mean()
    assert primary.set_index("technique")["mean"].to_dict() == pytest.approx(means.to_dict())
    gap = sign * (runs[f"train_{score}"] - runs[f"test_{score}"])
    assert runs["gap"].to_numpy() == pytest.approx(gap.to_numpy())
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert f"test {title}" in page.split("<h2")[0]  # the headline
    advice = json.loads((folder / "advice.json").read_text(encoding="utf-8"))
    assert f"test {title}" in advice["text"]
    best = primary["mean"].max() if sign > 0 else primary["mean"].min()
    assert best in list(primary["mean"])


@pytest.mark.slow
@pytest.mark.parametrize(("home", "followed"), [("by_auc", "accuracy"), ("by_mae", "rmse")])
def test_curves_and_plots_are_of_the_score_that_training_follows(
    home: str, followed: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(home)
    shown = pd.read_csv(folder / "plots" / "curves.csv")
    assert {f"train_{followed}", f"val_{followed}", "val_loss"} <= {*shown.columns}
    assert (shown["validation"] == shown[f"val_{followed}"]).all()
    assert (folder / f"figures/{followed}-tuned.png").exists()
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert f"{followed.capitalize()} in training and validation" in page


@pytest.mark.slow
@pytest.mark.parametrize("score", ["mae", "r2"])
def test_a_trials_score_is_that_of_a_final_run_with_the_same_weights(score: str) -> None:
    data = replace(numbers(), task=scored(REGRESSION, score))
    run = plan(data, epochs=3).tuned("none", {}, 1)[0]
    trial, trainer = replace(run, setting="trial"), Trainer(data, Engine())
    (final,), (tried,) = (trainer.run([each], [None]) for each in (run, trial))
    assert tried.trained[f"val_{score}"] == pytest.approx(final.measures[f"val_{score}"], rel=1e-5)
    assert f"val_{score}" not in final.trained  # which its model decides


@pytest.mark.slow
def test_a_classifiers_trial_is_scored_by_its_probabilities() -> None:
    data, task = numbers(), scored(CLASSIFICATION, "roc_auc")
    labels = (data.y > data.y.mean()).astype(np.int32)
    data = replace(data, n_classes=2, y=labels, task=task)
    run = plan(data, epochs=3).tuned("l2", {"strength": 0.01}, 1)[0]
    trainer = Trainer(data, Engine())
    trials = [replace(run, setting="trial", seed=seed) for seed in (1, 2)]
    others = trainer.run(trials, [None, None])
    assert len({other.trained["val_roc_auc"] for other in others}) == 2
    for trial, tried in zip(trials, others, strict=True):
        (final,) = trainer.run([replace(trial, setting="tuned")], [None])
        assert tried.trained["val_roc_auc"] == final.measures["val_roc_auc"]
        _, y = data.split("leak_free", "test", run.draw)
        assert final.probabilities is not None
        auc = metrics.roc_auc_score(y, final.probabilities[:, 0])
        assert final.measures["test_roc_auc"] == auc
        assert final.measures["gap"] == final.measures["train_roc_auc"] - auc


def test_the_code_that_scores_trials_is_in_their_keys_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = numbers()
    usual, by_mae = (plan(replace(data, task=scored(REGRESSION, name))) for name in ("rmse", "mae"))

    def keys() -> list[str]:
        runs = [each.trial("none", {}, 0, 0) for each in (usual, by_mae)]
        return [run.key for run in (*runs, by_mae.tuned("none", {}, 0)[0])]

    before = keys()
    monkeypatch.setattr("pipeline.training.runs.scoring_digest", lambda: "other code")
    assert [a == b for a, b in zip(before, keys(), strict=True)] == [True, False, True]


@pytest.mark.parametrize("score", ["rmse", "acuracy"])
def test_params_name_the_scores_of_the_task(score: str) -> None:
    given = yaml.safe_load(Path(loading.FILE).read_text(encoding="utf-8"))
    given["studies"]["circles"]["data"]["score"] = score
    expected = rf"studies.circles.data.score: unknown score '{score}' of a classification"
    with pytest.raises(UserError, match=expected):
        loading.parse(given)


def test_the_worst_scores_are_on_the_side_of_the_direction() -> None:
    assert scored(REGRESSION, "r2").worst == -inf
    assert scored(CLASSIFICATION, "log_loss").worst == inf == scored(REGRESSION, "mae").worst
    assert scored(CLASSIFICATION, "roc_auc").worst == 0
