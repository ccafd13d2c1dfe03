"""What whitening does to a covariance, in closed form."""

import numpy as np
import pytest
import scipy.linalg

from pipeline.models import whitening


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    """Rows of 4 x 3 correlated features, none of them redundant, far from zero."""
    rng = np.random.default_rng(0)
    mixed = rng.standard_normal((5000, 12)) @ rng.normal(size=(12, 12)) + 7
    rows: np.ndarray = mixed.reshape(-1, 4, 3).astype(np.float32)
    return rows


def whitened(x: np.ndarray, epsilon: float) -> np.ndarray:
    kernel, bias = whitening.fit(x).layer(epsilon)
    assert kernel.dtype == bias.dtype == np.float32
    return np.asarray(x.reshape(len(x), -1) @ kernel + bias, np.float64)


def test_whitened_rows_are_centred_and_uncorrelated(x: np.ndarray) -> None:
    rows = whitened(x, 1e-6)
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(np.cov(rows, rowvar=False, bias=True), np.eye(12), atol=1e-3)


def test_redundant_features_leave_the_retained_directions_uncorrelated(x: np.ndarray) -> None:
    x = x.copy()
    x[:, 3, 2], x[:, 1, 1] = x[:, 0, 0] - x[:, 2, 0], 0.5
    spectrum = whitening.fit(x)
    retained = spectrum.directions[:, spectrum.variances > 1e-3]
    assert retained.shape == (12, 10)
    rows = whitened(x, 1e-6) @ retained
    np.testing.assert_allclose(np.cov(rows, rowvar=False, bias=True), np.eye(10), atol=1e-3)


@pytest.mark.parametrize("epsilon", [1e-3, 1.0, 100.0])
def test_the_kernel_is_the_inverse_root_of_the_covariance_and_epsilon(
    x: np.ndarray, epsilon: float
) -> None:
    covariance = np.cov(x.reshape(len(x), -1).astype(np.float64), rowvar=False, bias=True)
    root = scipy.linalg.sqrtm(covariance + epsilon * np.eye(12))
    kernel, bias = whitening.fit(x).layer(epsilon)
    np.testing.assert_allclose(kernel, np.linalg.inv(root), atol=1e-5)
    np.testing.assert_allclose(bias, -x.mean(axis=0).ravel() @ kernel, rtol=1e-3)


def test_a_larger_epsilon_leaves_every_direction_less_of_its_variance(x: np.ndarray) -> None:
    directions = whitening.fit(x).directions
    small, middle, large = (np.var(whitened(x, e) @ directions, axis=0) for e in (0.01, 1.0, 100.0))
    assert np.all(small > middle)
    assert np.all(middle > large)


def test_a_feature_that_never_changes_comes_out_as_zero(x: np.ndarray) -> None:
    x = x.copy()
    x[:, 2, 1] = 0.5
    np.testing.assert_allclose(whitened(x, 1e-6)[:, 7], 0, atol=1e-3)


def test_rows_are_taken_in_parts(x: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = whitening.fit(x).layer(0.1)
    monkeypatch.setattr(whitening, "ROWS_AT_ONCE", 777)
    for one, other in zip(whole, whitening.fit(x).layer(0.1), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
