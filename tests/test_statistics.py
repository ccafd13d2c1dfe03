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
    assert statistics.improvement([1, 0, -1, 4]) == 0.625
    gains = rng(3).normal(size=11)
    assert statistics.improvement(gains) + statistics.improvement(-gains) == pytest.approx(1)
