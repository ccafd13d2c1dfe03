"""Sign flips: against SciPy's permutation test, and against Student's t."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipeline.analysis.effects import independent
from pipeline.analysis.sign_flips import FEWEST, SignFlips, sign_flips


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def flips(differences: object) -> SignFlips:
    made = sign_flips(differences, rng())  # type: ignore[arg-type]
    assert made is not None
    return made


@pytest.mark.parametrize("shift", [0.0, 0.6, -1.2])
def test_all_flips_give_the_p_of_scipys_permutation_test(shift: float) -> None:
    d = rng(1).normal(shift, size=10)
    expected = stats.permutation_test(
        (d,), np.mean, permutation_type="samples", n_resamples=2**10, vectorized=True
    )
    assert flips(d).p() == pytest.approx(expected.pvalue, abs=1e-12)


def test_random_flips_come_close_to_all_of_them() -> None:
    d = rng(2).normal(0.4, size=18)
    expected = stats.permutation_test(
        (d,), np.mean, permutation_type="samples", n_resamples=100_000, vectorized=True, rng=rng()
    )
    assert flips(d).p() == pytest.approx(expected.pvalue, abs=0.01)


accuracies = st.lists(st.integers(-20, 20), min_size=FEWEST, max_size=12)


@given(accuracies, st.integers(-20, 20))
def test_the_interval_holds_what_the_test_does_not_reject(counts: list[int], null: int) -> None:
    made = flips(np.array(counts) / 352)
    _, low, high = made.interval()
    tested = round(null / 352, 15)
    rejected = made.p(tested) <= 0.05
    if min(abs(tested - low), abs(tested - high)) > 1e-9:
        assert rejected == (not low <= tested <= high)


def test_the_interval_moves_with_the_values() -> None:
    d = rng(3).normal(size=10)
    moved = flips(3 * d + 5).interval()
    assert moved == pytest.approx([3 * end + 5 for end in flips(d).interval()], abs=1e-9)


@pytest.mark.parametrize("replicates", [9, 10, 20])
def test_the_interval_is_about_that_of_student(replicates: int) -> None:
    d = rng(4).normal(size=replicates)
    student, checked = independent(d).interval(), flips(d).interval()
    assert checked[1:] == pytest.approx(student[1:], abs=0.25 * (student.high - student.low))


def test_the_interval_covers_as_it_says() -> None:
    studies = rng(5).normal(size=(1_000, 9))
    held = [low <= 0 <= high for _, low, high in (flips(d).interval() for d in studies)]
    assert np.mean(held) == pytest.approx(1 - 24 / 512, abs=0.02)  # 12 of 512 flips on each side


@pytest.mark.parametrize("differences", [[0.1] * 8, [0.1] * 8 + [np.nan], [0.1] * 9 + [np.inf]])
def test_few_replicates_or_values_that_are_not_finite_are_not_checked(
    differences: list[float],
) -> None:
    assert sign_flips(differences, rng()) is None


def test_a_level_that_no_flip_reaches_has_no_ends() -> None:
    assert np.isnan(flips(rng().normal(size=9)).interval(0.999)[1:]).all()
