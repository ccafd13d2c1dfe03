"""The article's circles, and the fresh draws beside them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import make_circles
from sklearn.svm import SVC

from pipeline.datasets import PARTS, PROTOCOLS, Dataset, circles
from pipeline.datasets.circles import CirclesData

SMALL = CirclesData(input="", train=30, validation=70, test=200, draws=6)
SECTIONS = st.builds(
    CirclesData,
    input=st.just(""),
    noise=st.floats(0.01, 0.5),
    train=st.integers(2, 40),
    held_out=st.integers(2, 40),
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
    assert dataset.held_out is not None
    assert dataset.held_out.shape == (data.draws, data.held_out)
    assert not dataset.leaks("leak_free")
    assert dataset.leaks("article")


def test_no_two_draws_share_a_point() -> None:
    # Three samples of 100 points: one random state for two would make them the same points.
    data = CirclesData(input="", train=30, held_out=70, validation=100, test=100, draws=9)
    dataset = circles.prepare("circles", data, seed=3)
    assert len(np.unique(dataset.x, axis=0)) == len(dataset.x) == 100 + 9 * 300
    assert dataset.held_out is not None
    used = [*(dataset.splits["leak_free"][part].ravel() for part in PARTS)]
    rows = np.concatenate([*used, dataset.held_out.ravel()])
    np.testing.assert_array_equal(np.sort(rows), np.arange(100, 2800))


@settings(max_examples=20, deadline=None)
@given(SECTIONS, SEEDS, st.integers(1, 3))
def test_more_draws_leave_the_earlier_ones_as_they_are(
    data: CirclesData, seed: int, more: int
) -> None:
    longer = replace(data, draws=data.draws + more)
    few, many = circles.prepare("circles", data, seed), circles.prepare("circles", longer, seed)
    for draw in range(data.draws):
        assert_same_draw(few, many, draw)


def assert_same_draw(one: Dataset, other: Dataset, draw: int) -> None:
    """The points of each part, and those held out."""
    for part in PARTS:
        np.testing.assert_equal(
            one.split("leak_free", part, draw), other.split("leak_free", part, draw)
        )
    assert one.held_out is not None
    assert other.held_out is not None
    np.testing.assert_array_equal(one.x[one.held_out[draw]], other.x[other.held_out[draw]])


def test_each_sample_of_a_draw_has_a_state_of_its_own() -> None:
    """So another size of one sample leaves the points of the others as they are."""
    usual = circles.prepare("circles", SMALL, seed=3)
    for other, sample in (
        (replace(SMALL, validation=90), "val"),
        (replace(SMALL, test=90), "test"),
    ):
        changed = circles.prepare("circles", other, seed=3)
        for part in {*PARTS} - {sample}:
            for draw in range(SMALL.draws):
                np.testing.assert_array_equal(
                    changed.split("leak_free", part, draw)[0],
                    usual.split("leak_free", part, draw)[0],
                )


def test_validation_reads_what_test_reads_and_the_samples_other_points_do_not() -> None:
    """An SVM that no search has chosen: validation minus test is zero, on 300 draws."""
    data = replace(SMALL, test=1_000, draws=300)
    dataset = circles.prepare("circles", data, seed=1)
    assert dataset.held_out is not None
    validation, other = [], []
    for draw in range(data.draws):
        machine = SVC(C=10, gamma=2).fit(*dataset.split("leak_free", "train", draw))
        tested = machine.score(*dataset.split("leak_free", "test", draw))
        rows = dataset.held_out[draw]
        validation.append(machine.score(*dataset.split("leak_free", "val", draw)) - tested)
        other.append(machine.score(dataset.x[rows], dataset.y[rows]) - tested)
    error = np.std(validation, ddof=1) / np.sqrt(data.draws)
    assert error < 0.004  # so that a bias of a point would be seen
    assert abs(np.mean(validation)) < 2 * error
    assert np.mean(other) < -0.03  # points midway between those trained on are harder


def test_draws_of_their_own_do_not_overlap() -> None:
    dataset = circles.prepare("circles", SMALL, seed=3)
    assert [dataset.overlap(protocol) for protocol in PROTOCOLS] == [0, 0]


def test_the_seed_decides_the_fresh_draws_and_nothing_else_does() -> None:
    np.random.seed(0)
    first = circles.prepare("circles", SMALL, seed=3)
    np.random.seed(1)
    assert circles.prepare("circles", SMALL, seed=3).digest == first.digest
    assert circles.prepare("circles", SMALL, seed=4).digest != first.digest


def test_each_draw_is_balanced() -> None:
    dataset = circles.prepare("circles", SMALL, seed=3)
    for draw in range(SMALL.draws):
        train, val, test = (dataset.split("leak_free", part, draw)[1] for part in PARTS)
        assert dataset.held_out is not None
        sample = np.concatenate([train, dataset.y[dataset.held_out[draw]]])
        counts = [np.bincount(labels).tolist() for labels in (sample, val, test)]
        assert counts == [[50, 50], [35, 35], [100, 100]]


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
