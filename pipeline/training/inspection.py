"""What a trained model looks like inside, as small arrays for figures.

Made of one run per technique and setting, while the model is at hand, so that whoever draws needs
neither Keras nor the models. Sizes are bounded: a network of five layers of 500 gives 100 kB.
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
UNITS = 12  # whose first-layer filters are kept; all techniques start from the same ones
IMAGES = 6  # shown before and after whitening


def inspect(model: keras.Sequential, parts: Mapping[Part, Labelled]) -> dict[str, np.ndarray]:
    """Arrays by name; which there are depends on the model and on its input.

    `weights` (n,): the trained kernels' values, or a sample of them. `active_<i>` (units,): the
    share of test rows for which a unit of the i-th hidden layer is not zero.

    Points of the plane: `plane` (GRID, GRID), the probability of class 1 in rows of rising y;
    `extent` (4,), its left, right, bottom and top; `train` and `test` (n, 3): x, y, class.

    Images: `filters` (units, height, width), from the kernel of the first trained layer; and
    `images` and `whitened` (n, height, width) if the model begins by whitening.
    """
    found = {"weights": _weights(model)}
    for place, shares in enumerate(active_shares(model, parts["test"][0]), start=1):
        found[f"active_{place}"] = shares
    x = parts["test"][0]
    if x.shape[1:] == (2,) and model.output_shape[-1] == 1:
        found |= _plane(model, parts)
    if x.ndim == 3:
        found |= _filters(model, x.shape[1:]) | _whitened(model, x[:IMAGES])
    return {name: array.astype(np.float16) for name, array in found.items()}


def _weights(model: keras.Sequential) -> np.ndarray:
    kernels = [
        np.asarray(weight).ravel() for weight in model.trainable_weights if len(weight.shape) > 1
    ]
    flat = np.concatenate(kernels)
    return flat if len(flat) <= WEIGHTS else np.random.default_rng(0).choice(flat, WEIGHTS, False)


def _plane(model: keras.Sequential, parts: Mapping[Part, Labelled]) -> dict[str, np.ndarray]:
    shown = {"train": parts["train"], "test": tuple(a[:POINTS] for a in parts["test"])}
    marks = {name: np.column_stack([*xy.T, y]) for name, (xy, y) in shown.items()}
    everywhere = np.concatenate(list(marks.values()))[:, :2]
    margin = MARGIN * np.ptp(everywhere, axis=0)
    (left, bottom), (right, top) = everywhere.min(axis=0) - margin, everywhere.max(axis=0) + margin
    across, up = np.meshgrid(np.linspace(left, right, GRID), np.linspace(bottom, top, GRID))
    rows = np.column_stack([across.ravel(), up.ravel()]).astype(np.float32)
    plane = np.asarray(model(rows)).reshape(GRID, GRID)
    return {"plane": plane, "extent": np.array([left, right, bottom, top]), **marks}


def _filters(model: keras.Sequential, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Of a dense layer as large as the image, of a convolution as large as its kernel."""
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
