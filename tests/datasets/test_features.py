"""Inputs that are known to be informative or noise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from pipeline.datasets import PARTS, PROTOCOLS, Dataset, features
from pipeline.datasets.features import FeaturesData

SMALL = FeaturesData(
    input="", inputs=12, informative=4, train=300, validation=60, test=400, draws=3
)
SECTIONS = st.builds(
    FeaturesData,
    input=st.just(""),
    inputs=st.integers(6, 20),
    informative=st.integers(2, 5),
    separation=st.floats(0.1, 3),
    train=st.integers(5, 40),
    validation=st.integers(5, 40),
    test=st.integers(5, 60),
    draws=st.integers(1, 3),
)
SEEDS = st.integers(0, 2**40)


def informative(dataset: Dataset) -> list[int]:
    assert dataset.informative is not None
    return [int(place) for place in dataset.informative]


@settings(max_examples=20, deadline=None)
@given(SECTIONS, SEEDS)
def test_draws_have_the_sizes_asked_for_and_share_no_row(data: FeaturesData, seed: int) -> None:
    dataset = features.prepare("features", data, seed)
    assert dataset.input_shape == (data.inputs,)
    assert len(informative(dataset)) == data.informative
    for protocol in PROTOCOLS:
        sizes = [dataset.splits[protocol][part].shape for part in PARTS]
        assert sizes == [(data.draws, n) for n in (data.train, data.validation, data.test)]
        used = [dataset.splits[protocol][part].ravel() for part in PARTS]
        np.testing.assert_array_equal(np.sort(np.concatenate(used)), np.arange(len(dataset.x)))
        assert not dataset.leaks(protocol)


@settings(max_examples=20, deadline=None)
@given(SECTIONS, SEEDS)
def test_training_rows_alone_decide_the_scale(data: FeaturesData, seed: int) -> None:
    dataset = features.prepare("features", data, seed)
    for draw in range(data.draws):
        x, _ = dataset.split("leak_free", "train", draw)
        np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-4)
        np.testing.assert_allclose(x.std(axis=0), 1, rtol=1e-4)


@settings(max_examples=10, deadline=None)
@given(SECTIONS, SEEDS)
def test_more_draws_leave_the_earlier_ones_as_they_are(data: FeaturesData, seed: int) -> None:
    longer = FeaturesData(**(vars(data) | {"draws": data.draws + 1}))
    few, many = features.prepare("features", data, seed), features.prepare("features", longer, seed)
    assert informative(few) == informative(many)
    np.testing.assert_array_equal(many.x[: len(few.x)], few.x)
    np.testing.assert_array_equal(many.y[: len(few.y)], few.y)


def test_the_seed_decides_the_draws_and_nothing_else_does() -> None:
    np.random.seed(0)
    first = features.prepare("features", SMALL, seed=3)
    np.random.seed(1)
    assert features.prepare("features", SMALL, seed=3).digest == first.digest
    other = features.prepare("features", SMALL, seed=4)
    assert informative(other) != informative(first)
    assert len(np.unique(first.x, axis=0)) == len(first.x)


@pytest.mark.parametrize("seed", range(3))
def test_informative_inputs_tell_the_class_and_the_others_do_not(seed: int) -> None:
    dataset = features.prepare("features", SMALL, seed)
    told = informative(dataset)
    noise = np.setdiff1d(np.arange(SMALL.inputs), told)
    scores: dict[str, list[float]] = {"told": [], "noise": []}
    for draw in range(SMALL.draws):
        (x, y), (x_test, y_test) = (
            dataset.split("leak_free", part, draw) for part in ("train", "test")
        )
        for name, columns in (("told", told), ("noise", noise.tolist())):
            fitted = classifier().fit(x[:, columns], y)
            scores[name].append(fitted.score(x_test[:, columns], y_test))
    assert np.mean(scores["told"]) > 0.75
    assert np.mean(scores["noise"]) == pytest.approx(0.5, abs=0.05)


def classifier() -> Pipeline:
    """Sees means and covariances, in which clusters differ."""
    return make_pipeline(PolynomialFeatures(2), LogisticRegression(C=0.1, max_iter=500))
