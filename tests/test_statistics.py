"""Intervals, tests and corrections: known values, symmetries, and error rates by simulation."""

import itertools
import re
from typing import Any

import numpy as np
import pytest
from scipy import stats

from pipeline.analysis import statistics

PAIRS = (
    np.array([0.81, 0.79, 0.84, 0.80, 0.77, 0.83, 0.82, 0.80]),
    np.array([0.80, 0.80, 0.79, 0.78, 0.78, 0.80, 0.81, 0.80]),
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_interval_is_scipys_bca_interval() -> None:
    x = rng().normal(size=12)
    expected = stats.bootstrap((x,), np.mean, n_resamples=9_999, method="BCa", rng=rng(1))
    estimate = statistics.mean_interval(x, rng(1))
    assert estimate.mean == pytest.approx(x.mean())
    assert estimate[1:] == pytest.approx(tuple(expected.confidence_interval), abs=1e-4)


def test_interval_is_reproduced_by_its_seed() -> None:
    assert statistics.mean_interval(PAIRS[0], rng(3)) == statistics.mean_interval(PAIRS[0], rng(3))


@pytest.mark.parametrize(("factor", "shift"), [(1.0, 5.0), (100.0, 0.0), (1e-6, -3.0)])
def test_interval_moves_and_stretches_with_the_values(factor: float, shift: float) -> None:
    moved = statistics.mean_interval(factor * PAIRS[0] + shift, rng())
    plain = statistics.mean_interval(PAIRS[0], rng())
    assert moved == pytest.approx([factor * end + shift for end in plain], abs=1e-9)


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3])
def test_equal_values_have_an_interval_of_width_zero(value: float) -> None:
    assert statistics.mean_interval([value] * 7, rng()) == (value, value, value)


def test_one_value_has_no_interval() -> None:
    estimate = statistics.mean_interval([0.7], rng())
    assert estimate.mean == 0.7
    assert np.isnan(estimate[1:]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_leaves_nothing_to_tell(value: float) -> None:
    assert np.isnan(statistics.mean_interval([0.5, value], rng())).all()
    assert np.isnan(statistics.sign_flip_p([0.5, value], rng()))


@pytest.mark.parametrize("values", [[], [[0.1, 0.2]]])
def test_values_of_another_shape_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"`values` must have shape \(n,\) with n >= 1"):
        statistics.mean_interval(values, rng())


def test_values_that_do_not_pair_up_are_refused() -> None:
    with pytest.raises(ValueError, match="3 and 2 entries"):
        statistics.paired_difference([1, 2, 3], [1, 2], rng())


def test_exchanging_the_sides_mirrors_every_comparison() -> None:
    a, b = PAIRS
    forth, back = (statistics.paired_difference(*pair, rng()) for pair in ((a, b), (b, a)))
    assert forth == pytest.approx((-back.mean, -back.high, -back.low))
    assert statistics.sign_flip_p(a - b, rng()) == statistics.sign_flip_p(b - a, rng())
    assert statistics.improvement(a, b) + statistics.improvement(b, a) == 1


# Of the table in the module's docstring: seeds, values, and the coverage of each interval in %.
TOLD = re.findall(
    r"^ +(\d+) +([a-z]+) +([\d.]+) +([\d.]+) +([\d.]+)$", str(statistics.__doc__), flags=re.M
)
STUDIES = 1_000


def samples(values: str, n: int) -> tuple[np.ndarray[Any, Any], float]:
    """Simulated studies, shape (STUDIES, n), and their true mean."""
    random = rng(7)
    draws = {
        "normal": lambda: (random.normal(size=(STUDIES, n)), 0.0),
        "uniform": lambda: (random.uniform(size=(STUDIES, n)), 0.5),
        "exponential": lambda: (random.exponential(size=(STUDIES, n)), 1.0),
        "accuracy": lambda: (random.binomial(352, 0.98, size=(STUDIES, n)) / 352, 0.98),
    }
    return draws[values]()


def assert_coverage(hits: float, told: str) -> None:
    """Within three standard errors of what is told, in %, after `STUDIES` studies."""
    share = float(told) / 100
    error = np.sqrt(share * (1 - share) / STUDIES)
    assert abs(hits / STUDIES - share) < 3 * error, (hits / STUDIES, told)


def bootstrap_t_hits(x: np.ndarray[Any, Any], truth: float, resamples: int = 999) -> int:
    """How many bootstrap-t intervals of the rows of `x` hold the truth."""
    random, hits = rng(8), 0
    for row in x:
        again = row[random.integers(0, row.size, size=(resamples, row.size))]
        with np.errstate(all="ignore"):  # a resample of one value has no t
            t = (again.mean(axis=1) - row.mean()) / again.std(axis=1, ddof=1)
        low, high = np.quantile(t[np.isfinite(t)], [0.025, 0.975]) * row.std(ddof=1)
        hits += row.mean() - high <= truth <= row.mean() - low
    return hits


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seeds", "values", "bca"), [row[:3] for row in TOLD if row[0] in ("10", "30")]
)
def test_the_interval_holds_the_mean_as_often_as_the_module_says(
    seeds: str, values: str, bca: str
) -> None:
    x, truth = samples(values, int(seeds))
    ends = [statistics.mean_interval(row, rng(i), resamples=999) for i, row in enumerate(x)]
    assert_coverage(sum(end.low <= truth <= end.high for end in ends), bca)


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "values", "bca", "bootstrap_t", "student"), TOLD)
def test_other_intervals_hold_the_mean_as_often_as_the_module_says(
    seeds: str, values: str, bca: str, bootstrap_t: str, student: str
) -> None:
    x, truth = samples(values, int(seeds))
    low, high = stats.t.interval(0.95, x.shape[1] - 1, x.mean(axis=1), stats.sem(x, axis=1))
    assert_coverage(int(np.sum((low <= truth) & (truth <= high))), student)
    assert_coverage(bootstrap_t_hits(x, truth), bootstrap_t)


def test_the_table_of_coverage_is_complete() -> None:
    kinds = ("normal", "uniform", "exponential", "accuracy")
    assert [row[:2] for row in TOLD] == [(n, k) for n in ("5", "10", "20", "30") for k in kinds]


@pytest.mark.parametrize("n", [1, 5, 10, 16])
def test_differences_of_one_sign_have_the_smallest_exact_p(n: int) -> None:
    p = statistics.sign_flip_p(rng().uniform(0.01, 0.02, size=n), rng())
    assert p == pytest.approx(2 / 2**n)
    assert p == pytest.approx(statistics.smallest_p(n))


def test_the_smallest_p_beyond_the_exact_range_is_that_of_the_random_flips() -> None:
    p = statistics.sign_flip_p(rng().uniform(0.01, 0.02, size=30), rng())
    assert p == pytest.approx(statistics.smallest_p(30))
    assert p < 0.001


def test_p_is_the_share_of_sign_flips_that_are_as_extreme() -> None:
    d = rng(4).normal(0.5, 1, size=8)
    means = np.array([np.mean(d * signs) for signs in itertools.product((-1, 1), repeat=8)])
    expected = np.mean(np.abs(means) >= abs(d.mean()) - 1e-12)
    assert statistics.sign_flip_p(d, rng()) == pytest.approx(expected)


def test_random_flips_come_close_to_the_exact_p() -> None:
    d = rng(5).normal(0.4, 1, size=18)
    signs = 1 - 2 * ((np.arange(2**18)[:, None] >> np.arange(18)) & 1)
    exact = np.mean(np.abs(signs @ d) >= abs(d.sum()) - 1e-12)
    assert statistics.sign_flip_p(d, rng()) == pytest.approx(exact, abs=0.01)


def test_no_difference_at_all_has_p_one() -> None:
    assert statistics.sign_flip_p(np.zeros(10), rng()) == 1


def test_p_does_not_depend_on_order_or_unit() -> None:
    d = PAIRS[0] - PAIRS[1]
    p = statistics.sign_flip_p(d, rng())
    assert statistics.sign_flip_p(d[::-1], rng()) == p
    assert statistics.sign_flip_p(1e-9 * d, rng()) == p


@pytest.mark.slow
def test_equal_techniques_are_told_apart_no_more_often_than_claimed() -> None:
    random = rng(8)
    ps = [statistics.sign_flip_p(random.normal(size=10), random) for _ in range(600)]
    assert 0.02 <= np.mean(np.array(ps) < 0.05) <= 0.075


def test_improvement_counts_ties_half() -> None:
    assert statistics.improvement([1, 2, 3, 4], [0, 2, 4, 0]) == 0.625


def test_rows_that_are_clearly_worse_cannot_be_the_best() -> None:
    seeds = rng(1).normal(size=12)
    x = seeds + 0.1 * rng(2).normal(size=(4, 12)) + np.array([[0.0], [0.0], [-1.0], [-50.0]])
    p = statistics.best_p(x, rng())
    assert (p[:2] > 0.05).all()
    assert (p[2:] < 0.01).all()


def test_the_highest_mean_may_always_be_the_best() -> None:
    x = rng(3).normal(size=(6, 20))
    assert statistics.best_p(x, rng())[x.mean(axis=1).argmax()] == 1


def test_equal_rows_may_all_be_the_best() -> None:
    assert (statistics.best_p(np.tile(PAIRS[0], (3, 1)), rng()) == 1).all()
    assert statistics.best_p(PAIRS[0][None], rng()) == [1]


def test_p_best_does_not_depend_on_the_order_of_rows() -> None:
    x = rng(6).normal(size=(5, 20))
    p = statistics.best_p(x, rng())
    assert statistics.best_p(x[::-1], rng()) == pytest.approx(p[::-1])


def test_a_row_that_is_not_finite_leaves_the_others_as_they_are() -> None:
    x = rng(6).normal(size=(4, 10))
    p = statistics.best_p(x, rng())
    broken = statistics.best_p(np.vstack([x, np.full(10, np.nan)]), rng())
    assert broken == pytest.approx([*p, np.nan], nan_ok=True)


@pytest.mark.slow
def test_the_best_row_is_excluded_no_more_often_than_claimed() -> None:
    random = rng(9)
    excluded = [statistics.best_p(random.normal(size=(4, 8)), random)[0] < 0.05 for _ in range(300)]
    assert np.mean(excluded) <= 0.05


def test_values_without_rows_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(m, n\)"):
        statistics.best_p([0.1, 0.2], rng())


@pytest.mark.slow
@pytest.mark.parametrize("n", [6, 8, 12])
def test_a_difference_of_the_detectable_size_is_found_in_80_percent_of_studies(n: int) -> None:
    random, effect = rng(10), statistics.detectable_effect(n)
    ps = [statistics.sign_flip_p(effect + random.normal(size=n), random) for _ in range(300)]
    assert 0.66 <= np.mean(np.array(ps) < 0.05) <= 0.87
    assert statistics.pairs_needed(effect) == pytest.approx(n, abs=1)


def test_a_small_difference_takes_more_pairs_and_none_takes_fewer_than_a_sign_flip_needs() -> None:
    needed = [statistics.pairs_needed(effect) for effect in (0.01, 0.1, 1, 2, 50)]
    assert needed == sorted(needed, reverse=True)
    assert needed[0] == pytest.approx(78_490, rel=0.01)
    assert needed[-1] == statistics.FEWEST_PAIRS
    assert statistics.smallest_p(statistics.FEWEST_PAIRS) < 0.05
    assert statistics.smallest_p(statistics.FEWEST_PAIRS - 1) > 0.05


@pytest.mark.parametrize(("techniques", "q"), [(2, 1.960), (4, 2.569), (10, 3.164)])
def test_critical_difference_is_demsars(techniques: int, q: float) -> None:
    expected = q * np.sqrt(techniques * (techniques + 1) / (6 * 4))  # his table 5, four data sets
    assert statistics.critical_difference(techniques, 4) == pytest.approx(expected, abs=0.002)
