"""The sections of people's own data in params.yaml: a table, a folder of pictures, arrays.

`python -m pipeline new-study` looks at the data once and writes every decision into params.yaml.
`prepare` decides nothing, so a changed cell cannot change what a column means.
"""

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field
from pydantic.dataclasses import dataclass

from pipeline.datasets import Ints, Targets, splits
from pipeline.datasets.section import FROZEN, Draws, Pixels, Rows, Section, at_most
from pipeline.datasets.splits import Parts, Sizes
from pipeline.datasets.task import SCORES, Task, named, scored
from pipeline.errors import UserError

FILE = "file"  # the value of `test` for test rows of a file of their own
BRIGHTEST = at_most(1e9, "since pixels are divided by it")
Together = Literal["together", "apart"]


@dataclass(frozen=True, kw_only=True, config=FROZEN)
class OwnData(Section):
    """A folder with data, what is predicted, and the rows of each draw.

    Raises ValueError for a score or classes that do not fit the task.
    """

    images: ClassVar[bool] = False

    task: Literal["classification", "regression"]
    score: str  # by which everything is chosen and compared; see `task.SCORES`
    classes: tuple[str, ...] = ()  # their names; the second of two is the positive one
    # repeated: the rows are split again and again. folds: cross-validation, in rows // test folds,
    # shuffled anew when all had their turn. one_test: the same test rows in all draws, which share
    # no other row. in_order: windows of time.
    splits: Literal["repeated", "folds", "one_test", "in_order"] = "repeated"
    test: Rows | Literal["file"]  # rows; file: those of the test file
    validation: Rows
    train: Rows | None = None  # at most; None: all that are left
    draws: Draws
    duplicates: Together = "together"  # whether equal rows are kept in one part
    # What pages say of the data; a study of other words trains nothing again.
    title: str = ""  # empty: the study's name
    origin: str = ""  # who made the data, or their address
    licence: str = ""

    def __post_init__(self) -> None:
        if self.score not in SCORES[self.task]:
            raise ValueError(
                f"`score` must be one of {', '.join(SCORES[self.task])} for a {self.task}, but got "
                f"{self.score!r}"
            )
        labels = self.task == "classification"
        if labels and (len(self.classes) < 2 or len(set(self.classes)) < len(self.classes)):
            raise ValueError(
                f"`classes` must be two or more different names, but got {[*self.classes]}"
            )
        if self.classes and not labels:
            raise ValueError("`classes` must be left out for a regression")
        if self.test == FILE and self.splits != "repeated":
            raise ValueError(
                f"`splits` must be repeated with `test: {FILE}`, but got {self.splits!r}"
            )

    @property
    def trained_for(self) -> Task:
        """The task of the data, with the score that was asked for."""
        return scored(named(self.task), self.score)

    @property
    def n_classes(self) -> int:
        """The number of classes; 1 for a regression."""
        return max(1, len(self.classes))

    def part_rows(
        self,
        y: Targets,
        units: npt.NDArray[Any],
        seed: int,
        times: npt.NDArray[Any] | None = None,
        test: Ints | None = None,
    ) -> Parts:
        """Rows of each part in each draw, (draws, n).

        Args:
            y: (n,) targets; those of a classification are stratified.
            units: (n,) numbers of what is never divided; see `splits.units_of`.
            times: (n,) by which rows are ordered, for `in_order`.
            test: the rows of a test file, for `test: file`.
        """
        strata = y if self.task == "classification" else np.zeros(len(y), np.int32)
        if isinstance(self.test, str):
            if test is None:
                raise UserError(f"{self.input} has no test file, but `test` is {FILE!r}")
            sizes = Sizes(0, self.validation, self.train)
            return splits.known_test(strata, units, test, sizes, self.draws, seed)
        sizes = Sizes(self.test, self.validation, self.train)
        if self.splits == "in_order":
            if times is None:
                raise UserError("`splits: in_order` needs `time`, the column to order rows by")
            return splits.in_order(times, sizes, self.draws)
        split = {"repeated": splits.repeated, "folds": splits.folds, "one_test": splits.one_test}
        return split[self.splits](strata, units, sizes, self.draws, seed)


@dataclass(frozen=True, kw_only=True, config=FROZEN)
class TableData(OwnData):
    """The columns of a table. Every column that is not named here is a number."""

    source: Literal["table"] = "table"
    target: str  # the column that is predicted
    left_out_classes: tuple[str, ...] = ()  # whose rows are left out
    drop: tuple[str, ...] = ()  # columns that are left out
    categories: tuple[str, ...] = ()  # one-hot, up to 30 values of each
    dates: tuple[str, ...] = ()  # become days
    group: str | None = None  # rows with equal values stay in one part
    time: str | None = None  # by which rows are ordered
    weight: str | None = None  # of a row in the loss and in the scores
    # robust: by quartiles, with a smooth bound of 3; standard: by mean and standard deviation
    scaling: Literal["robust", "standard"] = "robust"

    @property
    def predicted(self) -> str:
        """The column that is predicted."""
        return self.target

    @property
    def told_columns(self) -> tuple[tuple[str, str], ...]:
        """The columns that are no numbers, and what became of them."""
        roles: dict[str | None, str] = {
            self.target: "predicted",
            **dict.fromkeys(self.categories, "categories, an input for each value"),
            **dict.fromkeys(self.dates, "days since 1970, scaled as numbers are"),
            **dict.fromkeys(self.drop, "left out"),
            self.group: "rows of equal value stay in one part",
            self.time: "orders the rows",
            self.weight: "weighs the rows in loss and scores",
        }
        return tuple((name, role) for name, role in roles.items() if name is not None)


@dataclass(frozen=True, kw_only=True, config=FROZEN)
class FolderData(OwnData):
    """Pictures, all resized to one size; grey, or with colour if `colour` says so."""

    images: ClassVar[bool] = True

    source: Literal["folder"] = "folder"
    task: Literal["classification"] = "classification"
    height: Pixels
    width: Pixels
    colour: bool = False
    test: Rows

    @property
    def example_shape(self) -> tuple[int, ...]:
        """Rows and columns, and channels of colour."""
        return (self.height, self.width, 3) if self.colour else (self.height, self.width)


@dataclass(frozen=True, kw_only=True, config=FROZEN)
class ArraysData(OwnData):
    """Vectors, which each draw scales by its own training examples, or images."""

    source: Literal["arrays"] = "arrays"
    scaling: Literal["robust", "standard"] = "robust"  # of vectors, as of a table
    # Of images: the largest value that a pixel can have; images are divided by it. None: vectors.
    brightest: Annotated[float, Field(ge=1e-6), BRIGHTEST] | None = None

    @property
    def images(self) -> bool:  # type: ignore[override]
        """Whether examples are images."""
        return self.brightest is not None
