"""Result files are read as they were written, and what is missing is reported in one way."""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline import results
from pipeline.analysis import comparison, summary
from pipeline.datasets import about
from pipeline.errors import UserError
from pipeline.tracking.records import final_record, trial_record

from .synthetic import make_inspection, make_runs, make_trials, write_results

EFFECTS = {"none": 0.0, "l2": 0.03}
READERS: dict[str, Callable[[Path, pd.DataFrame], Any]] = {
    results.TRIALS: lambda folder, _: results.read_trials(folder),
    results.TUNED: lambda folder, _: results.read_tuned(folder),
    results.RUNS: lambda folder, _: results.read_runs(folder),
    results.ABOUT: lambda folder, _: about.read(folder),
    results.CURVES: lambda folder, runs: results.read_curves(folder, runs, ["val_loss"]),
    results.PREDICTIONS: lambda folder, runs: list(results.read_predictions(folder, runs)),
    results.INSPECTIONS: lambda folder, _: list(results.read_inspections(folder)),
    results.YARDSTICKS: lambda folder, _: results.read_yardsticks(folder),
    results.SUMMARY: lambda folder, _: results.read_summary(folder),
    results.ADVICE: lambda folder, _: results.read_advice(folder),
}


@pytest.fixture
def runs() -> pd.DataFrame:
    return make_runs(EFFECTS)


@pytest.fixture
def folder(tmp_path: Path, runs: pd.DataFrame) -> Path:
    return write_results(tmp_path / "circles", runs)


@pytest.mark.parametrize("name", READERS)
def test_a_missing_file_is_reported_with_the_command_that_makes_it(
    name: str, tmp_path: Path, runs: pd.DataFrame
) -> None:
    stage = results.MADE_BY[name]
    with pytest.raises(
        UserError, match=f"{name} is missing; run `python -m pipeline {stage} circles`"
    ):
        READERS[name](tmp_path / "circles", runs)


@pytest.mark.parametrize("name", [results.TRIALS, results.RUNS])
def test_results_of_before_tasks_were_told_are_to_be_made_anew(
    name: str, folder: Path, runs: pd.DataFrame
) -> None:
    pd.read_csv(folder / name).drop(columns="task").to_csv(folder / name, index=False)
    with pytest.raises(UserError, match=r"lacks the columns task; it has .*; run `.*` again"):
        READERS[name](folder, runs)


def test_old_choices_are_to_be_made_anew(folder: Path) -> None:
    (folder / results.TUNED).write_text(json.dumps({"objective": "val_accuracy"}))
    with pytest.raises(UserError, match=r"lacks the columns task, techniques.*tune circles"):
        results.read_tuned(folder)


def test_a_missing_curve_is_named(folder: Path, runs: pd.DataFrame) -> None:
    with pytest.raises(UserError, match=r"lacks the columns penalty.*train circles"):
        results.read_curves(folder, runs, ["val_loss", "penalty"])
    more = pd.concat([runs, runs.head(1).assign(key="lost")])
    for read in (results.CURVES, results.PREDICTIONS):
        with pytest.raises(
            UserError, match=r"lacks the \w+ of 1 of the 21 runs .*, the first with key lost"
        ):
            READERS[read](folder, more)


def test_a_key_of_digits_stays_text(folder: Path, runs: pd.DataFrame) -> None:
    runs.assign(key=[f"{i:020d}" for i in range(len(runs))]).to_csv(
        folder / results.RUNS, index=False
    )
    assert results.read_runs(folder)["key"].iloc[1] == "00000000000000000001"
    assert results.read_rows(folder / results.RUNS)[1]["key"] == "00000000000000000001"


def test_inspections_are_read_as_they_were_written(folder: Path, runs: pd.DataFrame) -> None:
    expected = make_inspection(runs)
    found = {"/".join(labels): array for *labels, array in results.read_inspections(folder)}
    assert found.keys() == expected.keys()
    for label, array in expected.items():
        np.testing.assert_array_equal(found[label], array)


def test_hyperparameters_keep_their_names_whatever_a_measure_is_called(tmp_path: Path) -> None:
    values = {"test_loss": 9.0, "seconds": 8.0, "val_accuracy": 7.0, "l2/first.strength": 0.5}
    run: results.Row = {"architecture": "mlp", "protocol": "leak_free"}
    run |= {str(name): value for name, value in make_runs(EFFECTS).iloc[-1].items()}
    trials = make_trials(["l2"]).filter(regex="^(?!params)")
    trial: results.Row = {str(name): value for name, value in trials.iloc[0].items()}
    results.write_rows([run | results.param_columns(values)], tmp_path / results.RUNS)
    results.write_rows([trial | results.param_columns(values)], tmp_path / results.TRIALS)
    (final,) = (final_record(row, None, None) for row in results.read_rows(tmp_path / results.RUNS))
    (tried,) = (trial_record(row, "mlp") for row in results.read_rows(tmp_path / results.TRIALS))
    assert final.params == tried.params == values
    assert (final.metrics["test_loss"], final.metrics["seconds"]) == (0.5, 2.0)
    assert tried.metrics["val_accuracy"] == trial["val_accuracy"]
    assert not [name for name in final.metrics if name.startswith(results.PARAM)]


def test_a_hyperparameter_is_no_measure_to_compare_or_to_summarize() -> None:
    runs = make_runs(EFFECTS)
    values = {"params.test_loss": 9.0, "params.seconds": 8.0, "params.strength": 0.1}
    varied = runs.assign(**values)
    assert comparison.measures(varied) == comparison.measures(runs)
    pd.testing.assert_frame_equal(summary.summarize(varied), summary.summarize(runs))


def test_paths_and_names_need_no_pandas() -> None:
    code = "import sys, pipeline.results; print({'pandas', 'keras'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"


MORE: dict[str, Callable[[Path, pd.DataFrame], Any]] = {
    results.CHOICES: lambda folder, _: results.read_choices(folder),
}
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "emptied": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "random": lambda content: np.random.default_rng(0).bytes(len(content)),
    "flipped": lambda content: flipped(content, 1),
    "flipped elsewhere": lambda content: flipped(content, 2),
    "a list": lambda content: b"[1, 2]",
    "null": lambda content: b"null",
}


def flipped(content: bytes, seed: int) -> bytes:
    """Eight bytes of the content are others."""
    changed, rng = bytearray(content), np.random.default_rng(seed)
    for place in rng.choice(len(content), 8, replace=False):
        changed[place] ^= int(rng.integers(1, 256))
    return bytes(changed)


def by_stage(folder: Path) -> None:
    """Writes manifests of what is there."""
    for stage in {*results.MADE_BY.values()}:
        names = [name for name, maker in results.MADE_BY.items() if maker == stage]
        results.seal(folder, stage, [name for name in names if (folder / name).exists()])


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", [*READERS, *MORE])
def test_a_damaged_file_is_told_in_a_sentence(
    name: str, damage: str, listed: bool, folder: Path, runs: pd.DataFrame
) -> None:
    """Without a manifest some damage cannot be seen, but none of it ends in a traceback."""
    results.write_summary(summary.summarize(runs), folder)
    advised = {"text": "Use l2.", "technique": "l2", "by_validation": "l2"}
    results.write_json(advised, folder / results.ADVICE)
    read = (READERS | MORE)[name]
    read(folder, runs)
    if listed:
        by_stage(folder)
        read(folder, runs)
    (folder / name).write_bytes(DAMAGES[damage]((folder / name).read_bytes()))
    if listed:
        with pytest.raises(UserError) as told:
            read(folder, runs)
        assert f"run `python -m pipeline {results.MADE_BY[name]} circles`" in str(told.value)
        assert f"dvc checkout --force {folder / name}" in str(told.value)
    else:
        with suppress(UserError):
            read(folder, runs)


def test_a_file_that_a_manifest_lists_is_missed(folder: Path, runs: pd.DataFrame) -> None:
    by_stage(folder)
    (folder / results.CHOICES).unlink()
    with pytest.raises(UserError, match=r"choices.csv is missing; run .*train circles"):
        results.check_stage(folder, "train")


def test_a_damaged_manifest_is_told_and_none_is_needed(folder: Path, runs: pd.DataFrame) -> None:
    by_stage(folder)
    path = folder / "manifest-train.json"
    text = path.read_text(encoding="utf-8")
    for changed in ("", text[:-40], text.replace("runs.csv", "runs.txt"), "[]"):
        path.write_text(changed, encoding="utf-8")
        with pytest.raises(UserError, match=r"manifest-train.json is damaged .*train circles"):
            results.read_runs(folder)
    path.unlink()
    assert len(results.read_runs(folder)) == len(runs)


@pytest.mark.parametrize("name", ["../../escaped", "x<script>", "", ".hidden", "a/b", "a b"])
def test_names_from_a_file_are_names(name: str, folder: Path, runs: pd.DataFrame) -> None:
    told = r"must have names of letters, digits and _ \. -, but has|lacks"
    if name:  # an empty cell is a missing value
        for file, column in ((results.RUNS, "technique"), (results.TRIALS, "technique")):
            table = pd.read_csv(folder / file)
            table.replace({column: {"l2": name}}).to_csv(folder / file, index=False)
            with pytest.raises(UserError, match=told):
                READERS[file](folder, runs)
    tuned = json.loads((folder / results.TUNED).read_text(encoding="utf-8"))
    tuned["techniques"][name] = tuned["techniques"].pop("l2")
    (folder / results.TUNED).write_text(json.dumps(tuned), encoding="utf-8")
    with pytest.raises(UserError, match=told):
        results.read_tuned(folder)
    arrays: dict[str, Any] = {f"tuned/{name}/weights": np.zeros(3)}
    np.savez(folder / results.INSPECTIONS, **arrays)
    with pytest.raises(UserError, match=r"must have names|is damaged"):
        list(results.read_inspections(folder))


@pytest.mark.parametrize("path", ["/etc/passwd", "models/../../x.keras", "models/c/l2/x.txt", "x"])
def test_a_model_is_one_of_the_project(path: str) -> None:
    with pytest.raises(UserError, match=r"must name models as models/<study>"):
        results.check_model(Path(path))
