"""The common part of the `data` sections of all sources."""

from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from pipeline.datasets.task import CLASSIFICATION, Task, scored

FROZEN = ConfigDict(extra="forbid")
Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, kw_only=True, config=FROZEN)
class Section:
    """The `data` section of a study in params.yaml; each source has its own subclass.

    Sources that generate or split examples have a field `draws`, the number of draws or splits.
    """

    images: ClassVar[bool]  # whether examples are images, which can be moved or blurred

    source: str  # its name in `sources.SOURCES`
    input: str  # path of the file about the data's origin; DVC repeats the study if it changes
    score: str | None = None  # one of `task.SCORES`, by which all is chosen; None: the usual one

    @property
    def own_draws(self) -> int | None:
        """The number of draws or splits; None if there is one split."""
        return getattr(self, "draws", None)

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
