"""What a smaller search would have found."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline import results
from pipeline.analysis import tuning_curve
from pipeline.config.sections import random_trials
from pipeline.errors import UserError
from pipeline.techniques.ranges import Range
from pipeline.tuning.search import Search

from . import synthetic


def make_trials(techniques: list[str]) -> pd.DataFrame:
    """Trials of one search of each technique, on two draws."""
    return synthetic.make_trials(techniques).assign(search=0, draws=2)


SCORES = [0.71, 0.80, 0.62, 0.80, 0.75]


def test_expected_best_is_the_mean_over_all_subsets() -> None:
    expected = [
        np.mean([max(subset) for subset in itertools.combinations(SCORES, k)]) for k in range(1, 6)
    ]
    assert tuning_curve.expected_best(SCORES) == pytest.approx(expected)


def test_expected_best_is_unbiased_for_the_best_of_new_trials() -> None:
    random = np.random.default_rng(0)
    curves = [tuning_curve.expected_best(random.random(6)) for _ in range(4_000)]
    uniform = [k / (k + 1) for k in range(1, 7)]  # of k uniform draws, the largest
    assert np.mean(curves, axis=0) == pytest.approx(uniform, abs=0.01)


def test_expected_best_does_not_depend_on_order_and_never_falls() -> None:
    curve = tuning_curve.expected_best(SCORES)
    assert tuning_curve.expected_best(SCORES[::-1]) == pytest.approx(curve)
    assert (np.diff(curve) >= 0).all()
    assert curve[0] == pytest.approx(np.mean(SCORES))
    assert curve[-1] == max(SCORES)


@pytest.mark.parametrize("random", [1, 3, 5, 9])
def test_the_curve_goes_on_from_the_random_trials_with_the_best_so_far(random: int) -> None:
    curve = tuning_curve.tuning_curve(SCORES, random)
    last = min(random, 5)
    assert curve["expected"].count() == last
    assert curve["best_so_far"].count() == 5 - last + 1
    assert curve["expected"].iloc[last - 1] == pytest.approx(curve["best_so_far"].iloc[last - 1])
    assert curve["best_so_far"].iloc[-1] == max(SCORES)


@pytest.mark.parametrize(("count", "size"), [(1, 1), (4, 4), (10, 5), (24, 8), (30, 5), (31, 5)])
def test_random_trials_are_those_that_the_search_enqueues(count: int, size: int) -> None:
    search = Search("l2", 0, {"strength": Range(1e-6, 1e-1, log=True)}, count, size, 0)
    assert random_trials(count, size) == len(search.study.trials)


def test_trials_are_read_in_order_and_one_without_a_score_counts_as_no_hits(tmp_path: Path) -> None:
    path = tmp_path / "circles" / "trials.csv"
    path.parent.mkdir()
    table = make_trials(["none", "l1"])
    table.loc[3, "val_accuracy"] = np.nan
    table.sample(frac=1, random_state=0).to_csv(path, index=False)
    read = tuning_curve.ordered(results.read_trials(path.parent))
    none = read[read["technique"] == "none"]
    assert list(none["trial"]) == list(range(8))
    assert none["val_accuracy"].iloc[3] == 0


def test_mistakes_are_told_with_the_command_that_mends_them(tmp_path: Path) -> None:
    path = tmp_path / "digits" / "trials.csv"
    with pytest.raises(
        UserError, match=r"trials\.csv is missing; run `python -m pipeline tune digits`"
    ):
        results.read_trials(path.parent)
    path.parent.mkdir()
    pd.DataFrame({"technique": ["l1"]}).to_csv(path, index=False)
    with pytest.raises(
        UserError, match="lacks the columns task, search, trial, state, draws, val_loss; it has"
    ):
        results.read_trials(path.parent)
    make_trials(["l1"]).drop(columns="val_accuracy").to_csv(path, index=False)
    with pytest.raises(UserError, match="lacks the columns val_accuracy; it has"):
        results.read_trials(path.parent)
