"""The digits that scikit-learn includes: 1,797 images of 8 x 8 pixels."""

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from pipeline.datasets import PARTS, Dataset, Ints, Part, Scaling
from pipeline.datasets.section import FROZEN, Draws, Section
from pipeline.errors import UserError

BRIGHTEST = 16  # a pixel counts the dots in a 4 x 4 block
CLASSES = 10
IMAGES = 1797


@dataclass(frozen=True, kw_only=True, config=FROZEN)
class DigitsData(Section):
    """Sizes of validation and test; the rest of the 1,797 images is for training."""

    images: ClassVar[bool] = True

    source: Literal["digits"] = "digits"
    validation: Annotated[int, Field(ge=10)] = 360
    test: Annotated[int, Field(ge=10)] = 360
    draws: Draws = 10  # stratified splits of the same images

    @property
    def train_rows(self) -> int:
        """All other images."""
        return IMAGES - self.validation - self.test

    @property
    def example_shape(self) -> tuple[int, ...]:
        """Rows and columns."""
        return (8, 8)


def prepare(study: str, data: DigitsData, seed: int) -> Dataset:
    """The digits scaled to [0, 1], split again and again, stratified by class.

    No article uses these digits, so both protocols have the same splits. Split i
    depends only on `seed` and i.
    Raises UserError if validation and test leave fewer training images than there are classes.
    """
    from sklearn.datasets import load_digits  # here: reading params.yaml needs no scikit-learn

    digits = load_digits()
    y = digits.target.astype(np.int32)
    _check_sizes(study, data, len(y))
    splits = _splits(y, data, seed)
    return Dataset(
        name=study,
        n_classes=CLASSES,
        x=(digits.images / BRIGHTEST).astype(np.float32),
        y=y,
        splits={"article": splits, "leak_free": splits},
        scaling=Scaling.by(BRIGHTEST),
    )


def _check_sizes(study: str, data: DigitsData, images: int) -> None:
    if data.validation + data.test > images - CLASSES:
        raise UserError(
            f"`validation` + `test` must be at most {images - CLASSES} of the {images} digits, but "
            f"got {data.validation} + {data.test} (params.yaml: studies.{study}.data)"
        )


def _splits(y: Ints, data: DigitsData, seed: int) -> dict[Part, Ints]:
    """Rows of each part in each split, (draws, n)."""
    splits = [_split(y, data, seed, draw) for draw in range(data.draws)]
    return {part: np.stack([split[part] for split in splits]) for part in PARTS}


def _split(y: Ints, data: DigitsData, seed: int, draw: int) -> dict[Part, Ints]:
    """Rows of each part, (n,)."""
    from sklearn.model_selection import train_test_split

    states = np.random.SeedSequence(seed, spawn_key=(draw,)).generate_state(2)
    test_seed, val_seed = (int(state) for state in states)
    rows = np.arange(len(y), dtype=np.int32)
    rest, test = train_test_split(rows, test_size=data.test, stratify=y, random_state=test_seed)
    train, val = train_test_split(
        rest, test_size=data.validation, stratify=y[rest], random_state=val_seed
    )
    return {"train": train, "val": val, "test": test}
