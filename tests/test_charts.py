"""Figures are drawn of every search and of all curves, also of those with little to show."""

import threading
import warnings
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from pipeline.report.charts import CURVES, SEARCH, Trial, draw_curves, draw_search
from pipeline.techniques.ranges import Range

RANGES = {"strength": Range(1e-5, 1e-1, log=True), "patience": Range(1, 15, log=True, integer=True)}
FILES = {f"{name}.png" for name in SEARCH}


def trial(accuracy: float, pruned: bool = False, **values: float) -> Trial:
    return Trial(values, accuracy, pruned)


SEARCHES = {
    "two hyperparameters, some trials pruned": [
        trial(i / 9, i % 3 > 0, strength=10.0 ** -(i % 5), patience=1 + i) for i in range(9)
    ],
    "two trials of one, out of its range": [trial(0.5, strength=1.0), trial(0.75, strength=0.01)],
    "one without a range": [trial(i / 4, rate=0.1 * i) for i in range(4)],
    "one that is the same in all": [trial(i / 4, strength=0.1**i, rate=0.5) for i in range(4)],
}
NOTHING = {
    "no trials": [],
    "one trial": [trial(0.5, strength=0.1)],
    "all equally good": [trial(0.5, strength=0.1), trial(0.5, strength=0.2)],
    "nothing searched": [trial(0.5), trial(0.75)],
    "all but one pruned": [trial(0.5, strength=0.1), trial(0.25, True, strength=0.2)],
}


@pytest.mark.parametrize("name", SEARCHES)
def test_every_search_is_drawn_from_any_thread(name: str, tmp_path: Path) -> None:
    style = dict(mpl.rcParams)
    arguments = (SEARCHES[name], RANGES, tmp_path)
    thread = threading.Thread(target=draw_search, args=arguments)
    thread.start()
    thread.join()
    assert {key: mpl.rcParams[key] for key in style if key != "backend"} == {
        key: value for key, value in style.items() if key != "backend"
    }
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes.keys() == FILES
    assert all(5_000 < size < 200_000 for size in sizes.values())


@pytest.mark.parametrize("name", NOTHING)
def test_a_search_without_anything_to_compare_has_no_figures(name: str, tmp_path: Path) -> None:
    draw_search(NOTHING[name], RANGES, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_curves_of_different_lengths_and_with_gaps_are_drawn(tmp_path: Path) -> None:
    parts = [
        pd.DataFrame({"epoch": np.arange(1, length + 1), "setting": setting, "seed": length})
        for setting in ("article", "tuned")
        for length in (1, 5, 300)
    ]
    curves = pd.concat(parts, ignore_index=True)
    for measure in ("train_accuracy", "val_accuracy", "val_loss"):
        curves[measure] = 1 - 1 / (curves["epoch"] + curves["seed"])
    curves.loc[3:, "val_loss"] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_curves(curves, tmp_path / CURVES)
    assert 5_000 < (tmp_path / CURVES).stat().st_size < 100_000
