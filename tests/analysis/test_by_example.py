"""Replicates that are tested on the same examples: these count as a source of variance too."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.analysis import by_example, effects, ensembles, paired, summary

from ..synthetic import make_runs, write_results

EFFECTS = {"none": 0.0, "l2": 0.03}


def same_test(folder: Path) -> tuple[Path, pd.DataFrame]:
    runs = make_runs(EFFECTS, seeds=5).assign(same_test=True)
    return write_results(folder / "mnist", runs), runs


def test_the_values_of_examples_average_to_those_of_the_predictions(tmp_path: Path) -> None:
    folder, runs = same_test(tmp_path)
    rows = by_example.read(folder, runs)
    assert rows.keys() == {"test_accuracy", "test_loss", "test_balanced_accuracy"}
    assert all(values.keys() == {*runs["key"]} for values in rows.values())
    for hits in rows["test_accuracy"].values():
        assert set(np.unique(hits)) <= {0.0, 1.0}


def test_the_losses_of_examples_average_to_those_of_the_runs(tmp_path: Path) -> None:
    """Runs have losses from logits; stored probabilities bound them."""
    folder, runs = same_test(tmp_path)
    losses = by_example.read(folder, runs)["test_loss"]
    for run in runs.to_dict("records"):
        assert losses[run["key"]].mean() == pytest.approx(run["test_loss"], rel=1e-5)


def test_the_balanced_hits_of_examples_average_to_the_balanced_accuracy(tmp_path: Path) -> None:
    folder, runs = same_test(tmp_path)
    predictions = ensembles.read(folder, runs)
    labels = np.concatenate([np.zeros(50, int), np.ones(150, int)])  # other than half and half
    hits = {key: ensembles.hits(p, labels) for key, p in predictions.probabilities.items()}
    stored = np.load(folder / "predictions.npz").items()
    changed: Any = {name: labels if name.endswith("/labels") else a for name, a in stored}
    np.savez(folder / "predictions.npz", **changed)
    rows = by_example.read(folder, runs)["test_balanced_accuracy"]
    for key, hit in hits.items():
        expected = (hit[labels == 0].mean() + hit[labels == 1].mean()) / 2
        assert rows[key].mean() == pytest.approx(expected, rel=1e-5)


def test_only_replicates_with_the_same_test_examples_have_them(tmp_path: Path) -> None:
    runs = make_runs(EFFECTS, seeds=5)
    assert by_example.read(write_results(tmp_path / "circles", runs), runs) == {}


def test_the_effect_is_that_of_replicates_crossed_with_examples() -> None:
    runs = make_runs(EFFECTS, seeds=5).assign(same_test=True)
    rng = np.random.default_rng(3)
    rows = {key: rng.random(50).astype(np.float32) for key in runs["key"]}
    first, second = (runs[runs["technique"] == name] for name in ("l2", "none"))
    pairs = paired.pairs(first, second, "test_accuracy", rows=rows)
    differences = np.stack(
        [
            rows[a].astype(float) - rows[b].astype(float)
            for a, b in zip(first["key"], second["key"], strict=True)
        ]
    )
    assert pairs.by_row == pytest.approx(differences)
    assert pairs.effect == effects.crossed(differences)
    assert pairs.flips(rng) is None
    assert [each.name for each in pairs.components()][1] == "test example"


def test_a_common_error_of_the_test_examples_widens_the_interval() -> None:
    """Replicates agree on a difference that a few test examples make."""
    runs = make_runs(EFFECTS, seeds=5, noise=0.001).assign(same_test=True)
    rng = np.random.default_rng(0)
    base = (rng.random(100) < 0.8).astype(np.float32)
    better = np.where(rng.random(100) < 0.15, 1.0, base).astype(np.float32)
    rows = {"test_accuracy": {}, "test_loss": {}}  # type: dict[str, dict[str, np.ndarray]]
    for row in runs.to_dict("records"):
        own = (better if row["technique"] == "l2" else base).copy()
        own[rng.integers(100)] = 1.0  # of each replicate
        rows["test_accuracy"][row["key"]] = own
        rows["test_loss"][row["key"]] = 1 - own
    plain, crossed = (
        summary.find(summary.summarize(runs, rows=given)).compared[0] for given in (None, rows)
    )
    assert crossed["error"] > 2 * plain["error"]


def test_shared_training_rows_widen_nothing_where_test_examples_count(tmp_path: Path) -> None:
    """Such as draws of one file with a test file: one correction for one source, never two."""
    found = []
    for overlap in (0.0, 0.25):
        runs = make_runs(EFFECTS, seeds=5, overlap=overlap).assign(same_test=True)
        home = write_results(tmp_path / str(overlap) / "mine", runs)
        table = summary.summarize(runs, rows=by_example.read(home, runs))
        found.append(summary.find(table).compared[0])
    apart, shared = found
    for column in ("error", "df", "simultaneous_low", "needed"):
        assert shared[column] == pytest.approx(apart[column], nan_ok=True)
    assert np.isfinite(shared["error"])
