"""MNIST and Fashion-MNIST: images and labels as gzip-compressed IDX files.

IDX: two zero bytes, a type code, the number of dimensions, each dimension as a big-endian
32-bit integer, then the values. Both data sets hold unsigned bytes (type code 8).
"""

import gzip
import struct
import zlib
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field
from pydantic.dataclasses import dataclass

from pipeline.datasets import Dataset, Floats, Splits
from pipeline.datasets.section import FROZEN, Section
from pipeline.errors import UserError

TRAIN_IMAGES = "train-images-idx3-ubyte.gz"
TRAIN_LABELS = "train-labels-idx1-ubyte.gz"
TEST_IMAGES = "t10k-images-idx3-ubyte.gz"
TEST_LABELS = "t10k-labels-idx1-ubyte.gz"
CLASSES = 10
BRIGHTEST = 255
UNSIGNED_BYTE = 8

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, config=FROZEN)
class ImagesData(Section):
    """Which of the 60,000 training images are for validation."""

    images: ClassVar[bool] = True
    article_points: ClassVar[bool] = True

    source: Literal["idx"] = "idx"
    validation: Annotated[int, Field(ge=1, lt=60_000)]
    validation_from: Literal["first", "last"]
    article_trains_on_validation: bool  # whether the article's split also trains on them


def prepare(study: str, data: ImagesData, raw: Path) -> Dataset:
    """The four files in `raw` as one pool: the training images, then the test images.

    Raises UserError for a file that is missing or damaged, or if no training image is left.
    """
    train = _read_pair(raw, TRAIN_IMAGES, TRAIN_LABELS, study)
    test = _read_pair(raw, TEST_IMAGES, TEST_LABELS, study)
    return Dataset(
        name=study,
        n_classes=CLASSES,
        x=_scale(np.concatenate([train[0], test[0]])),
        y=np.concatenate([train[1], test[1]]).astype(np.int32),
        splits=_splits(study, data, len(train[0]), len(test[0])),
    )


def parse(content: bytes, dimensions: int) -> Bytes:
    """The array of an uncompressed IDX file of unsigned bytes.

    Raises ValueError for another kind of file, and for one that is too short or too long.

    >>> parse(bytes([0, 0, 8, 1, 0, 0, 0, 3, 5, 6, 7]), dimensions=1)
    array([5, 6, 7], dtype=uint8)
    """
    expected = bytes([0, 0, UNSIGNED_BYTE, dimensions])
    header = 4 + 4 * dimensions
    if content[:4] != expected:
        raise ValueError(f"expected the first bytes {expected.hex()}, but got {content[:4].hex()}")
    if len(content) < header:
        raise ValueError(
            f"expected a header of {header} bytes, but the file has only {len(content)} bytes"
        )
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    size = header + int(np.prod(shape, dtype=object))
    if len(content) != size:
        raise ValueError(f"expected {size} bytes for shape {shape}, but got {len(content)}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _read_pair(raw: Path, images: str, labels: str, study: str) -> tuple[Bytes, Bytes]:
    """Images (n, height, width) and their labels (n,)."""
    x, y = _read(raw / images, 3, study), _read(raw / labels, 1, study)
    if len(x) != len(y):
        raise UserError(f"{raw / images} has {len(x)} images, but {raw / labels} {len(y)} labels")
    return x, y


def _read(path: Path, dimensions: int, study: str) -> Bytes:
    remedy = f"run `python -m pipeline fetch {study}`"
    try:
        return parse(gzip.decompress(path.read_bytes()), dimensions)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; {remedy}") from None
    except (ValueError, EOFError, OSError, zlib.error) as error:
        raise UserError(f"{path} is not the expected IDX file: {error}; {remedy}") from error


def _scale(images: Bytes) -> Floats:
    """Pixels as float32 in [0, 1]."""
    scaled = images.astype(np.float32)
    scaled /= BRIGHTEST
    return scaled


def _splits(study: str, data: ImagesData, images: int, tests: int) -> Splits:
    """Rows of each protocol's parts, (1, n); the test images are the last ones of the pool."""
    if data.validation >= images:
        raise UserError(
            f"`validation` must be less than the {images} training images, but got "
            f"{data.validation} (params.yaml: studies.{study}.data)"
        )
    pool = np.arange(images + tests, dtype=np.int32)[np.newaxis]
    training, test = pool[:, :images], pool[:, images:]
    cut = data.validation if data.validation_from == "first" else images - data.validation
    head, tail = training[:, :cut], training[:, cut:]
    val, rest = (head, tail) if data.validation_from == "first" else (tail, head)
    in_article = training if data.article_trains_on_validation else rest
    return {
        "article": {"train": in_article, "val": val, "test": test},
        "leak_free": {"train": rest, "val": val, "test": test},
    }
