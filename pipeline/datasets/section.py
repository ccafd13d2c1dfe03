"""The common part of the `data` sections of all sources."""

from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

FROZEN = ConfigDict(extra="forbid")
Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, kw_only=True, config=FROZEN)
class Section:
    """The `data` section of a study in params.yaml; each source has its own subclass.

    Sources that generate examples have a field `draws`, the number of independent draws.
    """

    images: ClassVar[bool]  # whether examples are images, which can be moved or blurred
    article_points: ClassVar[bool]  # whether an article's own examples and split are among them

    source: str  # its name in `sources.SOURCES`
    input: str  # path of the file about the data's origin; DVC repeats the study if it changes
