"""Power: against statsmodels and simulated studies; what a null result rules out."""

import numpy as np
import pytest
from statsmodels.stats.power import TTestPower

from pipeline.analysis.effects import independent, resplit
from pipeline.analysis.power import (
    detectable,
    needed_after,
    power,
    power_of,
    replicates_needed,
    ruled_out,
)
from pipeline.analysis.statistics import Estimate

STUDIES = 3_000


@pytest.mark.parametrize("replicates", [2, 5, 10, 30])
@pytest.mark.parametrize("difference", [0.0, 0.3, 1.0, -1.0])
@pytest.mark.parametrize("level", [0.05, 0.05 / 8])
def test_power_is_that_of_statsmodels(replicates: int, difference: float, level: float) -> None:
    expected = TTestPower().power(effect_size=abs(difference), nobs=replicates, alpha=level)
    assert power(difference, 1.0, replicates, level=level) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(("replicates", "difference"), [(5, 1.5), (10, 1.0), (30, 0.4)])
def test_planted_effects_are_found_as_often_as_computed(replicates: int, difference: float) -> None:
    studies = np.random.default_rng(1).normal(difference, 1.0, size=(STUDIES, replicates))
    found = np.mean([independent(study).p() < 0.05 for study in studies])
    computed = power(difference, 1.0, replicates)
    assert found == pytest.approx(computed, abs=3 * np.sqrt(computed * (1 - computed) / STUDIES))


@pytest.mark.parametrize("replicates", [2, 5, 10, 1_000])
@pytest.mark.parametrize("overlap", [0.0, 0.25])
@pytest.mark.parametrize("level", [0.05, 0.05 / 8])
def test_what_is_detectable_has_a_power_of_80_percent(
    replicates: int, overlap: float, level: float
) -> None:
    smallest = detectable(0.3, replicates, overlap, level)
    assert power(smallest, 0.3, replicates, overlap, level) == pytest.approx(0.8, abs=1e-6)


@pytest.mark.parametrize("difference", [0.05, 0.2, 0.54, 1.0, 30.0])
def test_the_replicates_needed_are_the_fewest(difference: float) -> None:
    needed = replicates_needed(difference, 1.0)
    assert needed is not None
    assert power(difference, 1.0, needed) >= 0.8
    assert needed == 2 or power(difference, 1.0, needed - 1) < 0.8


def test_power_rises_with_the_difference_and_the_replicates() -> None:
    by_difference = [power(d, 1.0, 5) for d in np.linspace(0, 100, 400)]
    by_replicates = [power(0.7, 1.0, n) for n in range(2, 400)]
    for powers in (by_difference, by_replicates):
        assert np.all(np.diff(powers) >= -1e-9)
        assert powers[-1] == pytest.approx(1.0)


def test_0_2_points_would_take_29_seeds() -> None:
    assert replicates_needed(0.002, 0.0037) == 29


def test_no_number_of_overlapping_splits_shows_what_is_smaller_than_their_error() -> None:
    assert replicates_needed(0.5, 1.0, overlap=0.25) is None
    assert replicates_needed(2.0, 1.0, overlap=0.25) is not None
    assert replicates_needed(0.0, 1.0) is None


def test_overlap_is_the_error_of_repeated_splits() -> None:
    pilot = [0.1, 0.4, 0.2, 0.3, 0.9]
    expected = power(0.3, float(np.std(pilot, ddof=1)), 5, overlap=10 / 90)
    assert power_of(resplit(pilot, 10 / 90), 0.3) == pytest.approx(expected)


def test_a_small_pilot_knows_the_count_to_a_wide_range() -> None:
    needed = needed_after([0.001, 0.004, 0.002, 0.003, 0.009], 0.002)
    assert None not in (needed.low, needed.expected, needed.high)
    assert needed.low < needed.expected < needed.high  # type: ignore[operator]
    assert needed.high > 6 * needed.expected  # type: ignore[operator]


@pytest.mark.parametrize(
    ("ends", "gain", "loss"),
    [((-0.1, 0.4), 0.4, 0.1), ((-0.5, -0.1), 0.0, 0.5), ((0.1, 0.5), 0.5, 0.0)],
)
def test_gains_above_and_losses_below_the_interval_are_ruled_out(
    ends: tuple[float, float], gain: float, loss: float
) -> None:
    excluded = ruled_out(Estimate(sum(ends) / 2, *ends))
    assert (excluded.gain, excluded.loss) == (gain, loss)


def test_without_an_interval_nothing_is_ruled_out() -> None:
    excluded = ruled_out(Estimate(0.1, np.nan, np.nan))
    assert np.isnan([excluded.gain, excluded.loss]).all()


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="`spread` must be > 0, but got 0"):
        power(0.1, 0.0, 10)
    with pytest.raises(ValueError, match="`overlap` must be >= 0, but got -1"):
        detectable(0.1, 10, -1)
    with pytest.raises(ValueError, match="`replicates` must be >= 2, but got 1"):
        power(0.1, 0.1, 1)
    with pytest.raises(ValueError, match="the error of `effect` must be > 0, but got nan"):
        power_of(independent([0.1]), 0.1)
