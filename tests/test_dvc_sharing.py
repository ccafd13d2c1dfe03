"""Results travel by a DVC remote, and experiments and plots compare them."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from sklearn.datasets import load_digits

from pipeline import datasets, results
from pipeline.stages import publish
from pipeline.tracking.store import model_name

from .browser import SHOTS, chromium, needed
from .clone import Clone

CURVES = "results/digits/plots/curves.csv"
TARGET = "report@digits"
EPOCHS = 12  # for curves that can be seen


def only_two_techniques(params: dict[str, Any]) -> dict[str, Any]:
    study = params["studies"]["digits"]
    study["techniques"] = {name: study["techniques"][name] for name in ("none", "l2")}
    study["training"]["epochs"] = study["tuning"]["epochs"] = EPOCHS
    study["tuning"]["pruning"] = None
    return params


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Clone:
    """A clone that has studied digits, pushed it to a folder, and committed dvc.lock."""
    clone = Clone(tmp_path_factory.mktemp("studied"))
    clone.edit(only_two_techniques)
    shutil.copy(empty_database, clone.folder / "mlflow.db")
    remote = str(tmp_path_factory.mktemp("remote"))
    clone.run("dvc", "remote", "add", "--default", "shared", remote)
    clone.commit("The project")
    clone.run("dvc", "repro", TARGET)
    clone.run("dvc", "push")
    clone.commit("Results of digits")
    return clone


@pytest.fixture(scope="module")
def fresh(studied: Clone, tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Clone:
    """A git clone of what was studied, with everything that DVC pulls."""
    fresh = Clone.of(studied, tmp_path_factory.mktemp("cloned") / "fresh")
    fresh.run("dvc", "pull", "--with-deps", TARGET)
    shutil.copy(empty_database, fresh.folder / "mlflow.db")
    return fresh


@pytest.mark.slow
def test_a_fresh_clone_pulls_everything_and_trains_nothing(fresh: Clone) -> None:
    assert fresh.run("dvc", "status", "--with-deps", TARGET).strip().endswith("are up to date.")
    assert fresh.ran(TARGET) == set()
    runs = pd.read_csv(fresh.folder / "results/digits/runs.csv")
    assert all((fresh.folder / path).exists() for path in runs["model"].dropna())

    trials = pd.read_csv(fresh.folder / "results/digits/trials.csv")
    expected = f"digits: {len(runs) + len(trials)} runs added, 0 already in MLflow\n"
    assert fresh.run("python", "-m", "pipeline", "publish") == expected
    client = MlflowClient(f"sqlite:///{fresh.folder}/mlflow.db")
    experiment = client.get_experiment_by_name("regularization/digits")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    assert {run.data.tags["unit_key"] for run in found if "unit_key" in run.data.tags} == {
        *runs["key"],
        *trials["key"],
    }


@pytest.fixture
def store(fresh: Clone, monkeypatch: pytest.MonkeyPatch) -> str:
    """The store of the fresh clone, which is the working folder, with all runs published."""
    uri = f"sqlite:///{fresh.folder}/mlflow.db"
    monkeypatch.chdir(fresh.folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    publish.main(["digits"])
    return uri


@pytest.mark.slow
def test_every_published_model_has_the_test_accuracy_of_runs_csv(store: str) -> None:
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("regularization/digits")
    assert experiment is not None
    models = client.search_logged_models([experiment.experiment_id])
    data = datasets.load(results.prepared("digits"))
    rows = pd.read_csv("results/digits/runs.csv", dtype={"key": str}).set_index("key")
    assert len(models) == rows["model"].count() > 0
    for model in models:
        run = client.get_run(str(model.source_run_id))
        row = rows.loc[run.data.tags["unit_key"]].to_dict()
        x, y = data.split(row["protocol"], "test", row["replicate"])
        loaded = mlflow.pyfunc.load_model(model.model_uri)
        told = loaded.predict(x * 16)["prediction"]  # as scikit-learn has them
        assert np.mean(told.astype(int) == y) == row["test_accuracy"]
        plain = mlflow.keras.load_model(model.model_uri)
        assert np.mean(plain.predict(x, verbose=0).argmax(axis=1) == y) == row["test_accuracy"]
        assert run.data.metrics["test_accuracy"] == row["test_accuracy"]


@pytest.mark.slow
def test_the_champion_predicts_from_the_command_line(fresh: Clone, store: str) -> None:
    name = model_name("digits")
    version = MlflowClient(store).get_model_version_by_alias(name, "champion")
    advised = results.read_advice(results.RESULTS / "digits")
    assert str(version.description).startswith(advised["text"])
    uri = f"models:/{name}@champion"
    images = load_digits().images[:20]
    table, request = fresh.folder / "digits.csv", fresh.folder / "digits.json"
    pd.DataFrame(images.reshape(20, -1)).to_csv(table, index=False)
    request.write_text(json.dumps({"inputs": images.tolist()}), encoding="utf-8")
    model = mlflow.keras.load_model(version.source)
    probabilities = model.predict(images / 16, verbose=0)
    for kind, path in (("csv", table), ("json", request)):
        asked = ("--env-manager", "local", "--model-uri", uri, "--input-path", str(path))
        done = fresh.attempt(
            "mlflow", "models", "predict", *asked, "--content-type", kind, MLFLOW_TRACKING_URI=store
        )
        assert done.returncode == 0, done.stderr
        told = pd.DataFrame(json.loads(done.stdout)["predictions"])
        assert list(told["prediction"]) == [str(each) for each in probabilities.argmax(axis=1)]
        np.testing.assert_allclose(told.drop(columns="prediction"), probabilities, rtol=1e-5)


@pytest.mark.slow
def test_an_experiment_with_more_seeds_is_shown_and_plotted(studied: Clone) -> None:
    before = pd.read_csv(studied.folder / "results/digits/runs.csv").set_index("key")
    change = "studies.digits.final.replicates=3"
    studied.run("dvc", "exp", "run", "--name", "more-seeds", "--set-param", change, TARGET)
    after = pd.read_csv(studied.folder / "results/digits/runs.csv").set_index("key")
    pd.testing.assert_frame_equal(after.loc[before.index], before)  # only new seeds were trained
    assert len(after) == len(before) * 3 / 2

    shown = studied.run("dvc", "exp", "show", "--csv", "--only-changed")
    rows = [line.split(",") for line in shown.splitlines() if line]
    header, row = rows[0], next(row for row in rows if row[0] == "more-seeds")
    assert row[header.index("studies.digits.final.replicates")] == "3"
    assert 0 <= float(row[header.index("baseline")]) <= 1

    studied.commit("A third seed")
    studied.run("dvc", "plots", "diff", "HEAD~1", "HEAD", "--targets", CURVES)
    plotted = spec(studied.folder / "dvc_plots/index.html")
    points = pd.DataFrame(plotted["data"]["values"])
    curves = points.groupby(["technique", "setting", "rev"])["epoch"].nunique()
    assert len(curves) == len(after[["technique", "setting"]].drop_duplicates()) * 2 > 2 * 2
    assert (curves == EPOCHS).all()
    facets = {field["field"] for field in plotted["facet"].values()}
    assert facets == {"technique", "setting"}
    assert plotted["spec"]["encoding"]["color"]["field"] == "rev"


@pytest.mark.slow
@pytest.mark.timeout(600)  # a search and its final runs in a copy that has no journal
def test_a_temporary_experiment_keeps_its_runs_and_can_be_applied(fresh: Clone, store: str) -> None:
    before = MlflowClient(store).get_model_version_by_alias(model_name("digits"), "champion")
    change = "studies.digits.tuning.trials=3"
    fresh.run("dvc", "exp", "run", "--temp", "--name", "longer", "--set-param", change, TARGET)
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("regularization/digits")
    assert experiment is not None
    parents = client.search_runs([experiment.experiment_id], "tags.asked = 'longer'")
    assert {"l2 · tune · longer", "l2 · train · longer"} <= {run.info.run_name for run in parents}
    assert {run.info.status for run in parents} <= {"FINISHED", "KILLED"}
    champion = client.get_model_version_by_alias(model_name("digits"), "champion")
    assert champion.version == before.version
    assert client.get_model_version_by_alias(model_name("digits"), "champion-longer")

    fresh.run("python", "-m", "pipeline", "apply", "longer")
    assert fresh.ran(TARGET) == set()
    keys = {*pd.read_csv(fresh.folder / "results/digits/runs.csv")["key"]}
    held = {run.data.tags.get("unit_key") for run in client.search_runs([experiment.experiment_id])}
    assert keys <= held
    told = fresh.run("python", "-m", "pipeline", "publish", "digits")
    assert ": 0 runs added" in told
    shown = client.search_runs([experiment.experiment_id], "tags.comparison = 'params.yaml'")
    assert {run.info.run_name for run in shown} == {"none · train · longer", "l2 · train · longer"}


@pytest.mark.slow
@needed
def test_plots_are_drawn_without_a_network(studied: Clone) -> None:
    studied.run("dvc", "plots", "diff", "HEAD~1", "HEAD", "--targets", CURVES)
    size = {"width": 1210, "height": 430, "deviceScaleFactor": 1, "mobile": False}
    with chromium({"performance": "ALL", "browser": "ALL"}, size=(1210, 600)) as browser:
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get((studied.folder / "dvc_plots/index.html").as_uri())
        drawn = "canvas.marks, svg.marks"
        wait: Any = WebDriverWait(browser, 60)
        wait.until(lambda b: b.find_elements(By.CSS_SELECTOR, drawn))
        SHOTS.mkdir(exist_ok=True)
        browser.save_screenshot(str(SHOTS / "dvc-plots.png"))
        told: Any = browser
        events = [json.loads(entry["message"])["message"] for entry in told.get_log("performance")]
        assert told.get_log("browser") == []
    sent = [each for each in events if each["method"] == "Network.requestWillBeSent"]
    addresses = [each["params"]["request"]["url"] for each in sent]
    assert addresses
    assert all(address.startswith(("file:", "data:", "blob:")) for address in addresses)


def spec(page: Path) -> dict[str, Any]:
    """The Vega-Lite plot of a page by DVC."""
    found = re.search(r"var spec = (\{.*?\});\s*vegaEmbed", page.read_text("utf-8"), re.DOTALL)
    assert found is not None
    plot: dict[str, Any] = json.loads(found[1])
    return plot
