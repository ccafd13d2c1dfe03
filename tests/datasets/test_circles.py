"""The article's circles, and the fresh draws beside them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import make_circles

from pipeline.datasets import PARTS, circles
from pipeline.datasets.circles import CirclesData

SMALL = CirclesData(input="", train=30, validation=70, test=200, draws=6)
SECTIONS = st.builds(
    CirclesData,
    input=st.just(""),
    noise=st.floats(0.01, 0.5),
    train=st.integers(2, 40),
    validation=st.integers(2, 40),
    test=st.integers(2, 60),
    draws=st.integers(1, 5),
)
SEEDS = st.integers(0, 2**40)


def test_the_article_meets_its_own_hundred_points() -> None:
    dataset = circles.prepare("circles", CirclesData(input="", noise=0.3, draws=1), seed=5)
    x, y = make_circles(n_samples=100, noise=0.1, random_state=1)
    for part, rows in [("train", slice(30)), ("val", slice(30, 100)), ("test", slice(30, 100))]:
        found_x, found_y = dataset.split("article", part, 0)  # type: ignore[arg-type]
        np.testing.assert_array_equal(found_x, x[rows].astype(np.float32))
        np.testing.assert_array_equal(found_y, y[rows])


def test_draws_share_a_sample_where_they_share_their_rows() -> None:
    dataset = circles.prepare("circles", SMALL, seed=5)
    assert dataset.sample("article", 0) == dataset.sample("article", 3)
    assert len({dataset.sample("leak_free", draw) for draw in range(SMALL.draws)}) == SMALL.draws


@settings(max_examples=20, deadline=None)
@given(SECTIONS, SEEDS)
def test_fresh_draws_have_the_sizes_asked_for_and_do_not_leak(data: CirclesData, seed: int) -> None:
    dataset = circles.prepare("circles", data, seed)
    sizes = [dataset.splits["leak_free"][part].shape for part in PARTS]
    assert sizes == [(data.draws, n) for n in (data.train, data.validation, data.test)]
    assert not dataset.leaks("leak_free")
    assert dataset.leaks("article")


def test_no_two_draws_share_a_point() -> None:
    # As many test points as others: one random state for both would make them the same points.
    dataset = circles.prepare(
        "circles", CirclesData(input="", train=30, validation=70, test=100, draws=9), seed=3
    )
    assert len(np.unique(dataset.x, axis=0)) == len(dataset.x) == 100 + 9 * 200
    used = [dataset.splits["leak_free"][part].ravel() for part in PARTS]
    np.testing.assert_array_equal(np.sort(np.concatenate(used)), np.arange(100, 1900))


@settings(max_examples=20, deadline=None)
@given(SECTIONS, SEEDS, st.integers(1, 3))
def test_more_draws_leave_the_earlier_ones_as_they_are(
    data: CirclesData, seed: int, more: int
) -> None:
    longer = replace(data, draws=data.draws + more)
    few, many = circles.prepare("circles", data, seed), circles.prepare("circles", longer, seed)
    for part in PARTS:
        for one, other in zip(
            few.split("leak_free", part, data.draws - 1),
            many.split("leak_free", part, data.draws - 1),
            strict=True,
        ):
            np.testing.assert_array_equal(one, other)


def test_the_seed_decides_the_fresh_draws_and_nothing_else_does() -> None:
    np.random.seed(0)
    first = circles.prepare("circles", SMALL, seed=3)
    np.random.seed(1)
    assert circles.prepare("circles", SMALL, seed=3).digest == first.digest
    assert circles.prepare("circles", SMALL, seed=4).digest != first.digest


def test_each_draw_is_balanced() -> None:
    dataset = circles.prepare("circles", SMALL, seed=3)
    for draw in range(SMALL.draws):
        seen = [dataset.split("leak_free", part, draw)[1] for part in PARTS]
        assert np.bincount(np.concatenate(seen[:2])).tolist() == [50, 50]
        assert np.bincount(seen[2]).tolist() == [100, 100]


def test_points_lie_around_two_circles_with_the_noise_asked_for() -> None:
    dataset = circles.prepare(
        "circles", CirclesData(input="", noise=0.05, draws=1, test=20_000), seed=3
    )
    x, y = dataset.split("leak_free", "test", 0)
    radius = np.linalg.norm(x, axis=1)
    # make_circles: the outer circle, class 0, has radius 1, the inner one 0.8.
    for label, expected in enumerate((1.0, 0.8)):
        assert radius[y == label].mean() == pytest.approx(expected, abs=0.01)
        assert radius[y == label].std() == pytest.approx(0.05, rel=0.1)
