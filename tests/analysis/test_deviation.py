"""A standard deviation: its interval, its p, and which values it is of."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis.deviation import Deviation, of_repeats
from pipeline.analysis.paired import Pairs
from pipeline.analysis.verdict_rule import judge


@given(st.floats(0.1, 9), st.integers(1, 60), st.floats(0.05, 20))
def test_p_is_below_5_percent_iff_the_interval_omits_the_null(
    mean: float, df: int, null: float
) -> None:
    deviation = Deviation(mean, df)
    _, low, high = deviation.interval()
    if abs(deviation.p(null) - 0.05) > 1e-9:
        assert (deviation.p(null) < 0.05) == (not low <= null <= high)


@pytest.mark.parametrize("n", [5, 30])
def test_the_interval_holds_the_truth_in_95_percent_of_studies(n: int) -> None:
    values = np.random.default_rng(5).normal(0, 2.0, size=(4_000, n))
    intervals = [Deviation(float(x.std(ddof=1)), n - 1).interval() for x in values]
    assert 0.94 <= np.mean([low <= 2.0 <= high for _, low, high in intervals]) <= 0.96


@pytest.mark.parametrize(
    ("deviation", "word"), [(0.3, "holds"), (1.0, "cannot tell"), (3.0, "reversed")]
)
def test_it_is_judged_against_the_margin_itself(deviation: float, word: str) -> None:
    assert judge(Deviation(deviation, 9), "not higher", 1.0).word == word


def test_a_single_value_has_no_interval() -> None:
    judged = judge(of_repeats(pairs([[1.0]])), "not higher", 1.0)
    assert judged.word == "cannot tell"
    assert np.isnan(judged.p)


def pairs(values: list[list[float]]) -> Pairs:
    """Values of replicates, and of seeds within each."""
    index = [
        (0, replicate, len(seeds) * replicate + seed)
        for replicate, seeds in enumerate(values)
        for seed in range(len(seeds))
    ]
    return Pairs(np.array(index), np.concatenate(values), overlap=0.0)


def test_repeats_are_seeds_within_a_split_where_there_are_several() -> None:
    of_draws = of_repeats(pairs([[1.0], [3.0], [8.0]]))
    assert of_draws.mean == pytest.approx(np.std([1, 3, 8], ddof=1))
    assert of_draws.df == 2
    of_seeds = of_repeats(pairs([[1.0, 3.0], [11.0, 13.0], [1.0, 5.0]]))
    assert of_seeds.mean == pytest.approx(np.sqrt((2 + 2 + 8) / 3))
    assert of_seeds.df == 3


@pytest.mark.parametrize("null", [0.0, -1.0])
def test_a_null_that_is_no_deviation_is_refused(null: float) -> None:
    with pytest.raises(ValueError, match=r"`null` must be > 0"):
        Deviation(1.0, 9).p(null)
