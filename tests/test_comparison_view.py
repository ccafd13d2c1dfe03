"""What a report found, in MLflow: each technique's verdict, the view, the champion's alias."""

import base64
import json
import os
import zlib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Run

from pipeline.analysis import summary
from pipeline.datasets.task import CLASSIFICATION, RECONSTRUCTION, TASKS
from pipeline.files import manifest
from pipeline.results import STUDY
from pipeline.stages import report
from pipeline.tracking import comparison, context, renewal, view
from pipeline.tracking.champion import alias
from pipeline.tracking.context import Context
from pipeline.tracking.records import final_record
from pipeline.tracking.tracker import Tracker

from .store import EXPERIMENT, children, inputs, parents
from .synthetic import make_runs, write_results

EFFECTS = {"none": 0.0, "l2": 0.03, "l1": -0.03, "dropout": 0.0}
CONTEXT = Context("circles", "d1")

pytestmark = pytest.mark.slow


def content(text: str) -> dict[str, Any]:
    """The JSON of a view, as MLflow's page reads it."""
    assert text.startswith("deflate;")
    decoded: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(text[8:])))
    return decoded


@pytest.fixture
def home(folder: Path) -> Path:
    """Results of circles whose final runs are in MLflow, in the working folder."""
    return published(Path("results/circles"))


def published(home: Path, replicates: int = 10, asked: str = "") -> Path:
    runs = make_runs(EFFECTS, seeds=replicates).assign(architecture="mlp", protocol="leak_free")
    runs[STUDY] = [f"{name}{asked}-d" for name in runs["technique"]]
    write_results(home, runs.drop(columns="model"))
    with Tracker(Context("circles", "d1", asked=asked)) as tracker:
        for row in runs.drop(columns=["model", "mlflow_run_id"]).to_dict("records"):
            tracker.log(final_record({str(k): v for k, v in row.items()}, None, None))
    report._write(home, "http://127.0.0.1:5000")
    return home


def shown(label: str = view.PARAMS) -> dict[str, Run]:
    """The parents that the view shows, by technique."""
    found = {run.info.run_name: run for run in parents().values()}
    return {
        run.data.tags["technique"]: run
        for run in found.values()
        if run.data.tags.get(view.COMPARISON) == label
    }


def experiment() -> Any:
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    return client.get_experiment_by_name(EXPERIMENT)


def test_each_parent_has_the_verdict_of_the_report(home: Path) -> None:
    assert report.show(home) == experiment().experiment_id
    finding = summary.find(summary.summarize(pd.read_csv(home / "runs.csv")))
    assert list(EFFECTS) == [row["technique"] for row in finding.primary]
    assert shown().keys() == EFFECTS.keys()
    for row in finding.primary:
        run = shown()[row["technique"]]
        assert run.data.tags[view.VERDICT] == comparison.verdict(finding, row)
        assert run.data.metrics["test_accuracy"] == pytest.approx(row["mean"])
        if row["technique"] != "none":
            assert row["group"] in run.data.tags[view.VERDICT]
            assert run.data.metrics["difference"] == pytest.approx(row["difference"])
            assert run.data.metrics["difference_low"] == pytest.approx(row["simultaneous_low"])
            assert run.data.metrics["p_corrected"] == pytest.approx(row["p_simultaneous"])
        assert len({name for name in run.data.metrics if "/" not in name}) <= 12


def test_parents_have_mean_learning_curves_with_first_and_last_epoch(home: Path) -> None:
    report.show(home)
    curves = pd.read_csv(home / "plots" / "curves.csv").query("setting == 'tuned'")
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    for technique, run in shown().items():
        own = curves[curves["technique"] == technique].set_index("epoch")["val_accuracy"]
        history = client.get_metric_history(run.info.run_id, f"{view.CURVE}val_accuracy")
        found = {point.step: point.value for point in history}
        assert {min(found), max(found)} == {own.index.min(), own.index.max()}
        assert found == pytest.approx({step: own[step] for step in found}, rel=1e-5)


def test_the_view_shows_what_the_parents_have(home: Path) -> None:
    report.show(home)
    wanted = content(experiment().tags[f"{view.TAG}{view.COMPARISON}"])
    assert wanted["searchFilter"] == f"tags.{view.COMPARISON} = '{view.PARAMS}'"
    metrics = shown()["l2"].data.metrics
    assert all(chart["metricKey"] in metrics for chart in wanted["compareRunCharts"])
    sections = {section["uuid"] for section in wanted["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in wanted["compareRunCharts"]} == sections


def test_the_experiment_says_what_headline_and_advice_say(home: Path) -> None:
    report.show(home)
    told = experiment().tags["mlflow.note.content"]
    assert json.loads((home / "advice.json").read_text(encoding="utf-8"))["text"] in told
    files = MlflowClient(os.environ["MLFLOW_TRACKING_URI"]).list_artifacts(
        shown()["none"].info.run_id, "report"
    )
    assert "report/report.html" in [file.path for file in files]


def test_a_repeated_report_writes_nothing_new(home: Path) -> None:
    report.show(home)
    before = {name: run.data for name, run in shown().items()}
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    points = len(client.get_metric_history(shown()["l2"].info.run_id, "curve/val_loss"))
    report.show(home)
    assert len(client.get_metric_history(shown()["l2"].info.run_id, "curve/val_loss")) == points
    for name, run in shown().items():
        assert run.data.metrics == before[name].metrics


def histories() -> dict[tuple[str, str], list[tuple[int, float]]]:
    """Technique and curve → its steps and values, in all that the parent has."""
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    return {
        (technique, name): sorted(
            (each.step, each.value) for each in client.get_metric_history(run.info.run_id, name)
        )
        for technique, run in shown().items()
        for name in run.data.metrics
        if name.startswith(view.CURVE)
    }


def test_after_a_changed_result_each_curve_has_its_new_values_alone(home: Path) -> None:
    report.show(home)
    before, old = histories(), shown()
    path = home / "plots" / "curves.csv"
    curves = pd.read_csv(path)
    changed = curves["technique"] == "l2"
    curves.loc[changed, "val_accuracy"] += 0.125
    curves[~changed | (curves["epoch"] < 12)].to_csv(path, index=False)
    manifest(home, "report").unlink()  # or the change would be damage
    left = MlflowClient(os.environ["MLFLOW_TRACKING_URI"]).create_run(  # by an interrupted report
        old["l2"].info.experiment_id, tags={renewal.RENEWS: old["l2"].info.run_id}
    )
    (first, *_) = children_of(old["l2"])
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    client.set_tag(first.info.run_id, "mlflow.parentRunId", left.info.run_id)
    report.show(home)

    after, new = histories(), shown()
    assert new.keys() == old.keys()
    assert len(parents()) == len(old)
    for (technique, name), history in after.items():
        steps = [step for step, _ in history]
        assert len(steps) == len({*steps})
        if technique != "l2":
            assert history == before[technique, name]
            assert new[technique].info.run_id == old[technique].info.run_id
    assert max(step for step, _ in after["l2", f"{view.CURVE}val_accuracy"]) < 12
    raised = {step: value + 0.125 for step, value in before["l2", f"{view.CURVE}val_accuracy"]}
    for step, value in after["l2", f"{view.CURVE}val_accuracy"]:
        assert value == pytest.approx(raised[step])


def test_a_renewed_parent_has_all_that_it_had(home: Path) -> None:
    report.show(home)
    before = shown()["none"]
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    children, files = children_of(before), artifacts(before)
    run = renewal.write_curves(client, before, [Metric(f"{view.CURVE}val_loss", 7.0, 1, 3)])
    assert run.info.run_id != before.info.run_id
    run = client.get_run(run.info.run_id)
    assert client.get_run(before.info.run_id).info.lifecycle_stage == "deleted"
    for name in ("run_name", "status", "start_time", "end_time"):
        assert getattr(run.info, name) == getattr(before.info, name)
    assert (run.data.tags, run.data.params) == (before.data.tags, before.data.params)
    assert run.data.metrics == before.data.metrics | {f"{view.CURVE}val_loss": 7.0}
    assert inputs(run) == inputs(before)
    assert artifacts(run) == files
    assert "report/report.html" in files
    own = {child.info.run_id for child in children_of(run)}
    assert own == {child.info.run_id for child in children}
    assert len(own) == 10


def children_of(parent: Run) -> list[Run]:
    return [run for run in children() if run.data.tags["mlflow.parentRunId"] == parent.info.run_id]


def artifacts(run: Run) -> dict[str, bytes]:
    """All artifacts of a run, by path."""
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    folder = Path(client.download_artifacts(run.info.run_id, ""))
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_another_study_keeps_to_its_own_parents_view_and_alias(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report.show(home)
    before = {name: (run.info.run_id, run.data.metrics) for name, run in shown().items()}
    described = experiment().tags["mlflow.note.content"]
    asked = "techniques=l2_seeds=2"
    Path("params.yaml").write_text("", encoding="utf-8")
    own = Path("studies", asked)
    own.mkdir(parents=True)
    monkeypatch.chdir(own)
    assert context.asked() == asked
    report.show(published(Path("results/circles"), replicates=2, asked=asked))
    assert {name: (run.info.run_id, run.data.metrics) for name, run in shown().items()} == before
    assert experiment().tags["mlflow.note.content"] == described
    others = shown(asked)
    assert others.keys() == EFFECTS.keys()
    assert not {run.info.run_id for run in others.values()} & {i for i, _ in before.values()}
    assert all(run.info.run_name.endswith(asked) for run in others.values())
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    files = client.list_artifacts(others["none"].info.run_id, "report")
    assert {"report/report.html", "report/forest-tuned.png"} <= {file.path for file in files}
    assert f"{view.TAG}{view.name(asked)}" in experiment().tags
    assert alias(asked) != alias("") == "champion"


def test_without_a_store_a_report_is_not_shown(folder: Path, home: Path) -> None:
    Path("mlflow.db").unlink()
    assert report.show(home) is None


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
@pytest.mark.parametrize("asked", ["", "studies=circles,digits_techniques=l1,l2,dropout_seeds=2"])
def test_a_view_fits_a_tag_and_its_link_names_it(task: Any, asked: str) -> None:
    text = view.state(task, asked)
    assert len(text) <= 5000
    wanted = content(text)
    names = [chart["metricKey"] for chart in wanted["compareRunCharts"]]
    assert len(names) == len({*names})
    assert f"{view.CURVE}{task.val.name}" in names
    assert view.state(task, asked) == text
    assert f"viewStateShareKey={view.name(asked)}" in view.link("http://a:1/", "7", asked)
    assert "compareRunsMode" not in view.link("http://a:1/", "7", asked, table=True)


def test_a_loss_that_is_the_score_has_one_chart() -> None:
    assert len(content(view.state(RECONSTRUCTION))["compareRunCharts"]) == 4
    assert len(content(view.state(CLASSIFICATION))["compareRunCharts"]) == 5
