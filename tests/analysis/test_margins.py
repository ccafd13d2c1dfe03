"""margins.yaml: each margin is dated and has a reason, and mistakes are named with their place."""

from pathlib import Path

import pytest

from pipeline.analysis.margins import margin, read_margins
from pipeline.errors import UserError

VALID = {"value": "0.01", "kind": "difference", "date": "2026-11-21", "reason": "One of 70."}


def write(path: Path, **changed: str) -> Path:
    lines = [f"  {key}: {value}\n" for key, value in (VALID | changed).items() if value != "absent"]
    file = path / "margins.yaml"
    file.write_text("".join(["accuracy:\n", *lines]), encoding="utf-8")
    return file


@pytest.mark.parametrize("name", read_margins())
def test_a_margin_is_dated_and_has_a_reason(name: str) -> None:
    known = margin(name, read_margins())
    assert 0 < known.value < 1
    assert known.reason.endswith(".")
    assert known.date.year == 2026


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    (only,) = read_margins(write(tmp_path)).values()
    assert (only.value, only.kind, str(only.date), only.reason) == (
        0.01,
        "difference",
        "2026-11-21",
        "One of 70.",
    )


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("value", "0", "accuracy.value must be a finite number > 0, but is 0"),
        ("value", ".inf", "accuracy.value must be a finite number > 0"),
        ("value", "true", "accuracy.value must be a finite number > 0, but is True"),
        ("value", "much", "accuracy.value must be a finite number > 0, but is 'much'"),
        ("kind", "points", "accuracy.kind must be one of difference, ratio, but is 'points'"),
        ("date", "lately", "accuracy.date must be a date"),
        ("date", "2999-01-01", "accuracy.date must be a date that is not in the future"),
        ("reason", "''", "accuracy.reason must be a sentence, but is ''"),
        ("reason", "absent", "accuracy must have the keys value, kind, date, reason"),
        ("unit", "points", "accuracy must have the keys value, kind, date, reason"),
    ],
)
def test_a_mistake_is_named_with_its_place(
    tmp_path: Path, key: str, value: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read_margins(write(tmp_path, **{key: value}))


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "margins.yaml").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="must hold a mapping of margins, but holds None"):
        read_margins(tmp_path / "margins.yaml")


def test_an_unknown_margin_lists_the_known() -> None:
    with pytest.raises(UserError, match="unknown margin 'sise'; did you mean 'size'"):
        margin("sise", read_margins())
