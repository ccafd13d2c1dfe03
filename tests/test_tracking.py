"""MLflow holds every trial and final run once, whatever happened to the writer or the server."""

import logging
import multiprocessing
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, Run
from mlflow.exceptions import MlflowException

from pipeline.config import loading
from pipeline.datasets import Scaling
from pipeline.datasets.task import CLASSIFICATION
from pipeline.errors import UserError
from pipeline.report import charts
from pipeline.results import STUDY, Row
from pipeline.stages import publish
from pipeline.tracking.attachments import log_figures, studies
from pipeline.tracking.champion import crown, note, ranked
from pipeline.tracking.context import Context, asked
from pipeline.tracking.drawing import Drawing
from pipeline.tracking.packages import Inputs
from pipeline.tracking.project import Outcome, ProjectRun
from pipeline.tracking.records import Phase, Record, final_record, thin, trial_record
from pipeline.tracking.store import describe, model_name, tracking_uri
from pipeline.tracking.tracker import Tracker

from .store import EXPERIMENT, Server, children, inputs, parents, runs, view, wait_until

ROOT = Path(__file__).parents[1]
CONTEXT = Context("circles", "d1", {"params_digest": "p1"}, {"training.epochs": 40}, points=10)


def trial_row(number: int, technique: str = "l2", **changes: Any) -> Row:
    row: Row = {"key": f"{technique}a{number:x}", "study": "circles", "technique": technique}
    row |= {"task": "classification", "search": 0, "trial": number, "state": "complete"}
    row |= {"params.strength": 10.0**-number, "params.patience": 3 + number}
    row |= {"val_accuracy": 0.6 + number / 30, "val_loss": 0.1 + 0.2, "seconds": 0.25}
    return row | changes


def final_row(seed: int, setting: str = "tuned", technique: str = "l2") -> Row:
    row: Row = {
        "key": f"{technique}{setting[0]}{seed:x}f",
        "study": "circles",
        "task": "classification",
        "architecture": "mlp",
    }
    row |= {"technique": technique, "setting": setting, "protocol": "leak_free", "leaks": False}
    row |= {"search": 0, "replicate": seed, "seed": seed, "overlap": 0.0, "same_test": False}
    row |= {"params.learning_rate": 0.1 * 3}
    row |= {"params.strength": 1e-4 if technique == "l2" else None, "params.epochs": 40}
    row |= {"train_accuracy": 1.0, "val_accuracy": 0.7, "test_accuracy": 0.5 + seed / 7}
    row |= {"test_loss": float("nan") if seed == 1 else 1 / 3, "diverged": seed == 1}
    return row | {"epochs_run": 40, "seconds": 1.5}


def curve(seed: int, epochs: int = 40) -> pd.DataFrame:
    values = np.random.default_rng(seed).random((epochs, 2)).astype(np.float32)
    frame = pd.DataFrame(values, columns=["val_loss", "val_accuracy"])
    return frame.assign(epoch=np.arange(1, epochs + 1, dtype=np.int32))


def study() -> list[Record]:
    """Six trials, one pruned and one failed, and five final runs."""
    states = ["complete"] * 4 + ["pruned", "failed"]
    trials = [trial_record(trial_row(i, state=state), "mlp") for i, state in enumerate(states)]
    rows = [final_row(seed) for seed in range(3)] + [
        final_row(0, "article"),
        final_row(0, "tuned", "none"),
    ]
    return trials + [final_record(row, curve(i), None) for i, row in enumerate(rows)]


def log(records: list[Record], context: Context = CONTEXT) -> Tracker:
    with Tracker(context) as tracker:
        for record in records:
            tracker.log(record)
    return tracker


def test_a_store_that_was_moved_is_told_and_left_alone(
    tmp_path: Path,
    empty_database: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    first, second = tmp_path / "an older place", tmp_path / "new"
    first.mkdir()
    shutil.copy(empty_database, first / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{first}/mlflow.db")
    log(study()[:1])
    first.rename(second)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{second}/mlflow.db")
    before = runs()
    assert log(study()).failure
    assert not crown("circles", table([final_row(0)]), "l1", "Use l1.")
    for record in caplog.records:
        assert f"moved or copied from {first}," in record.message
        assert f"move {second}/mlflow.db* away" in record.message
    assert len(caplog.records) == 2
    assert {run.info.run_id for run in runs()} == {run.info.run_id for run in before}


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> tuple[Path, Tracker]:
    """A store to which a tracker has logged the study; drawing its figures takes seconds."""
    path = tmp_path_factory.mktemp("once") / "mlflow.db"
    shutil.copy(empty_database, path)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
        return path, log(study())


@pytest.fixture
def logged(folder: Path, once: tuple[Path, Tracker]) -> Tracker:
    """What has logged the study to the store, which is a copy with its own place for artifacts."""
    path, tracker = once
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect("mlflow.db")) as copy:
        source.backup(copy)
        location = (folder / "mlartifacts/circles").as_uri()
        copy.execute(
            "UPDATE experiments SET artifact_location = ? WHERE name = ?", (location, EXPERIMENT)
        )
        copy.commit()
    return tracker


def wait_until_added(tracker: Tracker, count: int) -> None:
    """Waits until a tracker has written so many runs; fails when it cannot."""

    def added() -> bool:
        assert (tracker.failure, tracker.present) == (None, 0)
        return tracker.added == count

    wait_until(added, seconds=240)


@pytest.fixture
def keras_file(folder: Path) -> Path:
    import keras

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, activation="softmax")])
    model.save(folder / "model.keras")
    return folder / "model.keras"


@given(
    accuracies=st.lists(st.floats(0, 1) | st.just(float("nan")), min_size=1, max_size=300),
    points=st.integers(3, 40),
)
def test_thinning_keeps_first_best_and_last(accuracies: list[float], points: int) -> None:
    whole = pd.DataFrame({"epoch": range(1, 1 + len(accuracies)), "val_accuracy": accuracies})
    kept = thin(whole, points, CLASSIFICATION)
    assert len(kept) <= points
    assert {1, len(whole)} <= set(kept["epoch"])
    assert kept["epoch"].is_monotonic_increasing
    assert kept["epoch"].is_unique
    if whole["val_accuracy"].notna().any():
        assert kept["val_accuracy"].max() == whole["val_accuracy"].max()


def test_thinning_to_fewer_than_three_points_is_refused() -> None:
    with pytest.raises(ValueError, match="`points` must be at least 3, but got 2"):
        thin(curve(0), 2, CLASSIFICATION)


def test_each_record_is_a_run_with_its_values_and_each_parent_holds_their_means(
    logged: Tracker,
) -> None:
    assert (logged.added, logged.present, logged.failure) == (11, 0, None)
    by_key = {run.data.tags["unit_key"]: run for run in children()}
    assert {key: run.info.run_id for key, run in by_key.items()} == logged.run_ids

    pruned, run = by_key["l2a4"], by_key["l2t2f"]
    assert (pruned.info.status, pruned.data.tags["state"]) == ("KILLED", "pruned")
    assert by_key["l2a5"].info.status == "FAILED"
    place = {"technique": "l2", "search": "0"}
    assert pruned.data.params == place | {"strength": "0.0001", "patience": "7", "trial": "4"}
    assert run.info.run_name == "l2 · tuned · search 0 · seed 2"
    assert run.info.end_time - run.info.start_time == 1500
    assert run.data.params == place | {
        "setting": "tuned",
        "replicate": "2",
        "seed": "2",
        "learning_rate": "0.30000000000000004",
        "strength": "0.0001",
        "epochs": "40",
    }
    wanted = {"study": "circles", "architecture": "mlp", "technique": "l2", "phase": "train"}
    wanted |= {
        "setting": "tuned",
        "seed": "2",
        "leaks": "false",
        "data_digest": "d1",
        "params_digest": "p1",
    }
    assert wanted.items() <= run.data.tags.items()
    assert run.data.metrics["test_accuracy"] == 0.5 + 2 / 7
    assert run.data.metrics["best_val_accuracy"] == curve(2)["val_accuracy"].max()
    assert "test_loss" not in by_key["l2t1f"].data.metrics  # it is not a number

    parent = parents()["l2 · train"]
    assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert parent.info.start_time > max(child.info.start_time for child in children())
    assert parent.data.metrics["test_accuracy"] == pytest.approx(0.5 + 1 / 7)
    assert parent.data.metrics["test_accuracy/article"] == 0.5
    named = {"technique": "l2", "phase": "train"}
    assert parent.data.params == {"training.epochs": "40"} | named
    assert (
        "1 article and 3 tuned. Mean test accuracy: 0.5000"
        in parent.data.tags["mlflow.note.content"]
    )
    assert len(parent.data.metrics) <= 12  # a table that can be read
    search = parents()["l2 · tune"]
    assert search.data.metrics["best_strength"] == 1e-3
    assert "6 trials (4 complete, 1 pruned, 1 failed)" in search.data.tags["mlflow.note.content"]
    for each in (search, parent):
        assert len(re.findall(r"[a-z0-9)]\.( |$)", each.data.tags["mlflow.note.content"])) == 2
    for each in (search, parent, run):
        (data,) = inputs(each)
        assert (data.dataset.name, data.dataset.digest) == ("circles", "d1")
        assert [(tag.key, tag.value) for tag in data.tags] == [("mlflow.data.context", "training")]


def test_runs_of_two_searches_have_names_and_tags_of_their_own(folder: Path) -> None:
    """As where every chosen setting is trained on the same draws."""
    rows = [
        final_row(2) | {"search": search, "key": f"of search {search}", "replicate": 5}
        for search in range(2)
    ]
    trials = [trial_row(3) | {"search": search, "key": f"trial {search}"} for search in range(2)]
    log(
        [
            *(final_record(row, curve(0), None) for row in rows),
            *(trial_record(row, "mlp") for row in trials),
        ]
    )
    tags = ("search", "replicate", "seed", "trial")
    found = {run.info.run_name: [run.data.tags.get(tag) for tag in tags] for run in children()}
    assert found == {
        "l2 · tuned · search 0 · seed 2": ["0", "5", "2", None],
        "l2 · tuned · search 1 · seed 2": ["1", "5", "2", None],
        "l2 · search 0 · trial 3": ["0", "0", None, "3"],
        "l2 · search 1 · trial 3": ["1", "1", None, "3"],
    }


def test_a_curve_in_mlflow_is_thinned_and_whole_in_the_parents_artifact(folder: Path) -> None:
    record = final_record(final_row(0), curve(5), None)
    tracker = log([record])
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    history = client.get_metric_history(tracker.run_ids[record.key], "curve/val_loss")
    kept = thin(curve(5), CONTEXT.points, CLASSIFICATION)
    assert sorted((m.step, m.value) for m in history) == list(
        zip(kept["epoch"].tolist(), kept["val_loss"].tolist(), strict=True)
    )
    path = client.download_artifacts(parents()["l2 · train"].info.run_id, "curves.parquet")
    whole = pd.read_parquet(path)
    assert whole["val_loss"].tolist() == curve(5)["val_loss"].tolist()
    assert set(whole["key"]) == {record.key}


def test_figures_go_to_the_parent_of_their_own_study(folder: Path) -> None:
    log([trial_record(TRIALS[0], "mlp")])
    log([replace(final_record(final_row(0), curve(0), None), study_digest="a-b")])
    log([replace(final_record(final_row(1), curve(1), None), key="other", study_digest="c-d")])
    drawing = folder / "weights-tuned.svg"
    drawing.write_text("<svg/>", encoding="utf-8")
    rows = pd.DataFrame({"technique": ["l2", "l2"], STUDY: ["a-b", "a-b"]})
    figures = {"l2": [drawing], "unheard_of": [drawing]}
    for _ in range(2):
        assert log_figures("circles", figures, studies(rows))
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    files = {run.info.run_id: client.list_artifacts(run.info.run_id, "report") for run in runs()}
    (holder,) = (run for run in runs() if files[run.info.run_id])
    assert len(files[holder.info.run_id]) == 1
    assert holder.info.run_name == "l2 · train"
    assert holder.data.tags[STUDY] == "a-b"


def test_a_report_needs_no_store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def shown(study: str) -> bool:
        return crown(study, table([final_row(0)]), "l2", "") and log_figures(study, {"l2": []}, {})

    assert shown("digits")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/none.db")
    assert shown("circles")
    assert not (folder / "none.db").exists()


def test_a_report_outlives_its_store(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert not crown("circles", table([final_row(0)]), "l2", "")
    (warning,) = [entry for entry in caplog.records if entry.levelno >= logging.WARNING]
    assert "MLflow is away" in warning.getMessage()
    assert "`python -m pipeline publish circles`" in warning.getMessage()
    assert "\n" not in warning.getMessage()
    assert warning.exc_info is None


def test_parents_show_figures_of_the_search_and_of_the_curves(logged: Tracker) -> None:
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    shown = {
        name: {each.path for each in client.list_artifacts(run.info.run_id)}
        for name, run in parents().items()
    }
    curves = {charts.CURVES, "curves.parquet"}
    assert shown == {
        "l2 · tune": {f"{name}.png" for name in charts.SEARCH},
        "l2 · train": curves,
        "none · train": curves,
    }


@pytest.mark.slow
def test_a_process_that_draws_and_dies_costs_no_figure() -> None:
    trials = [record for record in study() if record.phase == "tune"]
    for _ in range(2):  # the second time in new processes
        drawing = Drawing(trials, {})
        for process in multiprocessing.active_children():
            process.kill()
        folder = Path(drawing.finished())
        assert {path.name for path in folder.iterdir()} == {f"{name}.png" for name in charts.SEARCH}
        drawing.close()
        assert not folder.exists()


def test_a_described_technique_ends_finished_after_an_exception(folder: Path) -> None:
    def stage() -> None:
        with Tracker(CONTEXT) as tracker:
            for record in study():
                tracker.log(record)
            tracker.finish("l2")
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        stage()
    ended = {name: run.info.status for name, run in parents().items()}
    assert ended == {"l2 · tune": "FINISHED", "l2 · train": "FINISHED", "none · train": "FAILED"}
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    shown = client.list_artifacts(parents()["l2 · tune"].info.run_id)
    assert {each.path for each in shown} == {f"{name}.png" for name in charts.SEARCH}


def test_logging_twice_adds_nothing(logged: Tracker) -> None:
    before = view()
    tracker = log(study())
    assert (tracker.added, tracker.present) == (0, 11)
    assert len(tracker.run_ids) == 11
    assert view() == before


def test_a_later_record_joins_its_parent_and_counts_in_its_mean(folder: Path) -> None:
    first = [final_record(final_row(0), curve(0), None)]
    log(first)
    log([*first, final_record(final_row(2), curve(2), None)])
    (parent,) = parents().values()
    assert len(children()) == 2
    assert parent.data.metrics["test_accuracy"] == pytest.approx(0.5 + 1 / 7)


def test_another_study_has_parents_of_its_own_and_no_run_twice(logged: Tracker) -> None:
    records = study()
    before = {run.info.run_id: run.to_dictionary() for run in runs()}
    longer = replace(CONTEXT, params={"training.epochs": 80})
    changed = [replace(record, key=f"{record.key}b") for record in records]
    log([*changed[:-1], records[-1]], longer)  # the last is the same run in both
    after = {run.info.run_id: run for run in runs()}
    assert {name: after[name].to_dictionary() for name in before} == before
    new = [run for name, run in after.items() if name not in before]
    parents = {r.info.run_id: r for r in new if "unit_key" not in r.data.tags}
    children = [run for run in new if run.info.run_id not in parents]
    assert {run.info.run_name for run in parents.values()} == {
        "l2 · tune",
        "l2 · train",
        "none · train",
    }
    assert len(children) == 10
    assert {run.data.tags["mlflow.parentRunId"] for run in children} < parents.keys()
    assert {run.data.params["training.epochs"] for run in parents.values()} == {"80"}
    (shared,) = [run for run in parents.values() if run.info.run_name == "none · train"]
    assert (
        ": 1 tuned, 1 of them under an earlier version of the study."
        in shared.data.tags["mlflow.note.content"]
    )
    shown = view()
    log(records)  # back again: nothing is new
    log([*changed[:-1], records[-1]], longer)
    assert view() == shown
    assert len(runs()) == len(after)


def digests(technique: str, phase: Phase, data: str, *changes: object) -> str:
    """The digest of a technique of circles with some values of params.yaml replaced."""
    raw = loading.read(ROOT / "params.yaml")
    for place, value in zip(changes[::2], changes[1::2], strict=True):
        *sections, name = str(place).split(".")
        section = raw["studies"]["circles"]
        for each in sections:
            section = section[each]
        section[name] = value
    return Context.of_study("circles", loading.parse(raw), data).study_digest(technique, phase)


@pytest.mark.parametrize(
    ("changes", "phases"),
    [
        (("final.replicates", 20), ()),
        (("techniques.l2.final", {"replicates": 20}), ()),
        (("outcomes", ["test_loss"]), ()),
        (
            (
                "techniques.early_stopping.search",
                {"patience": {"low": 5, "high": 50, "integer": True}},
            ),
            (),
        ),
        (("techniques.l2.article", {"strength": 0.1}), ("train",)),
        (("techniques.l2.search", {"strength": {"low": 0.1, "high": 1.0}}), ("tune", "train")),
        (("tuning.trials", 32), ("tune", "train")),
        (("tuning.race", [{"candidates": 4, "draws": 15}]), ("tune", "train")),
        (("training.batch_size", 16), ("tune", "train")),
    ],
)
def test_what_decides_a_techniques_runs_tells_its_studies_apart(
    changes: tuple[object, ...], phases: tuple[str, ...]
) -> None:
    for phase in ("tune", "train"):
        before = digests("l2", phase, "d")
        assert (digests("l2", phase, "d", *changes) != before) == (phase in phases)
        assert digests("l2", phase, "other data") != before


def test_system_metrics_are_on_the_parents_if_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")

    def load(run: Run) -> set[str]:
        return {name for name in run.data.metrics if name.startswith("system/")}

    log(study()[:1])
    (parent,) = parents().values()
    assert load(parent) == set()
    with Tracker(CONTEXT, system_metrics=True) as tracker:
        for record in study()[:2]:
            tracker.log(record)
        wait_until(lambda: load(parents()["l2 · tune"]) != set(), seconds=30)
    assert tracker.failure is None
    (parent,) = parents().values()
    assert parent.info.status == "FINISHED"
    assert "system/cpu_utilization_percentage" in load(parent)
    assert all(load(run) == set() for run in children())


def test_a_server_shows_the_same_runs_as_sqlite(
    logged: Tracker, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = view()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    assert log(study()).failure is None
    assert view() == local


KILLED = """
import os, signal
from mlflow import MlflowClient
from tests.test_tracking import log, study

finish, ended = MlflowClient.set_terminated, []

def finish_three(self, *arguments):
    if len(ended) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    ended.append(finish(self, *arguments))

MlflowClient.set_terminated = finish_three
log(study())
"""


AT_ONCE = """
import sys
from dataclasses import replace
from tests.test_tracking import CONTEXT, curve, final_record, final_row, log
name = sys.argv[1]
rows = [final_row(seed) | {"key": f"{name}-{seed}"} for seed in range(15)]
records = [final_record(row, curve(i), None) for i, row in enumerate(rows)]
tracker = log(records, replace(CONTEXT, asked=name))
assert (tracker.failure, tracker.added) == (None, 15)
"""


@pytest.mark.slow
def test_a_database_that_is_killed_in_the_making_leaves_none_behind(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    script = f"from pipeline.tracking.opening import prepare_sqlite; prepare_sqlite({uri!r})"
    made = [sys.executable, "-c", script]
    with subprocess.Popen(made, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: bool(list(tmp_path.glob("*/mlflow.db"))), seconds=120)
        process.kill()
    assert not (tmp_path / "mlflow.db").exists()
    subprocess.run(made, check=True)
    assert MlflowClient(uri).get_experiment("0").name == "Default"
    assert not list(tmp_path.glob("*/"))


@pytest.mark.slow
def test_processes_that_find_no_database_make_one_together(tmp_path: Path) -> None:
    """Each adds an experiment at once, which the making of the others must not take away."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    script = (
        "import sys, time; from pipeline.tracking.opening import client_of; "
        f"time.sleep(float(sys.argv[1])); client_of({uri!r}).create_experiment(sys.argv[1])"
    )
    begins = ["0", "0.5", "3"]  # seconds; the first one's tables take some
    makers = [subprocess.Popen([sys.executable, "-c", script, begin]) for begin in begins]
    assert [maker.wait(timeout=240) for maker in makers] == [0] * len(begins)
    found = {experiment.name for experiment in MlflowClient(uri).search_experiments()}
    assert found == {"Default", *begins}


def test_a_killed_writer_leaves_no_duplicate_and_no_running_run(folder: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    killed = subprocess.run([sys.executable, "-c", KILLED], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    left = sorted(run.info.status for run in runs())
    assert left == ["FINISHED"] * 3 + ["RUNNING"] * 2  # the parent and the fourth trial

    tracker = log(study())
    assert (tracker.added, tracker.present) == (8, 3)
    assert sorted(run.data.tags["unit_key"] for run in children()) == sorted(
        record.key for record in study()
    )
    assert "RUNNING" not in {run.info.status for run in runs()}


def test_what_another_checkout_is_writing_is_left_alone(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
    at_work = [sys.executable, "-c", KILLED]  # for want of a process that waits amid a run
    subprocess.run(at_work, env=environment, cwd=other, check=False)
    (running,) = [run for run in children() if run.info.status == "RUNNING"]

    log([record for record in study() if record.phase == "train"])
    assert parents()["l2 · tune"].info.status == "RUNNING"
    log(study())
    assert MlflowClient().get_run(running.info.run_id).info.status == "RUNNING"
    assert len(children()) == len(study()) + 1

    again = [sys.executable, "-c", "from tests.test_tracking import log, study; log(study())"]
    subprocess.run(again, env=environment, cwd=other, check=True)
    assert sorted(run.data.tags["unit_key"] for run in children()) == sorted(
        record.key for record in study()
    )


def test_an_interruption_waits_for_no_record_that_the_next_run_writes(folder: Path) -> None:
    records = study()

    def stage() -> None:
        with Tracker(CONTEXT) as tracker:
            for record in records:
                tracker.log(record)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage()
    assert len(children()) < len(records)
    assert "RUNNING" not in {run.info.status for run in runs()}
    log(study())
    assert len(children()) == len(records)


def test_no_run_is_left_running_after_an_exception(folder: Path) -> None:
    def stage() -> None:
        with Tracker(CONTEXT) as tracker:
            tracker.log(study()[0])
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        stage()
    assert [run.info.status for run in children()] == ["FINISHED"]
    assert parents()["l2 · tune"].info.status == "FAILED"


def test_a_run_that_cannot_be_written_whole_is_not_written(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = log([study()[0], final_record(final_row(0), curve(0), Path("lost.keras"))])
    assert isinstance(tracker.failure, FileNotFoundError)
    assert "lost.keras" in caplog.text
    assert list(tracker.run_ids) == ["l2a0"]
    assert [run.data.tags["unit_key"] for run in children()] == ["l2a0"]
    assert "RUNNING" not in {run.info.status for run in runs()}


def test_a_warning_holds_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    error: Exception = OSError("no answer from\nhttp://user:secret@host/api")
    assert describe(error) == "failed (no answer from http://host/api)"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@host")
    error.__context__ = requests.ConnectionError()
    assert describe(error) == "is away (http://host does not answer)"


@pytest.mark.parametrize("store", ["sqlite", "server"])
def test_a_model_loads_back_and_predicts_the_same(
    store: str,
    folder: Path,
    keras_file: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import keras
    import mlflow

    if store == "server":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", request.getfixturevalue("server").uri)
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    record = final_record(final_row(9), curve(0), keras_file)
    tracker = log([record])
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    run = client.get_run(tracker.run_ids[record.key])
    assert run.outputs is not None
    (output,) = run.outputs.model_outputs
    uri = f"models:/{output.model_id}"

    x = np.random.default_rng(0).random((5, 2), dtype=np.float32)
    expected = keras.models.load_model(keras_file).predict(x, verbose=0)
    np.testing.assert_array_equal(mlflow.keras.load_model(uri).predict(x, verbose=0), expected)
    with pytest.raises(MlflowException, match="python_function"):  # the prepared data are not there
        mlflow.pyfunc.load_model(uri)
    requirements = Path(mlflow.pyfunc.get_model_dependencies(uri)).read_text(encoding="utf-8")
    assert f"keras=={keras.__version__}" in requirements.split()
    model: LoggedModel = client.get_logged_model(output.model_id)
    assert (model.status, model.source_run_id) == ("READY", run.info.run_id)
    assert record.metrics.items() <= {m.key: m.value for m in model.metrics or []}.items()


def test_a_server_that_goes_away_stops_no_training_and_publish_completes_the_runs(
    folder: Path,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    records = [trial_record(trial_row(i, "dropout"), "mlp") for i in range(20)]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    with Tracker(CONTEXT) as tracker:
        for record in records[:10]:
            tracker.log(record)
        wait_until_added(tracker, 10)
        server.kill()
        for record in records[10:]:
            tracker.log(record)
    (warning,) = [entry for entry in caplog.records if entry.levelno >= logging.WARNING]
    assert "MLflow is away" in warning.getMessage()
    assert "`python -m pipeline publish circles`" in warning.getMessage()
    assert "\n" not in warning.getMessage()

    server.start()
    tracker = log(records)
    assert (tracker.added, tracker.present) == (10, 10)
    written = [run for run in runs() if run.data.tags["technique"] == "dropout"]
    assert len(written) == 20 + 1
    assert {run.info.status for run in written} == {"FINISHED"}


def test_a_server_that_hangs_is_waited_for_once(
    folder: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    with Tracker(CONTEXT) as tracker:
        tracker.log(study()[0])
        wait_until_added(tracker, 1)
        server.signal(signal.SIGSTOP)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
        began = time.monotonic()
        for record in study()[1:]:
            tracker.log(record)
    waited = time.monotonic() - began
    server.signal(signal.SIGCONT)
    assert tracker.failure is not None
    assert waited < 2 * 2 + 4  # a request, again after a second, and nothing more


# The champion


def table(rows: list[Row]) -> pd.DataFrame:
    """runs.csv, as read, of rows whose models are kept unless they say otherwise."""
    return pd.DataFrame([{"model": "a.keras"} | row for row in rows])


@given(
    runs=st.lists(
        st.tuples(
            st.sampled_from(["none", "l1", "l2"]),
            st.sampled_from(["tuned", "tuned", "article", "tuned_by_loss"]),
            st.sampled_from([0.5, 0.75, 1.0, float("nan")]),  # ties are common
            st.sampled_from([0.125, 0.25]),
            st.sampled_from(["a.keras", None]),
            st.booleans(),
        ),
        min_size=1,
        max_size=12,
    ),
    technique=st.sampled_from(["none", "l1", "l2"]),
)
def test_the_run_is_the_kept_one_best_by_validation_and_test_data_decide_nothing(
    runs: list[tuple[str, str, float, float, str | None, bool]], technique: str
) -> None:
    rows = [
        final_row(seed, setting, name)
        | {"val_accuracy": accuracy, "val_loss": loss, "model": model, "diverged": diverged}
        for seed, (name, setting, accuracy, loss, model, diverged) in enumerate(runs)
    ]
    every = table(rows)
    order = [row["seed"] for row in ranked(every, technique)]
    eligible = every[(every["technique"] == technique) & (every["setting"] == "tuned")]
    eligible = eligible[eligible["model"].notna()]
    assert sorted(order) == sorted(eligible["seed"])
    sound = eligible[~eligible["diverged"] & eligible["val_accuracy"].notna()]
    if len(sound):
        best = sound.sort_values(
            ["val_accuracy", "val_loss", "seed"], ascending=[False, True, True]
        )
        assert order[0] == best.iloc[0]["seed"]
        assert order[: len(sound)] == best["seed"].tolist()
    hidden = every.drop(columns=[name for name in every if str(name).startswith("test_")])
    assert [row["seed"] for row in ranked(hidden, technique)] == order


def test_without_a_kept_model_there_is_no_champion() -> None:
    assert ranked(pd.DataFrame([final_row(0)]), "l2") == []
    assert note([], "On Circles: use l2.") == ""


@pytest.mark.parametrize("stops_early", [False, True])
def test_a_champion_that_stopped_early_is_told_to_be_its_best_epoch(stops_early: bool) -> None:
    kept = ranked(table([final_row(0) | {"stops_early": stops_early}]), "l2")
    assert ("stopped early" in note(kept, "")) == stops_early


def test_the_note_of_a_baseline_gives_the_advice_and_no_other() -> None:
    kept = ranked(table([final_row(seed, "tuned", "none") for seed in (2, 0)]), "none")
    assert note(kept, "On Circles: no technique is shown to help.") == (
        "On Circles: no technique is shown to help.\n\nThis model is `none`, the baseline, tuned: "
        "search 0, seed 0, with the highest validation accuracy (70.00 %) of 2 models that are "
        "kept."
    )


def registered() -> tuple[list[Any], str | None]:
    """All versions of the registered model, and the run of the champion, if there is one."""
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    name = model_name("circles")
    versions = client.search_model_versions(f"name = '{name}'")
    version = client.get_registered_model(name).aliases.get("champion")
    return list(versions), version and str(client.get_model_version(name, version).run_id)


@pytest.mark.parametrize("store", ["sqlite", "server"])
def test_the_champion_is_registered_once_and_follows_the_report(
    store: str,
    folder: Path,
    keras_file: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    import keras
    import mlflow

    if store == "server":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", request.getfixturevalue("server").uri)
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    example = np.array([[0.25, -1]])
    taken = Inputs((2,), ("a", "b", "c"), Scaling.by(0.5), example)
    techniques = {"none": 20, "l1": 22, "l2": 24}
    rows = [
        final_row(seed, "tuned", name) | {"val_accuracy": accuracy}
        for name, first in techniques.items()
        for seed, accuracy in ((first, 0.5), (first + 1, 0.75))
    ]
    every, (*others, l2) = table(rows), rows
    records = [final_record(row, None, keras_file) for row in others]
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    run_ids = log(records, replace(CONTEXT, inputs=taken)).run_ids
    assert client.search_registered_models() == []  # training names no champion

    assert crown("circles", every, "l1", "On Circles: use l1.")
    versions, run_id = registered()
    (version,) = versions
    assert run_id == run_ids[rows[3]["key"]]
    assert version.description == (
        "On Circles: use l1.\n\nThis model is `l1`, tuned: search 0, seed 23, with the highest "
        "validation accuracy (75.00 %) of 2 models that are kept."
    )
    assert crown("circles", every, "l1", "On Circles: use l1.")
    assert registered() == (versions, run_id)  # with the time of their last change

    uri = "models:/regularization-circles@champion"
    expected = keras.models.load_model(keras_file).predict(example / 0.5, verbose=0)
    loaded = mlflow.pyfunc.load_model(uri)
    np.testing.assert_array_equal(loaded.input_example, example)
    told = loaded.predict(example)
    np.testing.assert_array_equal(told.iloc[:, 1:], expected)
    assert list(told["prediction"]) == ["abc"[expected.argmax()]]
    np.testing.assert_array_equal(
        mlflow.keras.load_model(uri).predict(example / 0.5, verbose=0), expected
    )

    assert crown("circles", every, "none", "On Circles: no technique is shown to help.")
    versions, run_id = registered()
    assert (len(versions), run_id) == (2, run_ids[rows[1]["key"]])
    assert crown("circles", every, "l1", "On Circles: use l1, again.")  # an older version
    versions, run_id = registered()
    assert (len(versions), run_id) == (2, run_ids[rows[3]["key"]])
    assert versions[0].description.startswith("On Circles: use l1, again.")

    caplog.clear()
    assert crown("circles", every, "l2", "On Circles: use l2.")  # of which MLflow lacks a run
    (message,) = caplog.messages
    assert f"l2, search 0, seed {l2['seed']} is not in MLflow" in message
    assert "`python -m pipeline publish circles`" in message
    assert registered() == (versions, run_id)
    assert crown("circles", every, None, "On Circles: no advice.")
    assert registered() == (versions, None)
    assert crown("circles", every, "l1", "On Circles: use l1, again.")
    assert registered() == (versions, run_id)
    assert crown("circles", every.assign(model=None), "l1", "On Circles: use l1.")
    assert registered() == (versions, None)


def write_results(rows: list[Row], trials: list[Row]) -> None:
    """Result files of circles in the working folder; row i has the curve of seed i."""
    home = Path("results/circles")
    home.mkdir(parents=True)
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    pd.DataFrame(trials).to_csv(home / "trials.csv", index=False)
    pd.DataFrame(rows).assign(mlflow_run_id="gone", model=None).to_csv(
        home / "runs.csv", index=False
    )
    curves = [curve(i).assign(key=row["key"]) for i, row in enumerate(rows)]
    whole = pd.concat(curves, ignore_index=True).astype({"key": "category"})
    whole.to_parquet(home / "curves.parquet", index=False)


TRIALS = [
    trial_row(0),
    trial_row(1, state="pruned"),
    trial_row(0, "dropout") | {"params.strength": None},
]
FINALS = [final_row(0), final_row(1), final_row(2, "article"), final_row(0, "tuned", "none")]


def test_records_read_from_files_equal_the_live_ones(folder: Path) -> None:
    write_results(FINALS, TRIALS)
    live = [trial_record(row, "mlp") for row in TRIALS]
    live += [final_record(row, curve(i), None) for i, row in enumerate(FINALS)]
    read = list(publish.records("circles", "mlp"))
    assert read == live
    for one, other in zip(read, live, strict=True):
        if other.curve is not None:
            assert one.curve is not None
            columns = list(other.curve.columns)
            pd.testing.assert_frame_equal(one.curve[columns].reset_index(drop=True), other.curve)


def test_publishing_to_an_empty_store_gives_the_runs_of_the_live_one(
    folder: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    write_results(FINALS, TRIALS)
    context = Context.of_study("circles", loading.load(), "unknown")
    with Tracker(context) as tracker:
        for row in TRIALS:
            tracker.log(trial_record(row, "mlp"))
        for i, row in enumerate(FINALS):
            tracker.log(final_record(row, curve(i), None))
    live = view()

    shutil.copy(empty_database, folder / "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/other.db")
    publish.main([])
    assert capsys.readouterr().out == "circles: 7 runs added, 0 already in MLflow\n"
    assert view() == live
    publish.main(["circles"])
    assert capsys.readouterr().out == "circles: 0 runs added, 7 already in MLflow\n"
    assert view() == live


def test_results_older_than_params_yaml_stay_those_of_their_study(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    context = Context.of_study("circles", loading.load(ROOT / "params.yaml"), "unknown")
    of_l2 = {STUDY: context.study_digest("l2", "tune")}
    write_results([final_row(0)], [trial_row(0) | of_l2, trial_row(0, "l1")])
    text = Path("params.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(text.replace("epochs: 4000", "epochs: 3000"), encoding="utf-8")
    publish.main(["circles"])
    assert "params.yaml has changed since the results of l2 were made" in caplog.text
    found = {name: run.data for name, run in parents().items()}
    assert found["l2 · tune"].tags[STUDY] == of_l2[STUDY]
    assert found["l2 · tune"].params == {}
    assert found["l1 · tune"].params["training.epochs"] == "3000"


def test_publishing_without_results_is_refused(folder: Path) -> None:
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    with pytest.raises(UserError, match="results/ has no results"):
        publish.main([])
    with pytest.raises(UserError, match=r"results/digits/ has neither trials.csv nor runs.csv"):
        publish.main(["digits"])


def test_publishing_fails_where_mlflow_does(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_results(FINALS, TRIALS)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    with pytest.raises(UserError, match="circles is incomplete in MLflow"):
        publish.main(["circles"])


def test_a_parent_holds_the_params_of_its_own_technique_only() -> None:
    context = Context.of_study("circles", loading.load(ROOT / "params.yaml"), "d")
    names = context.parent_params("activity_l1_before")
    assert names["techniques.activity_l1_before.article.strength"] == 3e-3
    assert "training.batch_size" in names
    assert not [n for n in names if n.startswith("techniques.") and "activity_l1_before" not in n]


# The run that `mlflow run` opens


@pytest.fixture
def opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A run as `mlflow run` opens it for a command, and the environment that it gives."""
    run_id = str(MlflowClient(os.environ["MLFLOW_TRACKING_URI"]).create_run("0").info.run_id)
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")
    return run_id


def project_run(run_id: str) -> Run:
    return MlflowClient(os.environ["MLFLOW_TRACKING_URI"]).get_run(run_id)


def test_the_run_of_mlflow_run_shows_what_was_asked_and_found(opened: str, folder: Path) -> None:
    log([final_record(final_row(0), curve(0), None)])  # makes the experiment
    (folder / "summary.csv").write_text("a,b\n", encoding="utf-8")
    metrics = {"test_accuracy/l2": 0.75}
    outcome = Outcome("circles", "a table", "l2 is best.", metrics, [folder / "summary.csv"])
    with ProjectRun() as run:
        run.asked({"studies": "circles"}, "seed: 1\n")
        run.found([outcome], folder)
    found, client = project_run(opened), MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    assert found.info.status == "FINISHED"
    assert found.data.metrics == {"circles/test_accuracy/l2": 0.75}
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    assert found.data.tags["experiment.circles"] == experiment.experiment_id
    note = found.data.tags["mlflow.note.content"]
    page = f"#/experiments/{experiment.experiment_id}?workflowType=machine_learning"
    assert f"[{EXPERIMENT}]({page}): l2 is best." in note
    assert {each.path for each in client.list_artifacts(opened)} == {
        "circles",
        "params.yaml",
        "results.txt",
    }
    assert [each.path for each in client.list_artifacts(opened, "circles")] == [
        "circles/summary.csv"
    ]


@pytest.mark.parametrize(
    ("error", "status", "why"),
    [
        (UserError("trials: 0"), "FAILED", "trials: 0"),
        (RuntimeError(), "FAILED", "RuntimeError"),
        (SystemExit(2), "FAILED", "2"),
        (KeyboardInterrupt(), "KILLED", "interrupted"),
        (SystemExit(0), "FINISHED", None),
    ],
)
def test_however_a_command_ends_its_run_ends(
    opened: str, error: BaseException, status: str, why: str | None
) -> None:
    with pytest.raises(type(error)), ProjectRun():
        raise error
    found = project_run(opened)
    assert found.info.status == status
    assert found.info.end_time is not None
    assert found.data.tags.get("error") == why


def test_a_tracker_leaves_the_run_of_mlflow_run_alone(opened: str) -> None:
    before = project_run(opened)
    log([study()[0], study()[-1]])
    after = project_run(opened)
    assert after.to_dictionary() == before.to_dictionary()
    assert opened not in {run.info.run_id for run in runs()}
    assert all(run.info.experiment_id != "0" for run in runs())


def test_no_stage_sees_the_run_of_mlflow_run(opened: str) -> None:
    with ProjectRun():
        assert not {"MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"} & os.environ.keys()


def test_without_mlflow_run_there_is_nothing_to_tell(folder: Path) -> None:
    (folder / "mlflow.db").unlink()
    with ProjectRun() as run:
        run.asked({"studies": "circles"}, "")
        run.found([], folder)
    assert not (folder / "mlflow.db").exists()


def test_a_run_that_the_store_does_not_have_costs_a_warning(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "of-another-store")
    with ProjectRun() as run:
        run.asked({"studies": "circles"}, "")
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "run of-another-store of `mlflow run` is incomplete"
    ]


def test_a_store_that_is_back_at_the_end_ends_the_run_of_mlflow_run(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    client = MlflowClient(server.uri)
    run_id = client.create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    with ProjectRun() as run:
        server.kill()
        run.asked({"studies": "circles"}, "")
        server.start()
    assert client.get_run(run_id).info.status == "FINISHED"


def test_a_write_that_is_refused_leaves_no_run_of_mlflow_run_running(
    opened: str, caplog: pytest.LogCaptureFixture
) -> None:
    outcome = Outcome("circles", "a table", "l2 is best.", {"no + in names": 1.0}, [])
    with ProjectRun() as run:
        run.found([outcome], Path("results"))
    assert project_run(opened).info.status == "FINISHED"
    assert "l2 is best." in project_run(opened).data.tags["mlflow.note.content"]
    assert len(caplog.records) == 1


@pytest.mark.parametrize("given", ["", "sqlite:///mlflow.db", "sqlite:///./mlflow.db?timeout=9"])
def test_a_sqlite_store_stays_the_same_in_another_folder(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    expected = f"sqlite:///{tmp_path}/mlflow.db" + ("?timeout=9" if "?" in given else "")
    assert tracking_uri() == expected


@pytest.fixture
def copied(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project's folder; the working folder is a copy of it, as DVC makes them."""
    copy = folder / ".dvc/tmp/exps/standalone/tmp1"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    monkeypatch.setenv("DVC_ROOT", str(folder))
    monkeypatch.setenv("DVC_EXP_NAME", "more-seeds")
    return folder


def test_a_temporary_experiment_writes_to_the_projects_store_under_its_own_name(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tracking_uri() == f"sqlite:///{copied}/mlflow.db"
    assert asked() == "more-seeds"
    monkeypatch.chdir(copied)  # an experiment in the workspace changes params.yaml itself
    assert tracking_uri() == f"sqlite:///{copied}/mlflow.db"
    assert asked() == ""


def test_an_experiment_that_was_applied_still_fits_its_results(folder: Path) -> None:
    settings = loading.load(ROOT / "params.yaml")
    own = Context.of_study("circles", settings, "d")
    digest = replace(own, asked="more-seeds").study_digest("l2", "train")
    assert digest != own.study_digest("l2", "train")
    assert own.describes(replace(final_record(final_row(0), None, None), study_digest=digest))


def test_two_experiments_that_write_at_the_same_time_lose_no_run(folder: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    copies = [folder / "one", folder / "two"]
    for copy in copies:
        copy.mkdir()
    writers = [
        subprocess.Popen([sys.executable, "-c", AT_ONCE, copy.name], env=environment, cwd=copy)
        for copy in copies
    ]
    assert [writer.wait(timeout=240) for writer in writers] == [0, 0]
    keys = [run.data.tags["unit_key"] for run in runs() if "unit_key" in run.data.tags]
    assert len(keys) == len({*keys}) == 30
    assert {run.info.status for run in runs()} == {"FINISHED"}


def test_artifacts_are_beside_the_database(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    log(study()[:1])
    experiment = MlflowClient(os.environ["MLFLOW_TRACKING_URI"]).get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    assert experiment.artifact_location == (folder / "mlartifacts" / "circles").as_uri()
