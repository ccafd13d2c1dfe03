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

from pipeline.datasets import Dataset, Floats, Ints, Part, Scaling, Splits
from pipeline.datasets.section import FROZEN, Draws, Section
from pipeline.errors import UserError

TRAIN_IMAGES = "train-images-idx3-ubyte.gz"
TRAIN_LABELS = "train-labels-idx1-ubyte.gz"
TEST_IMAGES = "t10k-images-idx3-ubyte.gz"
TEST_LABELS = "t10k-labels-idx1-ubyte.gz"
CLASSES = 10
BRIGHTEST = 255
UNSIGNED_BYTE = 8
IMAGES = 60_000

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, config=FROZEN)
class ImagesData(Section):
    """Which of the 60,000 training images are for training and validation.

    Either the article's split, or draws of `train` images, which share none while there are enough.
    """

    images: ClassVar[bool] = True

    source: Literal["idx"] = "idx"
    validation: Annotated[int, Field(ge=1, lt=60_000)]
    validation_from: Literal["first", "last", "draw"] = "draw"
    article_trains_on_validation: bool = False  # whether the article's split also trains on them
    train: Annotated[int, Field(ge=1, lt=60_000)] | None = None  # of a draw; None: all others
    draws: Draws = 1

    @property
    def train_rows(self) -> int:
        """Those of a draw, or all others."""
        return IMAGES - self.validation if self.train is None else self.train

    @property
    def example_shape(self) -> tuple[int, ...]:
        """Rows and columns."""
        return (28, 28)

    @property
    def kept_values(self) -> int:
        """The numbers of the images of all draws."""
        return self.draws * (self.train_rows + self.validation)

    @property
    def own_draws(self) -> int | None:
        """The number of draws; None for the article's split."""
        return None if self.train is None else self.draws

    @property
    def article_points(self) -> bool:
        """Whether the split is the article's."""
        return self.train is None


def prepare(study: str, data: ImagesData, seed: int, raw: Path) -> Dataset:
    """The four files in `raw` as one pool: the training images, then the test images.

    Draw i depends only on `seed` and i, as long as `draws` times its images are there; with more
    draws than that, those of a further shuffle follow.

    Raises UserError for a file that is missing or damaged, or if no training image is left.
    """
    train = _read_pair(raw, TRAIN_IMAGES, TRAIN_LABELS, study)
    test = _read_pair(raw, TEST_IMAGES, TEST_LABELS, study)
    return Dataset(
        name=study,
        n_classes=CLASSES,
        x=_scale(np.concatenate([train[0], test[0]])),
        y=np.concatenate([train[1], test[1]]).astype(np.int32),
        splits=_splits(study, data, seed, len(train[0]), len(test[0])),
        scaling=Scaling.by(BRIGHTEST),
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


def _splits(study: str, data: ImagesData, seed: int, images: int, tests: int) -> Splits:
    """Rows of each protocol's parts, (draws, n); the test images are the last ones of the pool."""
    if data.train is not None:
        drawn = _drawn(study, data, data.train, seed, images)
        test = np.tile(np.arange(images, images + tests, dtype=np.int32), (data.draws, 1))
        splits: dict[Part, Ints] = {
            "train": drawn[:, data.validation :],
            "val": drawn[:, : data.validation],
            "test": test,
        }
        return {"article": splits, "leak_free": splits}
    return _fixed(study, data, images, tests)


def _drawn(study: str, data: ImagesData, train: int, seed: int, images: int) -> Ints:
    """Rows of each draw's validation and training images, (draws, validation + train)."""
    size = data.validation + train
    if size > images:
        raise UserError(
            f"`train` + `validation` must be at most the {images} training images, but got "
            f"{train} + {data.validation} (params.yaml: studies.{study}.data)"
        )
    each = images // size  # draws of one shuffle
    shuffled = [
        np.random.default_rng([seed, shuffle]).permutation(images)[: each * size].reshape(-1, size)
        for shuffle in range(-(-data.draws // each))
    ]
    return np.concatenate(shuffled)[: data.draws].astype(np.int32)


def _fixed(study: str, data: ImagesData, images: int, tests: int) -> Splits:
    """The article's split, as one draw."""
    if data.validation_from == "draw":
        raise UserError(
            f"`validation_from` must be first or last, unless `train` says how many images a draw "
            f"has, but is missing (params.yaml: studies.{study}.data)"
        )
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
