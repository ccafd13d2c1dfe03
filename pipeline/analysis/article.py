"""An article's experiment trained again, beside the numbers that it published."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pandas as pd
import yaml

from pipeline.analysis import semantics
from pipeline.analysis.paired import pairs
from pipeline.analysis.statistics import Estimate
from pipeline.results import task_of

FILE = Path(__file__).with_name("published.yaml")
POINTS = {
    "article": "the article's own points",
    "article_fresh": "fresh draws, which the article never saw",
}


@cache
def published() -> Mapping[str, Mapping[str, Mapping[str, float]]]:
    """Study → technique → measure → the number that the article printed."""
    numbers: dict[str, dict[str, dict[str, float]]] = yaml.safe_load(FILE.read_text("utf-8"))
    return numbers


def table(runs: pd.DataFrame) -> str:
    """Scores on training and test data of an article's settings, as aligned plain text."""
    blocks = [_block(group) for _, group in runs.groupby("setting", sort=False)]
    return "\n\n".join(blocks)


def _block(runs: pd.DataFrame) -> str:
    first, task = runs.iloc[0], task_of(runs)
    measures = (task.train, task.test)
    head = ["", *(f"{measure.title}, %" for measure in measures), "article", "gain on test"]
    baseline = runs[runs["technique"] == "none"]
    rows = [
        [
            " ".join(filter(None, (str(name), _reading(first["study"], str(name))))),
            *(_interval(pairs(own, None, measure.name).effect.interval()) for measure in measures),
            _printed(first["study"], str(name), str(first["setting"])),
            ""
            if name == "none"
            else _interval(pairs(own, baseline, task.test.name).effect.interval(), signed=True),
        ]
        for name, own in runs.groupby("technique", sort=False)
    ]
    cells = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    n = runs["replicate"].nunique()
    title = f"{first['study']}, {POINTS[str(first['setting'])]}: {n} runs each, 95 % intervals"
    return "\n".join([title, lines[0], "─" * max(map(len, lines)), *lines[1:]])


def _reading(study: str, technique: str) -> str:
    word = semantics.reading(study, technique)
    return f"({word})" if word else ""


def _printed(study: str, technique: str, setting: str) -> str:
    numbers = published().get(study, {}).get(technique, {}) if setting == "article" else {}
    return " / ".join(f"{100 * value:.0f}" for value in numbers.values())


def _interval(estimate: Estimate, signed: bool = False) -> str:
    mean, low, high = (f"{100 * value:{'+' if signed else ''}.1f}" for value in estimate)
    return f"{mean} [{low}, {high}]".replace("-", "\N{MINUS SIGN}")
