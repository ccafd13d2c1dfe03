"""What a report found, in MLflow: on the parents of its techniques, and on the experiment."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pipeline.analysis.curves import thinned
from pipeline.analysis.summary import (
    Finding,
    Row,
    corrected_p,
    difference_text,
    flags,
    measure_of,
    ranks,
)
from pipeline.datasets.task import Task
from pipeline.formatting import interval
from pipeline.techniques.registry import BASELINE
from pipeline.tracking import renewal, view
from pipeline.tracking.attachments import parent_of
from pipeline.tracking.entities import points_of, scalars
from pipeline.tracking.opening import visit
from pipeline.tracking.store import now

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

POINTS = 60  # of a mean curve


@dataclass(frozen=True)
class Report:
    """What is told of a study."""

    study: str
    finding: Finding | None  # None: a study that varies a size
    task: Task
    told: str  # headline and advice
    curves: pd.DataFrame  # mean learning curves, with setting and technique
    page: Path  # report.html
    digests: Mapping[str, str]  # technique -> study digest; see `attachments.studies`
    asked: str  # see `context.asked`


def show(report: Report) -> str | None:
    """Writes a finding to the parents of its techniques and to the experiment.

    Each parent gets its score and its difference to the baseline with interval and corrected p, the
    verdict in words, and mean learning curves; the baseline's also the page. The experiment of the
    study of params.yaml is described by what is told. A store without the study stays as it is.
    Returns the experiment's id, None if the store lacks the study or fails, with a warning.
    """
    found: list[str] = []
    visit(report.study, partial(_show, report=report, found=found))
    return found[0] if found else None


def _show(client: "MlflowClient", experiment_id: str, report: Report, found: list[str]) -> None:
    label = report.asked or view.PARAMS
    finding = report.finding
    shown = {*_show_techniques(client, experiment_id, finding, report)} if finding else set()
    for run_id in shown:
        client.set_tag(run_id, view.COMPARISON, label)
    for run in client.search_runs([experiment_id], f"tags.{view.COMPARISON} = '{label}'"):
        if run.info.run_id not in shown:
            client.delete_tag(run.info.run_id, view.COMPARISON)
    _tag(
        client,
        experiment_id,
        f"{view.TAG}{view.name(report.asked)}",
        view.state(report.task, report.asked),
    )
    if not report.asked:
        _tag(client, experiment_id, "mlflow.note.content", report.told)
    found.append(experiment_id)


def _show_techniques(
    client: "MlflowClient", experiment_id: str, finding: Finding, report: Report
) -> Iterator[str]:
    """Describes the parents of a finding's techniques; yields their ids."""
    for row in finding.primary:
        technique = str(row["technique"])
        run = parent_of(client, experiment_id, technique, report.digests, report.asked)
        if run is not None:
            curves = points_of(_curve(report, technique), now())
            run = renewal.write_curves(client, run, curves)
            _describe(client, run, row, finding)
            if technique == BASELINE:
                client.log_artifact(run.info.run_id, str(report.page), "report")
            yield run.info.run_id


def _tag(client: "MlflowClient", experiment_id: str, name: str, value: str) -> None:
    if client.get_experiment(experiment_id).tags.get(name) != value:
        client.set_experiment_tag(experiment_id, name, value)


def _describe(client: "MlflowClient", run: "Run", row: Row, finding: Finding) -> None:
    """Metrics and tags of one technique, of which those that are there already stay as they are."""
    metrics = {name: value for name, value in _metrics(row, finding).items() if np.isfinite(value)}
    known = run.data.metrics
    new = {name: value for name, value in metrics.items() if known.get(name) != value}
    renewal.log(client, run.info.run_id, scalars(new, now(), None))
    if run.data.tags.get(view.VERDICT) != verdict(finding, row):
        client.set_tag(run.info.run_id, view.VERDICT, verdict(finding, row))


def _metrics(row: Row, finding: Finding) -> dict[str, float]:
    metrics = {str(row["outcome"]): float(row["mean"])}
    if row["technique"] == BASELINE:
        return metrics
    metrics |= {
        view.DIFFERENCE: row["difference"],
        "difference_low": row["simultaneous_low"],
        "difference_high": row["simultaneous_high"],
        "p_corrected": row["p_simultaneous"],
    }
    return metrics | {
        f"difference_{other['outcome']}": other["difference"]
        for other in finding.secondary
        if other["technique"] == row["technique"]
    }


def verdict(finding: Finding, row: Row) -> str:
    """What is known of a technique: its group, and its difference with interval and p.

    Such as `better: +1.20 points [+0.40, +2.00], p = 0.003`, then secondary outcomes that gain.
    """
    measure = measure_of(row)
    if row["technique"] == BASELINE:
        score = f"baseline, {interval(measure.value, row, 'mean', measure.unit)}"
        return "; ".join([score, *flags(row)])
    if not ranks(row):
        return "; ".join(flags(row)) or "no rank"
    p = corrected_p(row)
    equals = p if p.startswith("<") else f"= {p}"
    difference = f"{difference_text(row, unit=True)}, p {equals}"
    if finding.lost:
        return "; ".join([f"nothing follows: {difference}", *flags(row)])
    gaining = (each for rows in finding.side_gains.values() for each in rows)
    titles = [measure_of(each).title for each in gaining if each["technique"] == row["technique"]]
    return "; ".join(
        [f"{row['group']}: {difference}", *(f"better {title}" for title in titles), *flags(row)]
    )


def _curve(report: Report, technique: str) -> pd.DataFrame:
    """The mean curve of a technique in the finding's setting, at some epochs."""
    curves, setting = report.curves, report.finding.setting if report.finding else ""
    own = curves[(curves["technique"] == technique) & (curves["setting"] == setting)]
    names = ["epoch", *report.task.curves]
    if own.empty:
        return own.reindex(columns=names)
    last = int(own["epoch"].max())
    nearest = own.iloc[np.unique(np.searchsorted(own["epoch"], thinned(last, POINTS)))]
    return nearest[names]
