"""What is finished survives kills, damage and other code."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.config import loading, sections
from pipeline.execution import journal as module
from pipeline.execution.journal import LINES, Journal
from pipeline.stages import journal as stage
from pipeline.training.runs import Plan, Result, Run

PLAN = Plan("circles", "digest", loading.load().study("circles"), 1, sections.Engine())
A, B, C = PLAN.tuned("l2", {"strength": 0.1}, 0)[:3]
NUMBERS = {"val_accuracy": 0.5, "diverged": False, "val_loss": float("nan")}


def result(run: Run) -> Result:
    return Result(
        run.key,
        NUMBERS,
        curves={"val_loss": np.arange(3, dtype=np.float32)},
        model=b"model",
        probabilities=np.full((4, 1), 0.1, np.float32),
        inspection={"weights": np.ones(2, np.float16)},
        measured={"test_accuracy": 0.25},
    )


def filled(root: Path, runs: Sequence[Run] = (A, B)) -> Journal:
    journal = Journal("circles", root)
    journal.add(runs, [result(run) for run in runs])
    return journal


def made_by_other_code(monkeypatch: pytest.MonkeyPatch, digest: str) -> None:
    monkeypatch.setattr(module, "code_digest", lambda classes: digest)


def test_results_are_there_for_the_next_process(tmp_path: Path) -> None:
    filled(tmp_path, [A])
    again = Journal("circles", tmp_path)
    assert again.states([A, B]) == ["kept", "missing"]
    found = again.result(A.key)
    np.testing.assert_equal(found.measures, NUMBERS | {"test_accuracy": 0.25})
    assert found.curves is not None
    np.testing.assert_array_equal(found.curves["val_loss"], [0, 1, 2])
    assert again.model_path(A.key).read_bytes() == b"model"
    np.testing.assert_array_equal(again.inspection(A.key)["weights"], [1, 1])
    np.testing.assert_array_equal(again.probabilities(A.key), np.full((4, 1), 0.1, np.float32))


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_line_cut_short_by_a_kill_is_as_if_it_never_was(
    cut: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = filled(tmp_path).folder / LINES
    lines.write_bytes(lines.read_bytes()[:-cut])
    again = Journal("circles", tmp_path)
    assert again.states([A, B]) == ["kept", "missing"]
    again.add([B], [result(B)])
    assert Journal("circles", tmp_path).states([A, B]) == ["kept", "kept"]
    assert not caplog.records


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def altered(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def removed(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [cut_off, altered, removed])
@pytest.mark.parametrize(
    ("ending", "state"),
    [
        (".npz", "missing"),
        (".keras", "missing"),
        (".probabilities.npy", "to measure"),
        (".inspection.npz", "to measure"),
    ],
)
def test_a_damaged_file_is_made_again(
    ending: str,
    state: str,
    damage: Callable[[Path], None],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    damage(filled(tmp_path).folder / f"{A.key}{ending}")
    again = Journal("circles", tmp_path)
    assert again.states([A, B]) == [state, "kept"]
    assert again.states([A]) == [state]
    (record,) = caplog.records  # once
    assert "circles: 1 damaged" in record.getMessage()


def test_a_damaged_line_is_told_once_and_the_others_stay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = filled(tmp_path, [A, B, C]).folder / LINES
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1].replace(b"0.25", b"0.75") + b"\0\xff\n" + lines[2])
    assert Journal("circles", tmp_path).states([A, B, C]) == ["kept", "missing", "kept"]
    assert [r.getMessage()[:18] for r in caplog.records] == ["circles: 2 damaged"]
    Journal("circles", tmp_path).states([A, B, C])
    assert len(caplog.records) == 1


def test_a_checkpoint_that_is_damaged_is_no_place_to_go_on_from(tmp_path: Path) -> None:
    journal = Journal("circles", tmp_path)
    journal.add([A], [Result(A.key, {}, checkpoint={"curves": np.zeros((2, 5))})])
    path = journal.checkpoint(A.key)
    assert path is not None
    altered(path)
    assert journal.checkpoint(A.key) is None
    assert journal.states([A]) == ["kept"]


def test_a_kill_before_the_line_leaves_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = filled(tmp_path, [A])
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "_append", lambda *_: None)
        journal.add([A, B], [replace(result(A), model=b"other"), result(B)])
    states = Journal("circles", tmp_path).states([A, B])
    assert states == ["missing", "missing"]  # the files are not those of the line


def test_a_changed_measure_has_models_measured_again_and_nothing_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path)
    monkeypatch.setattr(module, "measuring_digest", lambda: "other")
    journal = Journal("circles", tmp_path)
    assert journal.states([A, B]) == ["to measure", "to measure"]
    probabilities = np.full((4, 1), 0.9, np.float32)
    journal.measured([Result(A.key, {}, probabilities=probabilities, measured={"new": 2.0})])
    again = Journal("circles", tmp_path)
    assert again.states([A, B]) == ["kept", "to measure"]
    np.testing.assert_equal(again.result(A.key).measures, NUMBERS | {"new": 2.0})
    np.testing.assert_array_equal(again.probabilities(A.key), probabilities)
    assert again.model_path(A.key).read_bytes() == b"model"


def test_a_trial_has_nothing_to_measure_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = PLAN.trial("l2", {"strength": 0.1}, search=0, turn=0)
    Journal("circles", tmp_path).add([trial], [Result(trial.key, NUMBERS)])
    monkeypatch.setattr(module, "measuring_digest", lambda: "other")
    assert Journal("circles", tmp_path).states([trial]) == ["kept"]


def test_a_trial_keeps_its_weights_and_its_test_scores_where_no_search_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large = (PLAN.trial("l2", {"strength": 0.1}, search=0, turn=turn) for turn in (0, 1))
    weights = [np.full((2, 3), index, np.float32) for index in range(12)]
    journal = Journal("circles", tmp_path)
    journal.add([small], [Result(small.key, NUMBERS, weights=weights)])
    journal.add([large], [Result(large.key, NUMBERS)])  # of which no weights are kept
    kept = journal.weights_path(small.key)
    assert kept is not None
    with np.load(kept) as arrays:
        np.testing.assert_array_equal([arrays[name] for name in sorted(arrays.files)], weights)
    assert journal.weights_path(large.key) is None
    assert journal.weights_path("unknown") is None
    assert journal.scores(small.key) is None
    journal.measured([Result(small.key, {}, measured={"test_accuracy": 0.75})])
    again = Journal("circles", tmp_path)
    assert again.scores(small.key) == {"test_accuracy": 0.75}
    np.testing.assert_equal(again.result(small.key).measures, NUMBERS)  # what a search is told
    assert again.states([small, large]) == ["kept", "kept"]
    assert again.weights_path(small.key) == kept
    monkeypatch.setattr(module, "measuring_digest", lambda: "other")
    assert again.scores(small.key) is None  # scored again by the measures of today
    altered(kept)
    assert Journal("circles", tmp_path).states([small]) == ["missing"]


def test_the_oldest_of_other_code_goes_first_and_todays_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        made_by_other_code(patched, "older")
        filled(tmp_path, [A, B])
    journal = filled(tmp_path, [C])
    usage = journal.usage
    assert (usage.current, usage.others) == (1, 2)
    journal.trim(usage.others_bytes)
    assert len(Journal("circles", tmp_path)) == 3
    journal.trim(usage.others_bytes - 1)
    assert Journal("circles", tmp_path).states([A, B, C]) == ["missing", "kept", "kept"]
    journal.trim(0)
    assert Journal("circles", tmp_path).states([A, B, C]) == ["missing", "missing", "kept"]
    left = {path.name.partition(".")[0] for path in journal.folder.iterdir()}
    assert left == {C.key, "runs"}


def test_a_switch_to_other_code_and_back_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path, [A])
    with monkeypatch.context() as patched:
        made_by_other_code(patched, "other")
        other = filled(tmp_path, [B])
        other.trim()
        assert other.usage.others == 1
    back = Journal("circles", tmp_path)
    assert back.states([A, B]) == ["kept", "kept"]
    assert (back.usage.current, back.usage.others) == (1, 1)


def test_the_command_tells_sizes_and_prunes_what_other_code_has_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    stage.main([])
    assert capsys.readouterr().out == ".journal has no finished runs\n"
    with module.at_work("circles"):
        filled(module.ROOT, [A])
    with monkeypatch.context() as patched:
        made_by_other_code(patched, "other")
        filled(module.ROOT, [B])
    earlier = module.ROOT / "circles" / "0123456789abcdef" / "units.jsonl"
    earlier.parent.mkdir()
    earlier.write_text("{}" * 5_000_000, encoding="utf-8")
    (module.ROOT / "programs").mkdir()
    stage.main([])
    told = "circles: 1 runs (0.0 MB) of the current code, 1 (10.0 MB) of other code"
    assert capsys.readouterr().out == f"{told}\n"
    stage.main(["--prune"])
    assert capsys.readouterr().out == f"{told}, deleted\n"
    stage.main([])
    after = "circles: 1 runs (0.0 MB) of the current code, 0 (0.0 MB) of other code"
    assert capsys.readouterr().out == f"{after}\n"
    assert Journal("circles", module.ROOT).states([A, B]) == ["kept", "missing"]
    assert (module.ROOT / "programs").exists()


def test_lines_are_json(tmp_path: Path) -> None:
    path = filled(tmp_path, [A]).folder / LINES
    entry = json.loads(path.read_text(encoding="utf-8"))
    assert entry["key"] == A.key
    assert "Penalty" in entry["parts"]
