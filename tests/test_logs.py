"""Each stage keeps a log, and the terminal shows warnings alone."""

import logging
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import logs
from pipeline.__main__ import main
from pipeline.errors import UserError
from pipeline.stages import fetch

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"


def tell(argv: list[str]) -> None:
    logging.getLogger("pipeline.stages.tune").info("l2: 3 trials")
    logging.getLogger("pipeline.tracking").warning("MLflow is away")
    logging.getLogger("elsewhere").warning("a library's warning")
    logging.getLogger("elsewhere").info("a library's chatter")


def fail(argv: list[str]) -> None:
    raise UserError("no data")


def break_down(argv: list[str]) -> None:
    raise ZeroDivisionError


def lines(folder: Path) -> list[str]:
    """The log of `fetch digits` without the times, which each line must have."""
    text = (folder / "logs/fetch-digits.log").read_text(encoding="utf-8")
    found = [re.fullmatch(f"{TIME} (.*)", line) for line in text.splitlines()]
    return [match[1] for match in found if match]


def test_a_log_has_what_the_pipeline_tells_and_the_terminal_its_warnings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fetch, "main", tell)
    assert main(["fetch", "digits"]) == 0
    warned = ["WARNING MLflow is away", "WARNING a library's warning"]
    assert lines(tmp_path) == ["INFO l2: 3 trials", *warned, "INFO fetch: finished in 0 s"]
    assert capsys.readouterr().err == "MLflow is away\na library's warning\n"
    assert main(["fetch", "digits"]) == 0
    assert len(lines(tmp_path)) == 8  # the second run adds to the file


@pytest.mark.parametrize(
    ("stage", "line", "shown", "code"),
    [
        (fail, "ERROR fetch: no data", "fetch: no data\n", 2),
        (break_down, "ERROR fetch: failed", "ZeroDivisionError\n", 1),
    ],
)
def test_a_log_says_why_a_stage_failed(
    stage: Callable[[list[str]], None],
    line: str,
    shown: str,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fetch, "main", stage)
    assert main(["fetch", "digits"]) == code
    assert lines(tmp_path) == [line]
    assert capsys.readouterr().err.endswith(shown)


def test_python_warnings_are_kept_and_what_was_set_is_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = list(logging.getLogger().handlers), logging.getLogger("pipeline").level
    with warnings.catch_warnings(), logs.kept(), logs.stage_file("fetch", "digits"):
        warnings.simplefilter("always")
        warnings.warn("a penalty is large", UserWarning, stacklevel=1)
    assert (list(logging.getLogger().handlers), logging.getLogger("pipeline").level) == before
    assert "a penalty is large" in (tmp_path / "logs/fetch-digits.log").read_text()


def test_what_is_not_of_one_data_set_has_no_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["techniques"]) == 0
    with pytest.raises(SystemExit):
        main(["fetch", "--help"])
    assert list(tmp_path.iterdir()) == []
