"""What is finished survives a kill at any moment."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.execution.journal import Journal
from pipeline.training.runs import Result


def result(key: str) -> Result:
    curves = {"val_loss": np.arange(3, dtype=np.float32)}
    probabilities = np.full((4, 1), 0.1, np.float32)
    inside = {"weights": np.ones(2, np.float16)}
    measures = {"val_accuracy": 0.5, "diverged": False}
    return Result(key, measures, curves, b"model", probabilities, inspection=inside)


def test_results_are_there_for_the_next_process(tmp_path: Path) -> None:
    Journal("circles", tmp_path).add(result("a"))
    again = Journal("circles", tmp_path)
    assert "a" in again
    assert "b" not in again
    found = again.result("a")
    assert found.measures == {"val_accuracy": 0.5, "diverged": False}
    assert found.curves is not None
    np.testing.assert_array_equal(found.curves["val_loss"], [0, 1, 2])
    assert again.model_path("a").read_bytes() == b"model"
    np.testing.assert_array_equal(again.inspection("a")["weights"], [1, 1])
    np.testing.assert_array_equal(again.probabilities("a"), np.full((4, 1), 0.1, np.float32))


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_line_cut_short_by_a_kill_is_as_if_it_never_was(cut: int, tmp_path: Path) -> None:
    journal = Journal("circles", tmp_path)
    journal.add(result("a"))
    journal.add(result("b"))
    lines = journal.folder / "units.jsonl"
    lines.write_bytes(lines.read_bytes()[:-cut])
    again = Journal("circles", tmp_path)
    assert ("a" in again, "b" in again) == (True, False)
    again.add(result("b"))
    assert "b" in Journal("circles", tmp_path)


def test_results_of_other_code_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Journal("circles", tmp_path).add(result("a"))
    monkeypatch.setattr("pipeline.execution.journal.code_digest", lambda: "other")
    assert "a" not in Journal("circles", tmp_path)
    assert [path.name for path in (tmp_path / "circles").iterdir()] == ["other"]
