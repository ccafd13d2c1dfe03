"""People's own data from a file to an answer: every stage, the model in MLflow, the yardsticks.

One study of a table with all that tables have, chosen by a score of its own, and one regression;
with budgets as small as can be.
"""

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score, root_mean_squared_error

from examples.make_table import ROWS
from pipeline import datasets, results
from pipeline.datasets import Dataset

from .clone import Clone
from .documents import FENCE

pytestmark = pytest.mark.slow

PAGE = Path("docs/own-data.md")
SMALL = {
    "customers": {"score": "roc_auc", "target": "comes_back"},
    "spend": {"score": "rmse", "target": "spend"},
}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Clone:
    """A clone in which both studies were made by new-study and went through DVC.

    customers by the commands of the tutorial, word by word; in between, less is asked of it.
    """
    made = Clone(tmp_path_factory.mktemp("own"))
    shutil.copy(empty_database, made.folder / "mlflow.db")
    made.run("dvc", "remote", "add", "--default", "shared", str(tmp_path_factory.mktemp("remote")))
    make, look, train = tutorial("make_table")
    made.run(*make)
    made.run(*look)
    frame = pd.read_csv(made.folder / "customers.csv")
    spend = (20 + 3 * frame["visits"] + 5 * frame["survey_1"]).round(2)
    frame.drop(columns="comes_back").assign(spend=spend).to_csv(
        made.folder / "spend.csv", index=False
    )
    options = [f"--{key}={value}" for key, value in SMALL["spend"].items()]
    made.run("python", "-m", "pipeline", "new-study", "spend.csv", *options)
    made.edit(_shrunk)
    made.commit("Two studies of my own")
    made.run(*train)
    made.run("dvc", "repro", "report@spend")
    return made


def tutorial(word: str) -> list[list[str]]:
    """The commands of that block of the tutorial which has the word."""
    blocks = [text for _, text in FENCE.findall(PAGE.read_text("utf-8")) if word in text]
    (block,) = blocks
    return [shlex.split(line) for line in block.splitlines()]


@pytest.fixture(autouse=True)
def store(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clone's store is that of MLflow; `set_tracking_uri` would stay set for other tests."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{clone.folder}/mlflow.db")


@pytest.fixture(scope="module")
def project(clone: Clone) -> Path:
    """The clone's folder."""
    return clone.folder


def _shrunk(params: dict[str, Any]) -> dict[str, Any]:
    """Two techniques, few and short trials, three replicates."""
    for name in SMALL:
        study = params["studies"][name]
        study["data"]["score"] = SMALL[name]["score"]
        study["data"]["draws"] = study["final"]["replicates"] = 3
        study["training"]["epochs"] = 12
        study["tuning"] |= {"trials": 2, "round": 2, "epochs": 12, "pruning": None}
        study["techniques"] = {"none": {}, "l2": {}}
    return params


def _prepared(project: Path, study: str) -> Dataset:
    return datasets.load(project / results.prepared(study))


@pytest.mark.parametrize("study", SMALL)
def test_the_champion_takes_the_file_as_it_came(project: Path, study: str) -> None:
    """What it says of the test rows is what the report was made from."""
    raw = pd.read_csv(project / f"{study}.csv")
    model = mlflow.pyfunc.load_model(f"models:/regularization-{study}@champion")
    told: Any = model.predict(raw)
    run = mlflow.get_run(model.metadata.run_id)
    runs = results.read_runs(project / results.RESULTS / study)
    own = runs.set_index("mlflow_run_id").loc[run.info.run_id]
    data = _prepared(project, study)
    rows = data.in_file("leak_free", "test")[int(own["replicate"])]
    with np.load(project / results.RESULTS / study / results.PREDICTIONS) as arrays:
        name = next(each for each in arrays.files if each.endswith(f"/{own['key']}"))
        stored = arrays[name][:, 0]
    column = "prediction" if study == "spend" else "probability_yes"
    np.testing.assert_allclose(told[column].to_numpy()[rows], stored, rtol=1e-5, atol=1e-7)
    assert len(told) == len(raw)


def test_the_command_of_the_tutorial_predicts_from_the_file(clone: Clone) -> None:
    (command,) = tutorial("mlflow models predict")
    uri = f"sqlite:///{clone.folder}/mlflow.db"
    done = clone.attempt(*command, MLFLOW_TRACKING_URI=uri)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)["predictions"]
    assert len(told) == ROWS
    assert {row["prediction"] for row in told} == {"yes", "no"}


def test_a_model_of_a_table_names_what_it_lacks(project: Path) -> None:
    raw = pd.read_csv(project / "customers.csv")
    model = mlflow.pyfunc.load_model("models:/regularization-customers@champion")
    with pytest.raises(Exception, match="has no 'age'"):
        model.predict(raw.drop(columns="age"))
    shuffled: Any = model.predict(raw[[*raw.columns[::-1]]])
    pd.testing.assert_frame_equal(shuffled, model.predict(raw))


def test_yardsticks_are_those_of_scikit_learn_on_the_same_rows(project: Path) -> None:
    data = _prepared(project, "customers")
    told = results.read_yardsticks(project / results.RESULTS / "customers")
    for draw in range(3):
        x, y = data.split("leak_free", "train", draw)
        x_test, y_test = data.split("leak_free", "test", draw)
        for name, model in {
            "linear": LogisticRegression(max_iter=10_000),
            "trees": HistGradientBoostingClassifier(random_state=1),
        }.items():
            by_hand = model.fit(x.astype(float), y).predict_proba(x_test.astype(float))[:, 1]
            own = told[(told["yardstick"] == name) & (told["draw"] == draw)]
            assert own["test_roc_auc"].item() == pytest.approx(roc_auc_score(y_test, by_hand))


def test_yardsticks_of_a_regression_are_in_the_targets_unit(project: Path) -> None:
    data = _prepared(project, "spend")
    told = results.read_yardsticks(project / results.RESULTS / "spend")
    x, y = data.split("leak_free", "train", 0)
    x_test, y_test = data.split("leak_free", "test", 0)
    by_hand = Ridge().fit(x.astype(float), y.astype(float)).predict(x_test.astype(float))
    own = told[(told["yardstick"] == "linear") & (told["draw"] == 0)]
    expected = root_mean_squared_error(y_test, by_hand)
    assert own["test_rmse"].item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("study", SMALL)
def test_the_network_beats_the_constant(project: Path, study: str) -> None:
    folder = project / results.RESULTS / study
    runs, told = results.read_runs(folder), results.read_yardsticks(folder)
    measure = results.task_of(runs).test
    network = runs[runs["technique"] == "none"][measure.name].mean()
    constant = told[told["yardstick"] == "constant"][measure.name].mean()
    assert measure.sign * network > measure.sign * constant


@pytest.mark.parametrize("study", SMALL)
def test_the_page_speaks_of_the_data_and_of_no_article(project: Path, study: str) -> None:
    page = (project / results.RESULTS / study / "report.html").read_text("utf-8")
    words = re.sub(r"<svg.*?</svg>|<style.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL)
    assert "article" not in words
    assert SMALL[study]["target"] in words
    assert "survey_12" in words
    assert "customer" in words  # the identifier, left out
    assert "gradient-boosted trees" in words


def test_a_changed_cell_makes_its_study_stale_and_no_other(clone: Clone) -> None:
    path = clone.folder / "data/own/spend/data.csv"
    content = path.read_text("utf-8")
    path.unlink()  # it may be a link into DVC's cache
    path.write_text(content.replace("c-0", "c-1", 1), "utf-8")
    try:
        told = clone.run("dvc", "status", *(f"prepare@{name}" for name in SMALL))
    finally:
        path.write_text(content, "utf-8")
    assert "prepare@spend" in told
    assert "prepare@customers" not in told


def test_an_own_study_travels_by_dvc(
    clone: Clone, tmp_path_factory: pytest.TempPathFactory, empty_database: Path
) -> None:
    clone.run("dvc", "push")
    clone.commit("Results")
    fresh = Clone.of(clone, tmp_path_factory.mktemp("cloned") / "fresh")
    fresh.run("dvc", "pull", "--with-deps", "report@customers")
    shutil.copy(empty_database, fresh.folder / "mlflow.db")
    raw = fresh.folder / "data/own/customers/data.csv"
    assert raw.read_bytes() == (clone.folder / "customers.csv").read_bytes()
    assert fresh.ran("report@customers") == set()
    told = fresh.run("python", "-m", "pipeline", "publish", "customers")
    assert re.fullmatch(r"customers: \d+ runs added, 0 already in MLflow\n", told)
