"""A whole study of an autoencoder: whatever goes by accuracy for classifiers goes by the loss."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml

from pipeline import datasets, results
from pipeline.analysis.claims import CLAIMS
from pipeline.analysis.judging import judge
from pipeline.config import loading
from pipeline.datasets.sources import prepare
from pipeline.datasets.task import CLASSIFICATION, RECONSTRUCTION
from pipeline.stages import overview, publish, report, train, tune
from pipeline.tracking.champion import CHAMPION, ranked
from pipeline.tracking.store import experiment_name, model_name, tracking_uri

from . import store
from .clone import tiny
from .synthetic import make_runs
from .test_leaks import InProcess, Nowhere

NAME = "digits"
MODEL = {"architecture": "autoencoder", "hidden": [16], "code": 6}
TECHNIQUES: dict[str, dict[str, Any]] = {
    "none": {"article": {}},
    "activity_l1_after": {"search": {"strength": {"low": 0.001, "high": 1, "log": True}}},
    "early_stopping_loss": {"search": {"patience": {"low": 1, "high": 3, "integer": True}}},
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The results of tune, train and report; in params.yaml the model and techniques differ."""
    folder = tmp_path_factory.mktemp("study")
    given = tiny(yaml.safe_load(Path(loading.FILE).read_text(encoding="utf-8")))
    study = given["studies"][NAME] | {"model": MODEL, "techniques": TECHNIQUES, "outcomes": []}
    study["tuning"] |= {"trials": 4, "round": 2, "epochs": 4, "pruning": {"first": 2, "factor": 2}}
    written = yaml.safe_dump(given | {"studies": {NAME: study}})
    (folder / loading.FILE).write_text(written, encoding="utf-8")
    shutil.copytree("data/sources", folder / "data/sources")
    with pytest.MonkeyPatch.context() as patched:
        for stage in (tune, train):
            patched.setattr("pipeline.execution.on_demand.LocalExecutor", InProcess)
            patched.setattr(stage, "Tracker", Nowhere)
        patched.chdir(folder)
        data = prepare(NAME, loading.load().study(NAME).data, 0, Path("nowhere"))
        datasets.save(data, results.prepared(NAME))
        for stage in (tune, train, report):
            stage.main([NAME])
        yield folder / results.RESULTS / NAME


def test_no_table_has_an_accuracy(home: Path) -> None:
    runs = pd.read_csv(home / "runs.csv")
    tables = [runs, pd.read_csv(home / "trials.csv"), pd.read_parquet(home / "curves.parquet")]
    assert not [name for table in tables for name in table.columns if "accuracy" in name]
    summary = pd.read_csv(home / "summary.csv")
    outcomes = summary["outcome"]
    assert not outcomes.str.contains("accuracy|calibration").any()
    assert summary.loc[outcomes == "code_zero_activations", "mean"].between(0, 1).all()
    measured = runs.drop(columns=["params.strength", "params.patience", "mlflow_run_id"])
    assert np.isfinite(measured.select_dtypes("number")).all(axis=None)


def test_the_lowest_validation_loss_is_chosen(home: Path) -> None:
    tuned = json.loads((home / "tuned.json").read_text(encoding="utf-8"))
    trials = pd.read_csv(home / "trials.csv")
    assert tuned["task"] == "reconstruction"
    for name, found in tuned["techniques"].items():
        for number, search in enumerate(found["searches"]):
            own = trials[(trials["technique"] == name) & (trials["search"] == number)]
            complete = own[own["state"] == "complete"].set_index("trial")
            last = complete[complete["draws"] == complete["draws"].max()]["val_loss"]
            assert search["trial"] == last.idxmin()
            assert len(own) > len(complete)  # and others were pruned
    losses = {
        name: np.mean([search["val_loss"] for search in found["searches"]])
        for name, found in tuned["techniques"].items()
    }
    advice = json.loads((home / "advice.json").read_text(encoding="utf-8"))
    assert advice["by_validation"] == min(losses, key=lambda name: losses[name])
    for name in TECHNIQUES:
        kept = [run["val_loss"] for run in ranked(results.read_runs(home), name)]
        assert kept == sorted(kept)
        assert kept


def test_techniques_are_compared_by_the_test_loss(home: Path) -> None:
    runs = pd.read_csv(home / "runs.csv").query("setting == 'tuned'")
    losses = runs.pivot(index="seed", columns="technique", values="test_loss")
    table = pd.read_csv(home / "summary.csv").query("setting == 'tuned' and role == 'primary'")
    assert set(table["outcome"]) == {"test_loss"}
    table = table.set_index("technique")
    for name in set(TECHNIQUES) - {"none"}:
        difference = losses[name] - losses["none"]
        assert table.loc[name, "difference"] == pytest.approx(difference.mean())
        assert table.loc[name, "improvement"] == pytest.approx(
            np.mean((difference < 0) + 0.5 * (difference == 0))
        )
    gaps = runs["test_loss"] - runs["train_loss"]
    assert runs["gap"].to_numpy() == pytest.approx(gaps.to_numpy())
    page = (home / "report.html").read_text(encoding="utf-8")
    assert "accuracy" not in page
    assert "test loss" in page


def test_claims_about_accuracy_are_not_judged_on_reconstructions() -> None:
    techniques = {s.technique for c in CLAIMS for each in c.statements for s in each.sides}
    runs = make_runs(dict.fromkeys(techniques, 0.0), seeds=6, setting="article", dataset=NAME)
    runs = runs.assign(task="reconstruction")
    of_classes = {
        name
        for name, measure in CLASSIFICATION.measures.items()
        if RECONSTRUCTION.measures.get(name) != measure
    }
    judged = []
    for claim in CLAIMS:
        measures = {each.measure for each in claim.statements}
        if measures and claim.setting == "article" and measures <= {*runs.columns}:
            verdict = judge(replace(claim, studies=(NAME,)), {NAME: runs})
            assert (verdict.word == "not run") == bool(measures & of_classes)
            judged.append(verdict.word)
    assert {word == "not run" for word in judged} == {True, False}


def test_measures_are_those_of_the_exported_model(home: Path) -> None:
    runs = pd.read_csv(home / "runs.csv").query("setting == 'tuned' and seed == 0")
    data = datasets.load(home.parents[1] / results.prepared(NAME))
    x, _ = data.split("leak_free", "test", 0)
    sparse = {}
    for run in runs.to_dict("records"):
        model: Any = keras.models.load_model(home.parents[1] / run["model"], safe_mode=True)
        outputs = model.predict(x, verbose=0)
        assert run["test_loss"] == pytest.approx(np.mean(np.square(outputs - x)), rel=1e-4)
        code = keras.Model(model.inputs, model.get_layer("code").output).predict(x, verbose=0)
        assert run["code_zero_activations"] == pytest.approx(np.mean(code == 0))
        assert run["code_mean_activation"] == pytest.approx(np.mean(np.abs(code)), rel=1e-4)
        sparse[run["technique"]] = run["code_mean_activation"]
    assert sparse["activity_l1_after"] < sparse["none"]


def test_it_is_published_and_on_the_overview(home: Path, folder: Path) -> None:
    """The champion, read back from MLflow, reconstructs as runs.csv says."""
    for name in (loading.FILE, "data", "models", "results"):
        (folder / name).symlink_to(home.parents[1] / name)
    publish.main([NAME])
    runs = pd.read_csv(home / "runs.csv").set_index("key")
    found = {run.data.tags["unit_key"]: run for run in store.children(experiment_name(NAME))}
    for key, row in runs.iterrows():
        assert found[str(key)].data.metrics["test_loss"] == row["test_loss"]
    everything = store.runs(experiment_name(NAME))
    assert not [name for run in everything for name in run.data.metrics if "accuracy" in name]

    client = mlflow.MlflowClient(tracking_uri(), tracking_uri())
    version = client.get_model_version_by_alias(model_name(NAME), CHAMPION)
    model = mlflow.pyfunc.load_model(str(version.source))
    data = datasets.load(results.prepared(NAME))
    run = client.get_run(str(version.run_id))
    x, _ = data.split("leak_free", "test", int(run.data.tags["replicate"]))
    error = np.mean(np.square(model.predict(x * 16) / 16 - x))  # it takes what people have
    assert error == pytest.approx(run.data.metrics["test_loss"], rel=1e-5)
    advised = json.loads((home / "advice.json").read_text(encoding="utf-8"))
    assert run.data.tags["technique"] == (advised["technique"] or "none")
    assert str(version.description).startswith(advised["text"])
    assert "lowest validation loss" in str(version.description)

    overview.main([])
    page = (folder / overview.PAGE).read_text(encoding="utf-8")
    assert advised["text"] in page
    assert "validation loss" in page
