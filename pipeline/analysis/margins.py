"""Reads margins.yaml: the smallest differences that matter, each dated and with its reason."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from pipeline.errors import UserError, nearest

FILE = Path(__file__).with_name("margins.yaml")
Kind = Literal["difference", "ratio"]


@dataclass(frozen=True)
class Margin:
    """The smallest difference that matters."""

    value: float  # > 0
    kind: Kind  # a difference in the values' own unit, or a share of the second side's value
    date: datetime.date  # when it was set or last changed
    reason: str


def read_margins(path: Path = FILE) -> dict[str, Margin]:
    """All margins by name. Raises UserError for a key, a value or a form that is not expected."""
    sections = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(sections, dict) or not sections:
        raise UserError(f"{path} must hold a mapping of margins, but holds {sections!r}")
    return {str(name): _margin(section, f"{path}: {name}") for name, section in sections.items()}


@cache
def committed() -> Mapping[str, Margin]:
    """The margins of `FILE`, which is read once."""
    return read_margins()


def margin(name: str, margins: Mapping[str, Margin] | None = None) -> Margin:
    """The margin of this name, by default of `FILE`.

    Raises UserError, which suggests a similar name, if there is none.
    """
    margins = committed() if margins is None else margins
    if name not in margins:
        raise UserError(f"unknown margin {name!r}{nearest(name, margins)}")
    return margins[name]


def _margin(section: Any, where: str) -> Margin:
    keys = [field.name for field in fields(Margin)]
    if not isinstance(section, dict) or sorted(section) != sorted(keys):
        raise UserError(f"{where} must have the keys {', '.join(keys)}, but is {section!r}")
    for key, (valid, expected) in EXPECTED.items():
        if not valid(section[key]):
            raise UserError(f"{where}.{key} must be {expected}, but is {section[key]!r}")
    return Margin(**section | {"value": float(section["value"])})


EXPECTED: Mapping[str, Any] = {
    "value": (
        lambda value: type(value) in (int, float) and 0 < value < float("inf"),
        "a finite number > 0",
    ),
    "kind": (lambda value: value in get_args(Kind), f"one of {', '.join(get_args(Kind))}"),
    "date": (
        lambda value: type(value) is datetime.date and value <= datetime.date.today(),
        "a date that is not in the future, such as 2026-11-21",
    ),
    "reason": (lambda value: isinstance(value, str) and value.strip(), "a sentence"),
}
