"""The error of a choice, against paired variances and simulated searches."""

import itertools
from typing import Any

import numpy as np
import pytest
from scipy import stats

from pipeline.tuning.choice import as_good_as_off, choice_error, rank_correlation

Array = np.ndarray[Any, Any]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_squared_error_is_the_mean_of_the_paired_variances_of_all_pairs() -> None:
    scores = rng(1).normal(size=(7, 5)) + 3 * rng(2).normal(size=(1, 5))
    pairs = itertools.combinations(scores, 2)
    expected = np.mean([np.var(a - b, ddof=1) / 5 for a, b in pairs])
    assert choice_error(scores).on(5) ** 2 == pytest.approx(expected, rel=1e-9)
    assert choice_error(scores).df == 24


def test_what_a_draw_adds_to_all_candidates_does_not_count() -> None:
    scores = rng(1).normal(size=(6, 4))
    moved = choice_error(scores + 100 * rng(2).normal(size=(1, 4)))
    assert moved.on(4) == pytest.approx(choice_error(scores).on(4), rel=1e-8)


def test_two_draws_of_70_points_choose_with_an_error_of_about_4_points() -> None:
    scores = rng(3).binomial(70, 0.8, size=(24, 2)) / 70
    assert choice_error(scores).on(2) == pytest.approx(np.sqrt(0.8 * 0.2 / 70), abs=0.008)


def race(random: np.random.Generator, spread: float) -> Array:
    """24 candidates on 2 draws, the best 6 of them on 6, the best 2 of these on 15."""
    scores = spread * random.normal(size=(24, 1)) + random.normal(size=(24, 15))
    kept, seen = np.arange(24), np.full_like(scores, np.nan)
    for draws, survivors in ((2, 6), (6, 2), (15, 1)):
        seen[kept, :draws] = scores[kept, :draws]
        kept = kept[np.argsort(seen[kept, :draws].mean(axis=1))[-survivors:]]
    return seen + random.normal(size=(1, 15))


@pytest.mark.parametrize(("spread", "told"), [(0.0, 0.97), (2.0, 1.0)])
def test_a_race_tells_its_error_as_well_as_the_module_says(spread: float, told: float) -> None:
    squares = [choice_error(race(rng(seed), spread)).deviation ** 2 for seed in range(400)]
    assert np.sqrt(np.mean(squares)) == pytest.approx(told, abs=0.02)


def test_candidates_that_stand_nowhere_are_not_counted() -> None:
    scores = rng(4).normal(size=(3, 4))
    padded = np.vstack([scores, np.full((1, 4), np.nan)])
    assert choice_error(padded) == choice_error(scores)


def test_one_draw_tells_no_error() -> None:
    assert np.isnan(choice_error([[0.8], [0.7], [0.9]]).on(1))


def test_scores_are_checked() -> None:
    with pytest.raises(ValueError, match="`scores` must be finite"):
        choice_error([[0.8, np.inf]])
    with pytest.raises(ValueError, match="`scores` must have 2 axes and values"):
        choice_error([0.8, 0.7])
    with pytest.raises(ValueError, match="`draws` must be >= 1, but got 0"):
        choice_error([[0.8, 0.7], [0.6, 0.4]]).on(0)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [([0.80, 0.82], True), ([0.81, 0.83], True), ([0.85, 0.87], False), ([0.5, 0.5], True)],
)
def test_a_choice_within_one_error_of_none_is_as_good_as_off(
    chosen: list[float], expected: bool
) -> None:
    assert as_good_as_off(chosen, [0.80, 0.82], error=0.02) is expected


def test_what_is_unknown_is_not_as_good_as_off() -> None:
    assert not as_good_as_off([0.8, 0.8], [0.8, 0.8], np.nan)
    assert not as_good_as_off([0.8, np.nan], [0.8, 0.8], 0.1)
    assert not as_good_as_off([0.8, -np.inf], [0.8, 0.8], 0.1)
    with pytest.raises(ValueError, match="must pair up, but have 1 and 2"):
        as_good_as_off([0.8], [0.8, 0.8], 0.1)


def test_rank_correlation_is_spearmans_over_the_trials_that_finished() -> None:
    validation = [0.71, 0.74, np.nan, 0.80, 0.78, 0.69, 0.75]
    test = [0.70, 0.76, 0.50, 0.77, 0.79, 0.72, np.inf]
    found = rank_correlation(validation, test)
    expected = stats.spearmanr([0.71, 0.74, 0.80, 0.78, 0.69], [0.70, 0.76, 0.77, 0.79, 0.72])
    assert found.n == 5
    assert found.mean == pytest.approx(expected.statistic)
    assert found.low < found.mean < found.high


def test_the_interval_of_a_rank_correlation_covers() -> None:
    random, held = rng(5), 0
    truth = 6 / np.pi * np.arcsin(0.6 / 2)  # Spearman's of a normal pair whose Pearson's is 0.6
    for _ in range(1_000):
        a = random.normal(size=24)
        b = 0.6 * a + 0.8 * random.normal(size=24)
        found = rank_correlation(a, b)
        held += found.low <= truth <= found.high
    assert 0.93 <= held / 1_000 <= 0.98


@pytest.mark.parametrize("test", [[0.5, 0.5, 0.5, 0.5, 0.5], [0.5, 0.6, 0.7, np.nan, np.nan]])
def test_few_trials_or_constant_scores_have_no_correlation(test: list[float]) -> None:
    found = rank_correlation([0.1, 0.2, 0.3, 0.4, 0.5], test)
    assert np.isnan([found.mean, found.low, found.high]).all()
