"""A parent with other curves: MLflow keeps every value of a metric, so it takes a new run."""

import tempfile
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

LIMIT = 1000  # metrics that MLflow takes at once
RENEWS = "renews"  # the tag of a run that is being filled: the id of the run that it replaces


def write_curves(client: "MlflowClient", run: "Run", curves: Sequence["Metric"]) -> "Run":
    """Gives a run these curves, one value per step; returns the run that has them.

    Points that are there stay. If one of them is no longer true, a new run takes the old one's
    place with all else that it has: name, times, artifacts and children. A run that is not finished
    keeps its curves.
    """
    wanted = _points(curves)
    names = {name for name, _ in wanted}
    histories = [
        client.get_metric_history(run.info.run_id, name) for name in names & run.data.metrics.keys()
    ]
    present = [point for history in histories for point in history]
    if any(wanted.get((each.key, each.step)) != each.value for each in present):
        if run.info.status != "FINISHED":
            return run
        run, present = _renew(client, run, names), []
    known = _points(present)
    log(client, run.info.run_id, [each for each in curves if (each.key, each.step) not in known])
    return run


def log(client: "MlflowClient", run_id: str, metrics: Iterable["Metric"]) -> None:
    """Logs any number of metrics."""
    points = [*metrics]
    for start in range(0, len(points), LIMIT):
        client.log_batch(run_id, points[start : start + LIMIT])


def _points(metrics: Iterable["Metric"]) -> dict[tuple[str, int], float]:
    return {(each.key, each.step): each.value for each in metrics}


def _renew(client: "MlflowClient", old: "Run", dropped: Iterable[str]) -> "Run":
    """A copy of a run without the `dropped` metrics, which replaces it."""
    experiment_id, old_id = old.info.experiment_id, old.info.run_id
    for left in client.search_runs([experiment_id], f"tags.{RENEWS} = '{old_id}'"):
        _adopt(client, left, old_id)  # of a report that was interrupted
        client.delete_run(left.info.run_id)
    new = client.create_run(experiment_id, old.info.start_time, {RENEWS: old_id})
    _fill(client, old, new.info.run_id, {*old.data.metrics} - {*dropped})
    _adopt(client, old, new.info.run_id)
    _name(client, old, new.info.run_id)
    client.delete_run(old_id)
    client.delete_tag(new.info.run_id, RENEWS)
    return client.get_run(new.info.run_id)


def _fill(client: "MlflowClient", old: "Run", run_id: str, metrics: Iterable[str]) -> None:
    """Copies params, histories of metrics, data sets and artifacts."""
    from mlflow.entities import Param

    params = [Param(name, value) for name, value in old.data.params.items()]
    client.log_batch(run_id, params=params)
    for name in metrics:
        log(client, run_id, client.get_metric_history(old.info.run_id, name))
    if old.inputs is not None:
        client.log_inputs(run_id, old.inputs.dataset_inputs)
    with tempfile.TemporaryDirectory() as folder:
        if client.list_artifacts(old.info.run_id):
            client.log_artifacts(run_id, client.download_artifacts(old.info.run_id, "", folder))


def _adopt(client: "MlflowClient", parent: "Run", run_id: str) -> None:
    """Gives a parent's children to another run."""
    query = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    while children := client.search_runs([parent.info.experiment_id], query, max_results=1000):
        for child in children:
            client.set_tag(child.info.run_id, "mlflow.parentRunId", run_id)


def _name(client: "MlflowClient", old: "Run", run_id: str) -> None:
    """Gives a copy the name, tags and end of its original."""
    from mlflow.entities import RunTag

    tags = [RunTag(name, value) for name, value in old.data.tags.items()]
    client.log_batch(run_id, tags=tags)
    client.update_run(run_id, name=old.info.run_name)
    client.set_terminated(run_id, old.info.status, old.info.end_time)
