"""The common part of the `data` sections of all sources."""

from typing import Annotated, ClassVar

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from pipeline.datasets.task import CLASSIFICATION, Task, scored
from pipeline.errors import shown

FROZEN = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class AtMost:
    """An upper bound of a number, and its reason, for the message."""

    bound: int | float  # pydantic would make a float of it
    why: str

    def __call__(self, value: float) -> float:
        """The value. Raises ValueError if it is above the bound."""
        if value > self.bound:
            most = f"{self.bound:,}" if isinstance(self.bound, int) else f"{self.bound:g}"
            raise ValueError(f"must be at most {most}, {self.why}, but got {shown(value)}")
        return value


def at_most(bound: float, why: str) -> AfterValidator:
    """A validator for `Annotated`; see `AtMost`."""
    return AfterValidator(AtMost(bound, why))


Count = Annotated[int, Field(ge=1), at_most(10**6, "since each is trained or kept one by one")]
Draws = Annotated[int, Field(ge=1), at_most(10**4, "since the rows of each are kept")]
Rows = Annotated[int, Field(ge=1), at_most(2**31 - 1, "since rows are numbered with 32 bits")]
Pair = Annotated[Rows, Field(ge=2)]  # of rows: one of each of two classes at least
Pixels = Annotated[int, Field(ge=1), at_most(2048, "since all pixels are inputs of a network")]


@dataclass(frozen=True, kw_only=True, config=FROZEN)
class Section:
    """The `data` section of a study in params.yaml; each source has its own subclass.

    Sources that generate or split examples have a field `draws`, the number of draws or splits.
    """

    images: ClassVar[bool]  # whether examples are images, which can be moved or blurred

    source: str  # its name in `sources.SOURCES`
    input: Annotated[
        str, Field(max_length=1000)
    ]  # path of the file about the data's origin; DVC repeats the study if it changes
    score: str | None = None  # one of `task.SCORES`, by which all is chosen; None: the usual one

    @property
    def own_draws(self) -> int | None:
        """The number of draws or splits; None if there is one split."""
        return getattr(self, "draws", None)

    @property
    def train_rows(self) -> int | None:
        """The training rows of a draw; None: as many as the data have."""
        return getattr(self, "train", None)

    @property
    def example_shape(self) -> tuple[int, ...] | None:
        """The shape of one example, if it is known before the data are there."""
        return None

    @property
    def kept_values(self) -> int:
        """The numbers that all draws keep, as far as they are known before the data are there."""
        return 0

    @property
    def trained_for(self) -> Task:
        """The task of the data, unless the architecture has its own; it goes by `score`.

        Raises UserError for a score that the task lacks.
        """
        return CLASSIFICATION if self.score is None else scored(CLASSIFICATION, self.score)

    @property
    def predicted(self) -> str:
        """The name of what is predicted, if it has one."""
        return ""

    @property
    def told_columns(self) -> tuple[tuple[str, str], ...]:
        """Of a table: columns that have a role of their own, and which."""
        return ()

    @property
    def article_points(self) -> bool:
        """Whether an article's own examples and split are among them."""
        return False
