"""Mean differences and their errors: against SciPy, statsmodels and simulated studies."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipeline.analysis import effects
from pipeline.analysis.effects import Effect, crossed, independent, resplit

Array = np.ndarray[Any, Any]
STUDIES = 4_000
DIFFERENCES = [0.012, -0.004, 0.021, 0.007, 0.0, 0.016, 0.003, -0.001, 0.011, 0.009]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_independent_differences_are_judged_by_the_paired_t_test_of_scipy() -> None:
    effect, expected = independent(DIFFERENCES), stats.ttest_1samp(DIFFERENCES, 0.0)
    assert effect.p() == pytest.approx(expected.pvalue, rel=1e-12)
    assert effect.interval()[1:] == pytest.approx(tuple(expected.confidence_interval()), rel=1e-12)
    above = stats.ttest_1samp(DIFFERENCES, 0.01, alternative="greater")
    assert effect.p_above(0.01) == pytest.approx(above.pvalue, rel=1e-12)


effect_values = st.builds(
    Effect,
    mean=st.floats(-10, 10),
    error=st.floats(0.01, 10),
    df=st.integers(1, 60).map(float),
)


@given(effect_values, st.floats(-10, 10), st.sampled_from([0.9, 0.95, 0.99]))
def test_an_interval_omits_what_its_p_rejects(effect: Effect, null: float, level: float) -> None:
    _, low, high = effect.interval(level)
    if abs(effect.p(null) - (1 - level)) > 1e-9:
        assert (effect.p(null) < 1 - level) == (not low <= null <= high)


@given(effect_values)
def test_the_turned_effect_is_its_mirror(effect: Effect) -> None:
    mean, low, high = effect.interval()
    assert (-effect).interval() == pytest.approx((-mean, -high, -low))
    assert (-effect).p_above(0.5) == pytest.approx(effect.p_below(-0.5))


@pytest.mark.parametrize("make", [independent, lambda d: resplit(d, 10 / 90)])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_one_value_that_is_not_finite_leaves_no_mean(
    make: Callable[[list[float]], Effect], value: float
) -> None:
    effect = make([0.1, value, 0.3])
    assert np.isnan([*effect.interval(), effect.p()]).all()


def test_one_row_that_is_not_finite_leaves_no_mean() -> None:
    effect = crossed([[0.1, np.nan], [0.2, 0.3]])
    assert np.isnan([*effect.interval(), effect.p()]).all()


@pytest.mark.parametrize(
    "effect", [independent([0.2]), crossed([[0.1, 0.3]]), crossed([[0.1], [0.3]])]
)
def test_a_single_replicate_has_a_mean_and_no_error(effect: Effect) -> None:
    assert effect.mean == pytest.approx(0.2)
    assert np.isnan([*effect.interval()[1:], effect.p()]).all()


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3])
def test_equal_differences_have_no_width(value: float) -> None:
    for effect in (independent([value] * 7), crossed([[value] * 3] * 7)):
        assert effect.interval() == (value, value, value)
        assert effect.p() == (0.0 if value else 1.0)


def test_shapes_and_sizes_are_checked() -> None:
    with pytest.raises(ValueError, match=r"`differences` must have shape \(n,\) with n >= 1"):
        independent([])
    with pytest.raises(ValueError, match=r"`differences` must have shape \(a, b\)"):
        crossed([0.1, 0.2])
    with pytest.raises(ValueError, match=r"`overlap` must be >= 0, but got -0\.1"):
        resplit([0.1, 0.2], -0.1)
    with pytest.raises(ValueError, match="`level` must lie in"):
        independent([0.1, 0.2]).interval(95)


# The table in the module's docstring

DRAWS: dict[str, tuple[Callable[[np.random.Generator, tuple[int, int]], Array], float]] = {
    "normal": (lambda random, shape: random.normal(size=shape), 0.0),
    "accuracy": (
        lambda random, shape: (
            (random.binomial(352, 0.98, shape) - random.binomial(352, 0.97, shape)) / 352
        ),
        0.01,
    ),
    "exponential": (lambda random, shape: random.exponential(size=shape), 1.0),
    "collapse": (
        lambda random, shape: random.normal(size=shape) - 20 * (random.random(shape) < 0.05),
        -1.0,
    ),
}
TOLD = {
    (int(row[0]), name): float(share)
    for row in re.findall(r"^ +(\d+)((?: +[\d.]+){4})$", str(effects.__doc__), flags=re.M)
    for name, share in zip(DRAWS, row[1].split(), strict=True)
}


def coverage(replicates: int, name: str) -> float:
    draw, truth = DRAWS[name]
    studies = draw(rng(11), (STUDIES, replicates))
    ends = np.array([independent(study).interval()[1:] for study in studies])
    return float(100 * np.mean((ends[:, 0] <= truth) & (truth <= ends[:, 1])))


@pytest.mark.parametrize(("replicates", "name"), TOLD)
def test_an_interval_holds_the_mean_as_often_as_the_module_says(replicates: int, name: str) -> None:
    told = TOLD[replicates, name]
    assert coverage(replicates, name) == pytest.approx(
        told, abs=3 * np.sqrt(told * (100 - told) / STUDIES)
    )


def test_the_module_promises_95_percent_where_differences_are_normal_or_of_accuracies() -> None:
    promised = [share for (_, name), share in TOLD.items() if name in ("normal", "accuracy")]
    assert len(TOLD) == 12
    assert len(promised) == 6
    assert all(94 <= share <= 96 for share in promised)


# Splits of one file


def test_without_overlap_the_error_is_the_plain_one() -> None:
    assert resplit(DIFFERENCES, 0.0) == independent(DIFFERENCES)


def test_the_error_has_nadeau_and_bengios_factor() -> None:
    expected = np.std(DIFFERENCES, ddof=1) * np.sqrt(1 / 10 + 10 / 90)
    assert resplit(DIFFERENCES, 10 / 90).error == pytest.approx(expected, rel=1e-12)


def split_again_and_again(random: np.random.Generator, rows: int, test: int) -> Array:
    """Differences in squared error, ridge minus least squares, of ten splits of one new file."""
    x = random.normal(size=(rows, 10))
    y = x @ np.full(10, 0.2) + random.normal(size=rows)
    order = np.array([random.permutation(rows) for _ in range(10)])
    tested, trained = order[:, :test], order[:, test:]
    gram = x[trained].transpose(0, 2, 1) @ x[trained]
    target = x[trained].transpose(0, 2, 1) @ y[trained][..., None]
    losses = [
        (
            (y[tested] - (x[tested] @ np.linalg.solve(gram + ridge * np.eye(10), target))[..., 0])
            ** 2
        )
        for ridge in (10.0, 0.0)
    ]
    return np.asarray((losses[0] - losses[1]).mean(axis=1))


def test_overlapping_splits_are_less_sure_than_they_look_and_the_factor_is_cautious() -> None:
    random = rng(3)
    files = np.array([split_again_and_again(random, rows=60, test=6) for _ in range(1_000)])
    true = files.mean(axis=1).var(ddof=1)
    plain = np.mean([independent(file).error ** 2 for file in files])
    cautious = np.mean([resplit(file, 6 / 54).error ** 2 for file in files])
    assert plain / true == pytest.approx(0.77, abs=0.1)
    assert cautious / true == pytest.approx(1.6, abs=0.2)


# Two samples at once


def table(random: np.random.Generator, a: int, b: int, deviations: tuple[float, ...]) -> Array:
    rows, columns, rest = deviations
    return np.asarray(
        random.normal(scale=rows, size=(a, 1))
        + random.normal(scale=columns, size=(1, b))
        + random.normal(scale=rest, size=(a, b))
    )


@pytest.mark.parametrize(
    ("shape", "deviations"),
    [((5, 200), (0.1, 0.5, 1.0)), ((3, 30), (1.0, 1.0, 1.0)), ((10, 40), (0.5, 1.0, 0.5))],
)
def test_the_variance_of_a_crossed_mean_is_unbiased_and_its_interval_covers(
    shape: tuple[int, int], deviations: tuple[float, float, float]
) -> None:
    random, (a, b), (rows, columns, rest) = rng(5), shape, deviations
    found = [crossed(table(random, a, b, deviations)) for _ in range(STUDIES)]
    variances = np.array([effect.error**2 for effect in found])
    true = rows**2 / a + columns**2 / b + rest**2 / (a * b)
    noise = variances.std() / np.sqrt(STUDIES)
    assert variances.mean() == pytest.approx(true, abs=max(4 * noise, 0.02 * true))
    held = np.mean([low <= 0 <= high for _, low, high in (each.interval() for each in found)])
    assert 0.92 <= held <= 0.985


def test_stored_predictions_of_a_fixed_test_set_cover_the_difference_in_accuracy() -> None:
    random, held = rng(6), 0
    for _ in range(1_000):
        # How easily each technique gets a row right varies by row, and by 5 training draws.
        easy = random.beta(8.0, 1.0, size=(2, 1, 300))
        skill = random.normal(1.0, 0.02, size=(2, 5, 1))
        right = random.random((2, 5, 300)) < np.clip(easy * skill, 0.0, 1.0)
        _, low, high = crossed(right[0].astype(float) - right[1]).interval()
        held += low <= 0 <= high
    assert 0.93 <= held / 1_000 <= 0.985


def test_a_crossed_mean_is_less_sure_than_its_replicates_alone_say() -> None:
    d = table(rng(1), 5, 100, (0.02, 1.0, 0.5))
    assert crossed(d).error > 2 * independent(d.mean(axis=1)).error


def test_without_a_component_of_columns_the_replicates_decide() -> None:
    d = np.add.outer([0.1, 0.4, 0.2, 0.3, 0.9], np.zeros(8))
    d[0, 0], d[0, 1] = 0.11, 0.09  # so that the rest is not zero
    found, expected = crossed(d), independent(d.mean(axis=1))
    assert (found.mean, found.error) == pytest.approx((expected.mean, expected.error))
    assert found.df == expected.df == 4


def test_exchanging_rows_and_columns_changes_nothing() -> None:
    d = table(rng(2), 4, 9, (1.0, 1.0, 1.0))
    there, back = crossed(d), crossed(d.T)
    assert (there.mean, there.error, there.df) == pytest.approx((back.mean, back.error, back.df))
