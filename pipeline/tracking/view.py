"""The view of an experiment that its link opens: which runs, columns and charts MLflow shows.

MLflow's page keeps a shared view as JSON in a tag of the experiment and opens the one that the
address names. Read from the page's own code, MLflow 3.17; a test opens it in a browser.
"""

import base64
import json
import re
import zlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode
from uuid import NAMESPACE_URL, uuid5

from pipeline.datasets.task import Measure, Task

TAG = "mlflow.sharedViewState."  # then the view's name
COMPARISON = "comparison"  # the tag of the parents that are shown, and the name of the view
PARAMS = "params.yaml"  # the value of that tag for the study of params.yaml
CURVE = "curve/"  # prefix of metrics that are learning curves
DIFFERENCE, VERDICT = "difference", "verdict"
SECTION = {"display": True, "isReordered": False, "columns": 2, "cardHeight": 300}
SHOWN = 20  # techniques whose curves are drawn at first


def slug(asked: str) -> str:
    """What was asked for beside params.yaml, as part of an alias or address; empty if nothing.

    >>> slug("studies=circles_seeds=2")
    'studies-circles_seeds-2'
    """
    return re.sub(r"[^A-Za-z0-9_-]+", "-", asked)


def name(asked: str) -> str:
    """The name of the view of a study; see `context.asked`."""
    return f"{COMPARISON}-{slug(asked)}" if asked else COMPARISON


def link(ui: str, experiment_id: str, asked: str = "", table: bool = False) -> str:
    """The address that opens a study's charts, or the table of its techniques."""
    wanted = {"viewStateShareKey": name(asked)}
    wanted |= {} if table else {"compareRunsMode": "CHART"}
    wanted |= {"workflowType": "machine_learning"}  # not the pages for language models
    return f"{ui.rstrip('/')}/#/experiments/{experiment_id}/runs?{urlencode(wanted)}"


def state(task: Task, asked: str = "") -> str:
    """The content of the tag: parents of the latest report, with score, difference and verdict."""
    content = {
        "searchFilter": f"tags.{COMPARISON} = '{asked or PARAMS}'",
        "orderByKey": "attributes.start_time",
        "orderByAsc": True,  # the baseline first
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "selectedColumns": [*_columns(task)],
        "columnOrder": [*_columns(task)],
        "columnWidths": dict.fromkeys(_columns(task), 120) | {f"tags.`{VERDICT}`": 330},
        "runsHiddenMode": f"FIRST_{SHOWN}_RUNS",
        "isAccordionReordered": True,  # ours come first
        "compareRunCharts": [*_charts(task)],
        "compareRunSections": [
            {**_flags(title), **SECTION, "name": title}
            for title in dict.fromkeys(title for title, *_ in _plan(task))
        ],
    }
    packed = zlib.compress(json.dumps(content, separators=(",", ":")).encode(), 9)
    return f"deflate;{base64.b64encode(packed).decode()}"


def _columns(task: Task) -> Iterator[str]:
    yield f"tags.`{VERDICT}`"
    yield f"metrics.`{task.test.name}`"
    yield f"metrics.`{DIFFERENCE}`"


def _plan(task: Task) -> Iterator[tuple[str, str, str]]:
    """Section, metric and title of each chart."""
    for curve in sorted(task.curves, key=lambda name: name.startswith("train")):
        yield "Learning curves", f"{CURVE}{curve}", f"{Measure(curve).title} by epoch"
    yield "Against no regularization", DIFFERENCE, f"difference in {task.test.title}"
    yield "Against no regularization", task.test.name, task.test.title


def _charts(task: Task) -> Iterator[dict[str, Any]]:
    for section, metric, title in _plan(task):
        shape: dict[str, object] = {
            "type": "LINE",
            "xAxisScaleType": "log",
            "xAxisKey": "step",
            "yAxisKey": "metric",
        }
        shape |= {"lineSmoothness": 0, "useGlobalLineSmoothing": False}
        curve = metric.startswith(CURVE)
        yield {
            **_flags(metric),
            **(shape if curve else {"type": "BAR"}),
            **({"selectedMetricKeys": [metric], "range": {}} if curve else {}),
            "metricSectionId": _id(section),
            "metricKey": metric,
            "displayName": title,
            "runsCountToCompare": SHOWN,
            "useGlobalXaxisKey": False,
        }


def _flags(what: str) -> dict[str, Any]:
    return {"uuid": _id(what), "deleted": False, "isGenerated": False}


def _id(what: str) -> str:
    """The same for the same part of a view, so that a repeated report changes nothing."""
    return str(uuid5(NAMESPACE_URL, what))
