"""scikit-learn's digits: many splits, every class in each part of each."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.datasets import PARTS, PROTOCOLS, digits
from pipeline.datasets.digits import DigitsData
from pipeline.errors import UserError


def section(validation: int = 360, test: int = 360, draws: int = 4) -> DigitsData:
    return DigitsData(input="", validation=validation, test=test, draws=draws)


def test_images_keep_their_shape_and_lie_between_0_and_1() -> None:
    dataset = digits.prepare("digits", section(), seed=1)
    assert dataset.x.shape == (1797, 8, 8)
    assert (dataset.x.min(), dataset.x.max()) == (0, 1)
    assert dataset.n_classes == 10


@settings(max_examples=15, deadline=None)
@given(st.integers(10, 800), st.integers(10, 800), st.integers(0, 2**40))
def test_parts_are_a_stratified_partition(validation: int, test: int, seed: int) -> None:
    dataset = digits.prepare("digits", section(validation, test, draws=2), seed)
    shares = np.bincount(dataset.y) / 1797
    for split in range(2):
        parts = {part: dataset.rows("leak_free", part, split) for part in PARTS}
        assert (parts["val"].size, parts["test"].size) == (validation, test)
        rows = np.concatenate(list(parts.values()))
        np.testing.assert_array_equal(np.sort(rows), np.arange(1797))
        for rows in parts.values():
            # The second cut rounds what the first has rounded: a class is off by less than two.
            counts = np.bincount(dataset.y[rows], minlength=10)
            assert np.abs(counts - shares * rows.size).max() < 2


def test_no_protocol_leaks_and_both_are_the_same() -> None:
    dataset = digits.prepare("digits", section(), seed=1)
    assert not any(dataset.leaks(protocol) for protocol in PROTOCOLS)
    for part in PARTS:
        for split in range(4):
            np.testing.assert_array_equal(
                dataset.rows("article", part, split), dataset.rows("leak_free", part, split)
            )


def test_splits_differ_and_each_depends_on_seed_and_index_alone() -> None:
    few, many = (digits.prepare("digits", section(draws=draws), seed=1) for draws in (2, 5))
    for part in PARTS:
        for split in range(2):
            np.testing.assert_array_equal(
                few.rows("leak_free", part, split), many.rows("leak_free", part, split)
            )
        sets = {frozenset(many.rows("leak_free", part, split).tolist()) for split in range(5)}
        assert len(sets) == 5


def test_splits_of_one_file_overlap_by_test_over_training_images() -> None:
    data = section(validation=357, test=352)
    assert digits.prepare("digits", data, seed=1).overlap("leak_free") == 352 / 1088
    one = digits.prepare("digits", replace(data, draws=1), seed=1)
    assert one.overlap("leak_free") == 0  # nothing to overlap with


def test_the_seed_decides_the_split() -> None:
    first = digits.prepare("digits", section(), seed=1)
    assert digits.prepare("digits", section(), seed=1).digest == first.digest
    other = digits.prepare("digits", section(), seed=2)
    for part in PARTS:
        same = np.isin(other.rows("leak_free", part, 0), first.rows("leak_free", part, 0))
        assert not same.all()


def test_parts_that_leave_no_training_images_are_refused() -> None:
    assert (
        digits.prepare("digits", section(1000, 787), seed=1).rows("article", "train", 0).size == 10
    )
    with pytest.raises(UserError, match=r"at most 1787 of the 1797 digits, but got 1000 \+ 788"):
        digits.prepare("digits", section(1000, 788), seed=1)
