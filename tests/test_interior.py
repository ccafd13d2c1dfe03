"""Figures of trained models show the arrays they are given, and stand beside each other."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from matplotlib.figure import Figure

from pipeline.errors import UserError
from pipeline.models.stack import WHITENING
from pipeline.report import figures, model_figures
from pipeline.report.model_figures import Arrays
from pipeline.training.inspection import GRID, POINTS, UNITS, WEIGHTS, inspect

from .synthetic import make_inspection, make_runs

RANDOM = np.random.default_rng(0)


@pytest.fixture
def inspected(tmp_path: Path) -> dict[str, Arrays]:
    path = tmp_path / "inspections.npz"
    arrays = make_inspection(make_runs({"none": 0.0, "l1": 0.0}, seeds=1))
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return model_figures.read(path.parent)["tuned"]


def labelled(n: int, *shape: int) -> tuple[np.ndarray, np.ndarray]:
    return RANDOM.random((n, *shape), np.float32), np.arange(n, dtype=np.int32) % 2


def test_a_model_of_points_is_inspected_where_they_lie() -> None:
    """Of a model that says 1 where x > 0.5, and whose second of three units is dead."""
    hidden, output = layers.Dense(3, activation="relu"), layers.Dense(1, activation="sigmoid")
    model = keras.Sequential([keras.Input((2,)), hidden, output])
    hidden.set_weights([np.array([[1.0, -1, 0], [0, 0, 0]]), np.array([-0.5, 0, 1])])
    output.set_weights([np.array([[50.0], [0], [0]]), np.array([-0.1])])
    parts = {"train": labelled(30, 2), "val": labelled(5, 2), "test": labelled(400, 2)}
    found = inspect(model, parts)  # type: ignore[arg-type]
    assert set(found) == {"weights", "active_1", "plane", "extent", "train", "test"}
    assert (len(found["train"]), len(found["test"])) == (30, POINTS)
    left, right, bottom, top = found["extent"]
    assert left < 0 < 1 < right
    assert bottom < 0 < 1 < top
    across = np.linspace(left, right, GRID)
    assert found["plane"].shape == (GRID, GRID)
    assert (found["plane"][:, across > 0.55] > 0.5).all()
    assert (found["plane"][:, across < 0.45] < 0.5).all()
    expected = np.array([np.mean(parts["test"][0][:, 0] > 0.5), 0, 1])
    np.testing.assert_allclose(found["active_1"], expected, atol=1e-3)
    np.testing.assert_allclose(np.sort(found["weights"]), [-1, 0, 0, 0, 0, 0, 0, 1, 50])


def test_a_dense_layer_is_inspected_through_the_whitening_before_it() -> None:
    whitening = layers.Dense(16, use_bias=False, trainable=False, name=WHITENING)
    wide = layers.Dense(2000, activation="relu")
    model = keras.Sequential(
        [keras.Input((4, 4)), layers.Flatten(), whitening, wide, layers.Dense(3)]
    )
    whitening.set_weights([2 * np.eye(16)])
    parts = {"train": labelled(8, 4, 4), "test": labelled(9, 4, 4)}
    found = inspect(model, parts)  # type: ignore[arg-type]
    kernel = np.asarray(wide.kernel)
    np.testing.assert_allclose(found["filters"][5], kernel[:, 5].reshape(4, 4), rtol=1e-3)
    assert found["filters"].shape == (UNITS, 4, 4)
    np.testing.assert_allclose(found["whitened"], 2 * found["images"], rtol=1e-2)
    assert len(found["weights"]) == WEIGHTS


def test_a_convolutions_filters_are_its_kernels() -> None:
    convolution = layers.Conv2D(5, 3)
    stack = [layers.Reshape((6, 6, 1)), convolution, layers.Flatten(), layers.Dense(3)]
    model = keras.Sequential([keras.Input((6, 6)), *stack])
    parts = {"train": labelled(8, 6, 6), "test": labelled(9, 6, 6)}
    found = inspect(model, parts)  # type: ignore[arg-type]
    assert found["filters"].shape == (5, 3, 3)
    kernel = np.asarray(convolution.kernel)
    np.testing.assert_allclose(found["filters"][2], kernel[:, :, 0, 2], rtol=1e-3)
    assert found["active_1"].shape == (5,)


def test_histograms_hold_every_weight_and_share_their_bins(inspected: dict[str, Arrays]) -> None:
    edges = model_figures.weight_edges(inspected)
    assert edges[0] == -edges[-1]
    shares = model_figures.weight_shares(inspected["l1"], edges)
    assert shares.sum() == pytest.approx(1)
    assert shares[len(shares) // 2] >= 0.25  # the zeros
    far = inspected | {"wild": {"weights": np.full(10, 1e4)}}
    assert model_figures.weight_edges(far)[-1] < 10
    assert model_figures.weight_shares(far["wild"], edges)[-1] == 1


def test_the_activation_map_tells_mean_and_dead_units(inspected: dict[str, Arrays]) -> None:
    axes = model_figures.activation_map(inspected, 7).axes[0]
    texts = [text.get_text() for text in axes.texts]
    one = ["50.0", "11.1", "100.0", "0.0"]
    assert texts == [*one, "none", *one, "l1", "active, %", "dead, %"]


@pytest.mark.parametrize(
    "draw",
    [model_figures.boundary_panel, model_figures.filter_panel, model_figures.whitening_panel],
)
def test_arrays_without_contrast_are_drawn(
    draw: Callable[[Arrays], Figure], inspected: dict[str, Arrays]
) -> None:
    for arrays in (inspected["l1"], {k: np.zeros_like(a) for k, a in inspected["l1"].items()}):
        shown = dict(arrays) | {"extent": inspected["l1"]["extent"]}
        assert "<svg" in figures.svg(draw(shown), "a", "")


def test_missing_inspections_are_told_with_the_command_that_makes_them(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"inspections\.npz is missing; run `python -m pipeline train"
    ):
        model_figures.read(tmp_path)
