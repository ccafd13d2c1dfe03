"""Transformations of images (P, rows, height, width, channels), one per member and image.

TensorFlow's own operation takes no population and has no XLA kernel. The matrices are those of
Keras's layers.
"""

import math
from collections.abc import Sequence

import numpy as np
from keras import ops

from pipeline.engine import backend
from pipeline.engine.backend import Tensor


def shifts(right: Tensor, down: Tensor) -> list[Tensor]:
    """The map of a translation by these pixels, each (P, rows)."""
    one, zero = ops.ones_like(right), ops.zeros_like(right)
    return [one, zero, -right, zero, one, -down]


def rotations(turns: Tensor, height: int, width: int) -> list[Tensor]:
    """The map of a rotation about the centre by a share of a full turn, (P, rows)."""
    cos, sin = ops.cos(2 * math.pi * turns), ops.sin(2 * math.pi * turns)
    x, y = (width - 1) / 2, (height - 1) / 2
    return [cos, -sin, x - x * cos + y * sin, sin, cos, y - x * sin - y * cos]


def zooms(scale: Tensor, height: int, width: int) -> list[Tensor]:
    """The map of a zoom about the centre, (P, rows); a scale above 1 shrinks what is shown."""
    zero, x, y = ops.zeros_like(scale), (width - 1) / 2, (height - 1) / 2
    return [scale, zero, x * (1 - scale), zero, scale, y * (1 - scale)]


def affine(images: Tensor, maps: Sequence[Tensor]) -> Tensor:
    """The images under an affine map, interpolated bilinearly; 0 outside the image.

    `maps`: a0, a1, a2, b0, b1, b2, each (P, rows); the pixel at column x and row y gets the value
    at column a0 * x + a1 * y + a2 and row b0 * x + b1 * y + b2.
    """
    members, rows, height, width, channels = images.shape
    y, x = (ops.convert_to_tensor(axis.astype("float32")) for axis in np.mgrid[:height, :width])
    a0, a1, a2, b0, b1, b2 = (ops.expand_dims(term, (2, 3)) for term in maps)
    across, down = a0 * x + a1 * y + a2, b0 * x + b1 * y + b2
    left, top = ops.floor(across), ops.floor(down)
    pixels = ops.reshape(images, (-1, channels))
    first = np.arange(members * rows, dtype=np.int32).reshape(members, rows, 1, 1)
    first = ops.convert_to_tensor(first * np.int32(height * width))

    def corner(column: Tensor, row: Tensor) -> Tensor:
        nearest_column, nearest_row = ops.clip(column, 0, width - 1), ops.clip(row, 0, height - 1)
        inside = ops.logical_and(nearest_column == column, nearest_row == row)
        share = (1 - ops.abs(across - column)) * (1 - ops.abs(down - row))
        index = first + ops.cast(nearest_row * width + nearest_column, "int32")
        return backend.rows(pixels, index) * ops.expand_dims(ops.where(inside, share, 0), -1)

    return sum(corner(left + i, top + j) for i in (0, 1) for j in (0, 1))


def erased(images: Tensor, sides: Sequence[Tensor], starts: Sequence[Tensor]) -> Tensor:
    """A rectangle of each image set to 0.

    `sides`: its width and height, as shares of the image's. `starts`: its horizontal and vertical
    position, from 0 (left, top) to 1 (right, bottom). Each (P, rows).
    """
    _, _, height, width, _ = images.shape
    inside = ops.ones((), "bool")
    for axis, size, side, start in zip((1, 0), (width, height), sides, starts, strict=True):
        shape = (1, 1, -1, 1, 1) if axis == 0 else (1, 1, 1, -1, 1)
        pixel = ops.convert_to_tensor(np.arange(size, dtype=np.float32).reshape(shape))
        length = ops.expand_dims(side * size, (2, 3, 4))
        begin = ops.expand_dims(start, (2, 3, 4)) * (size - length)
        within = ops.logical_and(pixel >= begin, pixel < begin + length)
        inside = ops.logical_and(inside, within)
    return ops.where(inside, 0, images)
