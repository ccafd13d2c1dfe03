"""The probability of improvement."""

import numpy as np
import pytest

from pipeline.analysis.statistics import improvement


def test_improvement_counts_ties_half() -> None:
    assert improvement([1, 0, -1, 4]) == 0.625


def test_exchanging_the_sides_gives_the_rest() -> None:
    gains = np.random.default_rng(3).normal(size=11)
    assert improvement(gains) + improvement(-gains) == pytest.approx(1)


@pytest.mark.parametrize("gains", [[], [[0.1, 0.2]]])
def test_gains_of_another_shape_are_refused(gains: list[float]) -> None:
    with pytest.raises(ValueError, match=r"`gains` must have shape \(n,\) with n >= 1"):
        improvement(gains)
