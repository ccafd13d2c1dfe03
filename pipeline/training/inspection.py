"""The inside of a trained model as small arrays for figures.

They are made for one run per technique and setting, so that drawing needs neither Keras nor the
models. Their size is bounded: a network with five layers of 500 units gives 100 kB.
"""

from collections.abc import Mapping

import keras
import numpy as np

from pipeline.datasets import Part
from pipeline.models.stack import WHITENING
from pipeline.training.measures import Labelled, active_shares

GRID = 160  # points of the plane across, on which a boundary is drawn
MARGIN = 0.15  # of the points' extent, around them
POINTS = 300  # test points beside the training points
WEIGHTS = 20_000  # a sample, if there are more
UNITS = 12  # of the first layer, whose filters are kept; all techniques start from the same ones
IMAGES = 6  # shown before and after whitening


def inspect(
    model: keras.Sequential, parts: Mapping[Part, Labelled], labels: bool = True
) -> dict[str, np.ndarray]:
    """Arrays by name, which depend on the model and on its input.

    `weights` (n,): the trained kernels' values, or a sample of them. `active_<i>` (units,): the
    share of test examples for which a unit of the i-th hidden layer, from 1, is not zero.

    Points of the plane, if targets are labels: `plane` (GRID, GRID), the probability of class 1 in
    rows of rising y; `extent` (4,), its left, right, bottom and top; `train` and `test` (n, 3): x,
    y, class.

    Images: `filters` (units, height, width), from the kernel of the first trained layer; and
    `images` and `whitened` (n, height, width) if the model begins by whitening.
    """
    arrays = {"weights": _weights(model)}
    for number, shares in enumerate(active_shares(model, parts["test"][0]), start=1):
        arrays[f"active_{number}"] = shares
    x = parts["test"][0]
    if labels and x.shape[1:] == (2,) and model.output_shape[-1] == 1:
        arrays |= _plane(model, parts)
    if x.ndim == 3:
        arrays |= _filters(model, x.shape[1:]) | _whitened(model, x[:IMAGES])
    return {name: array.astype(np.float16) for name, array in arrays.items()}


def _weights(model: keras.Sequential) -> np.ndarray:
    kernels = [
        np.asarray(weight).ravel() for weight in model.trainable_weights if len(weight.shape) > 1
    ]
    flat = np.concatenate(kernels)
    return flat if len(flat) <= WEIGHTS else np.random.default_rng(0).choice(flat, WEIGHTS, False)


def _plane(model: keras.Sequential, parts: Mapping[Part, Labelled]) -> dict[str, np.ndarray]:
    shown = {"train": parts["train"], "test": tuple(array[:POINTS] for array in parts["test"])}
    marks = {name: np.column_stack([*xy.T, y]) for name, (xy, y) in shown.items()}
    everywhere = np.concatenate(list(marks.values()))[:, :2]
    margin = MARGIN * np.ptp(everywhere, axis=0)
    (left, bottom), (right, top) = everywhere.min(axis=0) - margin, everywhere.max(axis=0) + margin
    across, up = np.meshgrid(np.linspace(left, right, GRID), np.linspace(bottom, top, GRID))
    rows = np.column_stack([across.ravel(), up.ravel()]).astype(np.float32)
    plane = np.asarray(model(rows)).reshape(GRID, GRID)
    return {"plane": plane, "extent": np.array([left, right, bottom, top]), **marks}


def _filters(model: keras.Sequential, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """A dense layer's filters have the size of the image, a convolution's that of its kernel."""
    for layer in model.layers:
        if not layer.trainable or not hasattr(layer, "kernel"):
            continue
        kernel = np.asarray(layer.kernel)
        if kernel.ndim == 2 and len(kernel) == np.prod(shape):
            return {"filters": kernel.T[:UNITS].reshape(-1, *shape)}
        if kernel.ndim == 4 and kernel.shape[2] == 1:
            return {"filters": np.moveaxis(kernel[:, :, 0], -1, 0)[:UNITS]}
        return {}
    return {}


def _whitened(model: keras.Sequential, images: np.ndarray) -> dict[str, np.ndarray]:
    h = images
    for layer in model.layers:
        h = layer(h)
        if layer.name == WHITENING and np.prod(h.shape) == images.size:
            return {"images": images, "whitened": np.asarray(h).reshape(images.shape)}
    return {}
