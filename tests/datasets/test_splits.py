"""Splits of one file: equal sizes, units undivided, strata in their shares, time in order."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.datasets import PARTS, Ints
from pipeline.datasets.splits import (
    Parts,
    Sizes,
    digests,
    folds,
    in_order,
    known_test,
    one_test,
    repeated,
    units_of,
)
from pipeline.errors import UserError

SIZES = Sizes(test=20, val=20)


def _labels(n: int = 100, shares: Sequence[float] = (0.5, 0.3, 0.2)) -> Ints:
    counts = [round(n * share) for share in shares]
    return np.repeat(np.arange(len(shares), dtype=np.int32), counts)


def _disjoint(parts: Parts) -> None:
    for rows in zip(*(parts[part] for part in PARTS), strict=True):
        together = np.concatenate(rows)
        assert np.unique(together).size == together.size


@pytest.mark.parametrize("split", [repeated, folds, one_test])
def test_the_parts_of_a_draw_share_no_row_and_are_as_large_as_asked(split: Any) -> None:
    sizes = Sizes(test=20, val=5, train=10)
    parts = split(_labels(), np.arange(100), sizes, 5, 1)
    _disjoint(parts)
    assert {part: rows.shape for part, rows in parts.items()} == {
        "train": (5, 10),
        "val": (5, 5),
        "test": (5, 20),
    }


def test_every_part_has_its_share_of_every_class() -> None:
    y = _labels()
    parts = repeated(y, np.arange(100), SIZES, 4, 1)
    for part in PARTS:
        for rows in parts[part]:
            shares = np.bincount(y[rows], minlength=3) / len(rows)
            assert np.allclose(shares, [0.5, 0.3, 0.2], atol=1 / len(rows))


def test_without_a_bound_every_row_is_used() -> None:
    parts = repeated(_labels(), np.arange(100), SIZES, 3, 1)
    assert sum(parts[part].shape[1] for part in PARTS) == 100


@pytest.mark.parametrize("split", [repeated, folds])
def test_a_split_depends_on_the_seed_and_its_number_alone(split: Any) -> None:
    few, many = (split(_labels(), np.arange(100), SIZES, n, 1) for n in (2, 6))
    other = split(_labels(), np.arange(100), SIZES, 2, 2)
    for part in PARTS:
        assert np.array_equal(many[part][:2], few[part])
        assert not np.array_equal(other[part], few[part])


def test_draws_of_one_test_set_share_no_other_row() -> None:
    parts = one_test(_labels(), np.arange(100), Sizes(20, 6, 10), 5, 1)
    assert (parts["test"] == parts["test"][0]).all()
    used = np.concatenate([parts["train"], parts["val"], parts["test"][:1].repeat(5, 0)], axis=1)
    own = np.concatenate([parts["train"].ravel(), parts["val"].ravel()])
    assert np.unique(own).size == own.size
    assert not np.intersect1d(own, used[0, -20:]).size


def test_the_draws_of_one_shuffle_test_every_row_once_with_every_class_in_its_share() -> None:
    y = _labels()
    parts = folds(y, np.arange(100), SIZES, 10, 1)
    for shuffle in (parts["test"][:5], parts["test"][5:]):
        assert sorted(shuffle.ravel()) == [*range(100)]
        for rows in shuffle:
            assert np.bincount(y[rows]).tolist() == [10, 6, 4]
    assert not np.array_equal(np.sort(parts["test"][0]), np.sort(parts["test"][5]))


def test_what_is_left_over_of_a_fold_is_any_of_its_rows() -> None:
    y = np.repeat([0, 1], [97, 111])
    parts = folds(y, np.arange(208), Sizes(20, 2), 100, 1)
    never = [np.setdiff1d(np.arange(208), parts["test"][at : at + 10]) for at in range(0, 100, 10)]
    assert all(rows.size == 8 for rows in never)
    assert 0.3 < y[np.concatenate(never)].mean() < 0.75  # and not of the last class alone


def test_cross_validation_needs_two_folds() -> None:
    with pytest.raises(UserError, match=r"`test` must be at most 50 with `splits: folds`, .* 51"):
        folds(_labels(), np.arange(100), Sizes(51, 1), 2, 1)


@pytest.mark.parametrize("split", [repeated, folds])
@given(
    groups=st.lists(st.integers(0, 25), min_size=60, max_size=200),
    classes=st.integers(1, 3),
    seed=st.integers(0, 9),
)
def test_a_group_is_never_divided(split: Any, groups: Any, classes: Any, seed: Any) -> None:
    groups = np.array(groups)
    n = len(groups)
    try:
        parts = split(groups % classes, groups, Sizes(n // 5, n // 5), 3, seed)
    except UserError:
        assert split is folds  # whose groups must be small enough to be dealt
        return
    _disjoint(parts)
    for rows in zip(*(parts[part] for part in PARTS), strict=True):
        owners = [set(groups[each]) for each in rows]
        assert not owners[0] & owners[1]
        assert not owners[0] & owners[2]
        assert not owners[1] & owners[2]


def test_windows_keep_the_order_of_time_and_move_on() -> None:
    times = np.random.default_rng(0).permutation(100)
    parts = in_order(times, Sizes(test=10, val=10, train=40), 3)
    last = -1
    for train, val, test in zip(*(parts[part] for part in PARTS), strict=True):
        assert times[train].max() < times[val].min() <= times[val].max() < times[test].min()
        assert times[test].max() > last
        last = times[test].max()
    assert last == 99
    assert times[parts["train"][0]].min() == 0


def test_rows_of_a_test_file_are_the_test_rows_of_every_draw() -> None:
    test = np.arange(90, 100, dtype=np.int32)
    parts = known_test(_labels(), np.arange(100), test, Sizes(0, 20), 3, 1)
    assert (parts["test"] == test).all()
    _disjoint(parts)


@pytest.mark.parametrize("split", [repeated, folds, one_test])
def test_more_rows_than_there_are_is_an_error_with_the_numbers(split: Any) -> None:
    with pytest.raises(UserError, match=r"must be at most .* got 80 \+ 30"):
        split(_labels(), np.arange(100), Sizes(test=20, val=30, train=80), 2, 1)


def test_rows_linked_by_any_value_are_one_unit() -> None:
    groups = np.array(["a", "a", "b", "c", "d"])
    twins = np.array([1, 2, 2, 3, 4])  # rows 1 and 2 are equal, so groups a and b are one
    assert units_of([groups, twins]).tolist() == [0, 0, 0, 1, 2]


def test_equal_examples_have_equal_digests() -> None:
    x = np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]])
    first, second, third = digests(x)
    assert first == third != second
