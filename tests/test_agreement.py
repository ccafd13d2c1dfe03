"""Headline, advice, champion, MLflow and overview name the same technique, or the same nothing.

One planted study for each kind of outcome, through the report's own functions, with a real store.
Nothing is drawn and there are no ensembles: they say nothing of their own.
"""

import json
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Experiment, Run
from mlflow.exceptions import MlflowException

from pipeline import results
from pipeline.analysis import ensembles
from pipeline.report import overview_page, pages, sentences, sizes_page
from pipeline.results import PARAM
from pipeline.stages import report
from pipeline.tracking import experiment, view
from pipeline.tracking.champion import CHAMPION
from pipeline.tracking.context import Context
from pipeline.tracking.records import final_record
from pipeline.tracking.store import experiment_name, model_name
from pipeline.tracking.tracker import Tracker

from .synthetic import make_runs, make_tuned, write_results

pytestmark = pytest.mark.slow

TECHNIQUES = ("l2", "dropout", "l1")
NO_EFFECT = dict.fromkeys(("none", *TECHNIQUES), 0.0)
LOSSES = {"none": 0.0, "l2": -0.2, "dropout": 0.0, "l1": 0.0}


def tuned(**effects: float) -> pd.DataFrame:
    """Ten precise replicates of which each named technique adds its effect."""
    return make_runs(NO_EFFECT | effects)


def lost() -> pd.DataFrame:
    """l2 is far better than a baseline whose search lost to the article's values."""
    own = make_runs(NO_EFFECT | {"l2": 0.05})
    article = make_runs(NO_EFFECT | {"none": 0.03}, setting="article_fresh")
    article["test_accuracy"] += np.random.default_rng(5).normal(scale=0.003, size=len(article))
    return pd.concat([own, article], ignore_index=True).assign(**{f"{PARAM}epochs": 12})


def diverging() -> pd.DataFrame:
    """All runs of l1 diverged, with the scores that they had before that; l2 is better."""
    runs = tuned(l2=0.03, l1=-0.3)
    return runs.assign(diverged=runs["technique"] == "l1", val_loss=0.6)


def failing() -> pd.DataFrame:
    """All runs of l1 failed, so nothing is known of it; l2 is better."""
    runs, measures = tuned(l2=0.03), ["test_accuracy", "val_accuracy", "train_accuracy", "gap"]
    gone = runs["technique"] == "l1"
    runs.loc[gone, measures] = np.nan
    return runs.assign(failed=gone.map({True: "out of memory"}))


def without_loss() -> pd.DataFrame:
    """The loss of dropout is not finite, in all its runs, so that it has no mean."""
    runs = tuned(l2=0.03)
    runs.loc[runs["technique"] == "dropout", ["test_accuracy", "gap"]] = np.nan
    return runs


def reconstructions() -> pd.DataFrame:
    """An autoencoder's runs: the score is a loss, and that of l2 is lower."""
    runs = make_runs(NO_EFFECT, losses=LOSSES).assign(train_loss=0.1, task="reconstruction")
    return runs.assign(val_loss=runs["test_loss"], gap=runs["test_loss"] - 0.1)


def sized() -> pd.DataFrame:
    """l2 is better with few rows; no technique is advised for all sizes."""
    at = {50: 0.05, 200: 0.03, 800: 0.0}
    parts = [
        make_runs(NO_EFFECT | {"l2": gain}, setting=f"rows_{size}").assign(size=size)
        for size, gain in at.items()
    ]
    return pd.concat(parts, ignore_index=True)


@dataclass(frozen=True)
class Kind:
    """A kind of outcome, and what is to be named everywhere."""

    runs: Callable[[], pd.DataFrame]
    technique: str | None  # None: none is named
    registered: str | None  # whose model is `@champion`
    headline: str  # words that tell the outcome
    advice: str
    use: str  # in the overview
    outcomes: tuple[str, ...] = ()


KINDS: Mapping[str, Kind] = {
    "winner": Kind(
        lambda: tuned(l2=0.05, dropout=0.01),
        *("l2", "l2", "l2 is shown to be the best", "use l2", "l2, shown to be the best"),
    ),
    "several": Kind(
        lambda: tuned(l2=0.03, dropout=0.0301),
        *("dropout", "dropout", "Which of them is the best is not shown"),
        *("better than l2 is not shown", "dropout, the best on validation data"),
    ),
    "null": Kind(
        lambda: make_runs(NO_EFFECT, noise=0.001),
        *(None, "none", "no technique is shown to improve", "No different by 0.50 points or more"),
        "no difference of 0.50 points or more",
    ),
    "untold": Kind(
        lambda: make_runs(NO_EFFECT, noise=0.02),
        *(None, "none", "would take about", "no evidence either way", "no evidence either way"),
    ),
    "mixed": Kind(
        lambda: pd.concat(
            [
                make_runs({"none": 0.0, "l1": 0.0}, noise=0.001),
                make_runs({"dropout": 0.0}, noise=0.02),
            ]
        ),
        *(None, "none", "no technique is shown to improve", "no evidence either way on dropout"),
        "no evidence either way on dropout",
    ),
    "worse": Kind(
        lambda: tuned(l2=-0.05, dropout=-0.04, l1=-0.05),
        *(None, "none", "Gains in test accuracy are ruled out", "worse than none: l2, dropout and"),
        "no technique: all are worse",
    ),
    "one-worse": Kind(
        lambda: tuned(l2=0.04, l1=-0.05), *("l2", "l2", "rises by", "use l2", "l2, shown to be")
    ),
    "lost": Kind(
        lost, *(None, None, "nothing follows", "no advice. Without regularization", "no advice")
    ),
    "side-gain": Kind(
        lambda: make_runs(NO_EFFECT, losses=LOSSES, noise=0.001),
        *("l2", "l2", "Test loss falls", "use l2", "l2"),
        outcomes=("test_loss",),
    ),
    "reference": Kind(
        lambda: make_runs({"none": 0.0, "l2": 0.0, "train_and_validation": 0.08}, noise=0.001),
        *(None, "none", "train_and_validation +7.92 points", "no technique is shown to help"),
        "no difference of 0.50 points or more",
    ),
    "diverged": Kind(diverging, *("l2", "l2", "rises by", "use l2", "l2, shown to be the best")),
    "failed": Kind(failing, *("l2", "l2", "rises by", "use l2", "l2, shown to be the best")),
    "unknown": Kind(without_loss, *("l2", "l2", "rises by", "use l2", "l2")),
    "few": Kind(
        lambda: make_runs(NO_EFFECT | {"l2": 0.1}, seeds=1),
        *(None, "none", "nothing is known", "no advice", "no advice"),
    ),
    "untuned": Kind(
        lambda: make_runs(NO_EFFECT | {"l2": 0.03, "dropout": 0.0301}, setting="article"),
        *(None, None, "with l2 and by", "no technique was tuned", "no advice"),
    ),
    "reconstruction": Kind(
        reconstructions, *("l2", "l2", "test loss falls by", "use l2", "l2, shown to be the best")
    ),
    "alone": Kind(
        lambda: make_runs({"none": 0.0}),
        *(None, "none", "nothing was compared", "no advice", "no advice"),
    ),
}


class Undrawn:
    """Instead of a parent's figures."""

    ready = True

    def __init__(self, *of: object) -> None:
        self._folder = tempfile.TemporaryDirectory()

    def finished(self) -> str:
        return self._folder.name

    def close(self) -> None:
        self._folder.cleanup()


@pytest.fixture(scope="module", autouse=True)
def store(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Path]:
    """A working folder with one store for all studies."""
    folder = tmp_path_factory.mktemp("agreement")
    shutil.copy(empty_database, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.setattr(experiment, "Drawing", Undrawn)
        patch.setattr(experiment, "artists", lambda: None)
        nothing = pd.DataFrame(columns=list(ensembles.COLUMNS))
        patch.setattr(pages, "_ensembles", lambda *of: nothing)
        yield folder


def planted(name: str, runs: pd.DataFrame, outcomes: tuple[str, ...] = ()) -> Path:
    """The result files of a study; models are kept of seed 0, and those runs are in MLflow."""
    runs = runs.assign(study=name, architecture="mlp", protocol="leak_free")
    runs[results.STUDY] = [f"{technique}-d" for technique in runs["technique"]]
    home = write_results(Path("results", name), runs, outcomes=outcomes)
    if (runs["task"] == "reconstruction").all():
        runs = _without_accuracy(home, runs)
    if "size" in runs:
        _by_size(home, runs)
    runs["model"] = runs["model"].where(runs["seed"] == 0)
    runs.to_csv(home / "runs.csv", index=False)
    kept = runs[runs["seed"] == 0].drop(columns=["model", "mlflow_run_id"])
    with Tracker(Context(name, "d")) as tracker:
        for row in kept.to_dict("records"):
            record = {str(key): value for key, value in row.items()}
            tracker.log(final_record(record, None, _keras_file()))
    assert tracker.failure is None
    return home


def _without_accuracy(home: Path, runs: pd.DataFrame) -> pd.DataFrame:
    """Results of a task whose score is the loss."""
    curves = [
        pd.DataFrame({"epoch": np.arange(1, 13, dtype=np.int32), "key": run["key"]}).assign(
            val_loss=np.float32(run["val_loss"]), train_loss=np.float32(0.1)
        )
        for run in runs.to_dict("records")
    ]
    pd.concat(curves).astype({"key": "category"}).to_parquet(home / "curves.parquet", index=False)
    for name in ("about.json", "tuned.json"):
        text = (home / name).read_text(encoding="utf-8")
        (home / name).write_text(text.replace("classification", "reconstruction"), encoding="utf-8")
    return runs.drop(columns=list(runs.filter(regex="accuracy|calibration")))


def _by_size(home: Path, runs: pd.DataFrame) -> None:
    """A tuned.json with the values of each size."""
    found = make_tuned([*runs["technique"].unique()])
    techniques = found.pop("techniques")
    found["sizes"] = {str(size): techniques for size in runs["size"].unique()}
    (home / "tuned.json").write_text(json.dumps(found), encoding="utf-8")


def _keras_file() -> Path:
    """As much of a model as is read of it when it is logged."""
    path = Path("model.keras")
    if not path.exists():
        layers = [{"config": {"batch_shape": [None, 2]}}, {"config": {"units": 2}}]
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", json.dumps({"config": {"layers": layers}}))
    return path


@dataclass(frozen=True)
class Told:
    """What is said of a study, in each place."""

    headline: str
    advice: dict[str, Any]
    experiment: Experiment
    parents: dict[str, Run]
    champion: tuple[str, str] | None  # technique of the run, and description
    entry: overview_page.Entry | overview_page.Sized


def told(home: Path) -> Told:
    """Shows the results in MLflow and reads all places."""
    for name in (pages.PAGE, pages.THUMBNAIL):
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_text("<svg></svg>", encoding="utf-8")
    assert report.show(home)
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    found = client.get_experiment_by_name(experiment_name(home.name))
    assert found is not None
    runs = client.search_runs([found.experiment_id], f"tags.{view.COMPARISON} = '{view.PARAMS}'")
    champion = None
    with suppress(MlflowException):
        version = client.get_model_version_by_alias(model_name(home.name), CHAMPION)
        tags = client.get_run(str(version.run_id)).data.tags
        champion = tags["technique"], str(version.description)
    shown = overview_page.read_overview(Path("results"), Path("reports/index.html"), [home.name])
    return Told(
        headline=sentences.told(home)[1].partition("\n")[0],
        advice=results.read_advice(home),
        experiment=found,
        parents={run.data.tags["technique"]: run for run in runs},
        champion=champion,
        entry=shown.entries[0] if shown.entries else shown.sized[0],
    )


def named(text: str) -> set[str]:
    """The techniques that a text names."""
    return {name for name in TECHNIQUES if re.search(rf"\b{name}\b", text)}


@pytest.mark.parametrize("name", KINDS)
def test_all_places_name_the_same_technique_or_the_same_nothing(name: str) -> None:
    kind = KINDS[name]
    home = planted(name, kind.runs(), kind.outcomes)
    pages.write_tables(home)
    found = told(home)
    assert isinstance(found.entry, overview_page.Entry)
    known, use = sentences.known(found.entry.finding), sentences.use(found.entry.finding)

    assert kind.headline in found.headline
    assert kind.advice in found.advice["text"]
    assert use.startswith(kind.use)
    assert found.advice["technique"] == kind.technique
    assert found.entry.advice == found.advice["text"]
    assert found.experiment.tags["mlflow.note.content"] == (
        f"{found.headline}\n{found.advice['text']}"
    )

    assert (found.champion and found.champion[0]) == kind.registered
    if found.champion:
        technique, description = found.champion
        assert description.startswith(found.advice["text"])
        assert f"This model is `{technique}`" in description

    verdicts = {each: run.data.tags[view.VERDICT] for each, run in found.parents.items()}
    helping = {each for each, verdict in verdicts.items() if "better" in verdict}
    if kind.technique:
        assert f"use {kind.technique}" in found.advice["text"]
        assert use.startswith(kind.technique)
        for text in (found.headline, known):
            assert kind.technique in named(text)
        assert kind.technique in helping
    elif found.entry.finding.setting == "tuned":
        assert not re.search(r"\buse \w", found.advice["text"])
        assert not (named(use) - named(found.advice["text"]))
        assert not helping - {"train_and_validation"}
        assert not sentences.groups(found.entry.finding).get("Better than no regularization")
    else:
        assert helping == named(found.headline) == named(known)


def test_a_study_of_sizes_says_the_same_sentence_everywhere_and_has_no_champion() -> None:
    home = planted("sized", sized())
    sizes_page.write(home, pages.UI)
    found = told(home)
    assert isinstance(found.entry, overview_page.Sized)
    sentence = found.advice["text"]
    assert "shown to help: l2 at 50 and 200" in sentence
    assert found.advice["technique"] is found.champion is None
    assert found.headline == found.experiment.tags["mlflow.note.content"] == sentence
    assert found.entry.sentence == sentence
    assert found.parents == {}
