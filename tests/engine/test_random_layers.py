"""What the random layers do to their input on average: shares, means and deviations.

Bounds are 4.5 standard errors, which a right program exceeds once in 150,000 tests.
"""

import keras
import numpy as np
import pytest
from keras import layers, ops

from pipeline.engine import noise_key
from pipeline.engine.noise import Noise
from pipeline.engine.population import Population

from .test_equals_fit import IMAGE_DRAWS, transformed

ROWS, WIDTH = 500, 400
COUNT = ROWS * WIDTH


def a_step() -> Noise:
    return Noise(ops.convert_to_tensor(noise_key(0)[None]), ops.cast(3, "uint32"))


def trained_on(layer: keras.Layer, x: np.ndarray) -> np.ndarray:
    """What the engine makes of x (rows, ...) in a training step of one member."""
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    population = Population(model, both="none")
    numbers, rows = population.hyperparameters(model)[:, None], ops.convert_to_tensor(x[None])
    return np.asarray(population.forward([], rows, numbers, a_step())[0][0])


@pytest.mark.parametrize("rate", [0.05, 0.5])
def test_dropout_keeps_a_share_and_the_mean(rate: float) -> None:
    found = trained_on(layers.Dropout(rate), np.ones((ROWS, WIDTH), np.float32))
    error = np.sqrt(rate * (1 - rate) / COUNT)
    assert abs(np.mean(found != 0) - (1 - rate)) < 4.5 * error
    assert abs(np.mean(found) - 1) < 4.5 * error / (1 - rate)


def test_spatial_dropout_drops_whole_maps() -> None:
    found = trained_on(layers.SpatialDropout2D(0.3), np.ones((ROWS, 2, 3, WIDTH), np.float32))
    assert np.ptp(found, axis=(1, 2)).max() == 0
    assert abs(np.mean(found != 0) - 0.7) < 4.5 * np.sqrt(0.3 * 0.7 / COUNT)


@pytest.mark.parametrize(
    ("layer", "deviation"),
    [(layers.GaussianNoise(0.3), 0.3), (layers.GaussianDropout(0.2), np.sqrt(0.2 / 0.8))],
    ids=["added", "multiplied"],
)
def test_gaussian_noise_has_its_deviation(layer: keras.Layer, deviation: float) -> None:
    found = trained_on(layer, np.ones((ROWS, WIDTH), np.float32))
    assert abs(np.mean(found) - 1) < 4.5 * deviation / np.sqrt(COUNT)
    assert abs(np.std(found) / deviation - 1) < 4.5 / np.sqrt(2 * COUNT)


@pytest.mark.parametrize("rate", [0.05, 0.5])
def test_alpha_dropout_keeps_mean_and_variance(rate: float) -> None:
    normal = np.random.default_rng(0).standard_normal((ROWS, WIDTH))
    x = np.asarray((normal - normal.mean()) / normal.std(), np.float32)
    found = trained_on(layers.AlphaDropout(rate), x)
    fourth = np.mean((found - found.mean()) ** 4)
    assert abs(np.mean(found)) < 4.5 / np.sqrt(COUNT)
    assert abs(np.var(found) - 1) < 4.5 * np.sqrt((fourth - 1) / COUNT)


OUTSIDE = {"fill_mode": "constant"}
TRANSFORMATIONS = [
    layers.RandomTranslation(0.3, (-0.1, 0.4), **OUTSIDE),
    layers.RandomRotation(0.5, **OUTSIDE),
    layers.RandomZoom(0.6, **OUTSIDE),
    layers.RandomFlip("horizontal"),
    layers.RandomErasing((1.0, 1.0), (0.1, 0.5), 0.0, (0, 1)),
]


@pytest.mark.parametrize("layer", TRANSFORMATIONS, ids=lambda layer: type(layer).__name__)
def test_images_are_transformed_as_keras_does(layer: keras.Layer) -> None:
    x = np.random.default_rng(0).random((20, 7, 5, 2), np.float32)
    expected = np.asarray(transformed(layer, x, a_step(), 0))
    np.testing.assert_allclose(trained_on(layer, x), expected, atol=1e-5)
    assert type(layer) in IMAGE_DRAWS
    assert not np.allclose(expected, x, atol=0.1)


def ramp(axis: int) -> np.ndarray:
    """(ROWS, 9, 9, 1): each pixel's distance from the centre along an axis, 0 for rows."""
    line = np.arange(-4, 5, dtype=np.float32).reshape((-1, 1) if axis == 0 else (1, -1))
    return np.broadcast_to(line, (ROWS, 9, 9))[..., None].copy()


def distortions(kind: str) -> np.ndarray:
    """(ROWS,) what was drawn for each image, as the pixels show it, in units of 0.2."""
    if kind == "shift":
        found = -trained_on(layers.RandomTranslation(0.2, 0.2, **OUTSIDE), ramp(1))[:, 4, 4, 0] / 9
    elif kind == "zoom":
        found = trained_on(layers.RandomZoom(0.2, **OUTSIDE), ramp(1))[:, 4, 7, 0] / 3 - 1
    else:
        layer = layers.RandomRotation(0.2, **OUTSIDE)
        sine, cosine = (trained_on(layer, ramp(axis))[:, 4, 7, 0] for axis in (0, 1))
        found = np.arctan2(sine, cosine) / (2 * np.pi)
    return found / 0.2


@pytest.mark.parametrize("kind", ["shift", "zoom", "rotation"])
def test_distortions_fill_their_range_evenly(kind: str) -> None:
    found = distortions(kind)
    assert np.abs(found).max() < 1 + 1e-5
    assert abs(np.mean(found)) < 4.5 * np.sqrt(1 / 3 / ROWS)
    assert abs(np.mean(found**2) - 1 / 3) < 4.5 * np.sqrt(4 / 45 / ROWS)


def test_cutout_erases_one_rectangle_of_the_given_area() -> None:
    layer = layers.RandomErasing((1.0, 1.0), (0.2, 0.2), 0.0, (0, 1))
    erased = trained_on(layer, np.ones((ROWS, 20, 30, 1), np.float32))[..., 0] == 0
    tall, wide = erased.any(axis=2).sum(axis=1), erased.any(axis=1).sum(axis=1)
    assert np.array_equal(erased.sum(axis=(1, 2)), tall * wide)
    for found, side in ((tall, 20), (wide, 30)):
        assert set(found) == {int(side * 0.2**0.5), int(side * 0.2**0.5) + 1}


def test_every_other_image_is_flipped() -> None:
    flipped = trained_on(layers.RandomFlip("horizontal"), ramp(1))[:, 0, 0, 0] > 0
    assert abs(np.mean(flipped) - 0.5) < 4.5 * np.sqrt(0.25 / ROWS)
