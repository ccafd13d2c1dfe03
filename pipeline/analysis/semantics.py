"""Reads semantics.yaml: whose software an article's setting is read with.

An article's numbers are about what its software computed. Where Keras 3.15.1 computes something
else for the same line, the setting has two readings: *as run then* and *as the code runs today*.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import yaml
from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from pipeline.datasets.section import FROZEN

FILE = Path(__file__).with_name("semantics.yaml")
THEN, TODAY = "as run then", "as the code runs today"


@dataclass(frozen=True, config=FROZEN)
class Setting:
    """An article's setting in two readings, both in terms of Keras 3.15.1."""

    article: str
    study: str
    line: str  # as the article prints it
    then: Mapping[str, float]
    today: Mapping[str, float]
    today_technique: str  # name of the technique in params.yaml that has today's reading
    release: str  # of the package that the article ran on
    source: str  # file and lines there
    why: str


@cache
def settings() -> Mapping[str, Setting]:
    """The settings that differ, by the technique that has the reading of then."""
    sections = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return TypeAdapter(dict[str, Setting]).validate_python(sections)


def reading(study: str, technique: str) -> str:
    """Which reading a technique of an article's setting is; empty where they do not differ.

    >>> reading("circles", "activity_l1_before_today")
    'as the code runs today'
    """
    for name, setting in settings().items():
        if setting.study == study and technique in (name, setting.today_technique):
            return THEN if technique == name else TODAY
    return ""
