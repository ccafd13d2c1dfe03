"""An article's experiment trained again, beside the numbers that it published."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pandas as pd
import yaml

from pipeline.analysis import semantics
from pipeline.analysis.paired import Pairs, pairs
from pipeline.datasets.task import Measure, Task
from pipeline.formatting import aligned, counted
from pipeline.results import task_of
from pipeline.techniques.registry import BASELINE

FILE = Path(__file__).with_name("published.yaml")
POINTS = {
    "article": "the article's own points",
    "article_fresh": "fresh draws, which the article never saw",
}
VALUES = {"article": "the article's values"}  # where no points are told apart from fresh ones


@cache
def published() -> Mapping[str, Mapping[str, Mapping[str, float]]]:
    """Study → technique → measure → the number that the article printed."""
    numbers: dict[str, dict[str, dict[str, float]]] = yaml.safe_load(FILE.read_text("utf-8"))
    return numbers


def table(runs: pd.DataFrame) -> str:
    """Scores on training and test data of an article's settings, as aligned plain text."""
    by_setting = [group for _, group in runs.groupby("setting", sort=False)]
    points = POINTS if len(by_setting) > 1 else VALUES
    return "\n\n".join(_block(group, points) for group in by_setting)


def _block(runs: pd.DataFrame, points: Mapping[str, str]) -> str:
    first, task = runs.iloc[0], task_of(runs)
    study, setting, measures = first["study"], str(first["setting"]), (task.train, task.test)
    head = ("", *(measure.heading for measure in measures), "article", "gain on test")
    baseline = runs[runs["technique"] == BASELINE]
    rows = [
        (
            " ".join(filter(None, (name, _reading(study, name)))),
            *(_interval(measure, pairs(own, None, measure.name)) for measure in measures),
            _printed(study, name, setting, task),
            ""
            if name == BASELINE
            else _interval(task.test, pairs(own, baseline, task.test.name), sign="+"),
        )
        for name, own in ((str(name), own) for name, own in runs.groupby("technique", sort=False))
    ]
    n = runs["replicate"].nunique()
    return aligned(
        f"{study}, {points[setting]}: {counted(n, 'run')} each, 95 % intervals", [head, *rows]
    )


def _reading(study: str, technique: str) -> str:
    word = semantics.reading(study, technique)
    return f"({word})" if word else ""


def _printed(study: str, technique: str, setting: str, task: Task) -> str:
    numbers = published().get(study, {}).get(technique, {}) if setting == "article" else {}
    return " / ".join(f"{task.measures[name].scale * value:.4g}" for name, value in numbers.items())


def _interval(measure: Measure, values: Pairs, sign: str = "") -> str:
    """A mean and its interval; a share to a tenth of a percent, since articles print whole ones."""
    digits = f"{sign}.1f" if measure.share else f"{sign}.4g"
    mean, low, high = (f"{measure.scale * value:{digits}}" for value in values.effect.interval())
    return f"{mean} [{low}, {high}]".replace("-", "\N{MINUS SIGN}")
