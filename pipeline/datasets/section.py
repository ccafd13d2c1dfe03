"""What the `data` sections of all sources share."""

from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

FROZEN = ConfigDict(extra="forbid")
Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, kw_only=True, config=FROZEN)
class Section:
    """The `data` section of a study in params.yaml; each source has one of its own.

    Sources that draw fresh examples have a field `draws`, how many independent draws there are.
    """

    images: ClassVar[bool]  # whether an example is an image, so that it can be moved or blurred

    source: str  # its name in `sources.SOURCES`
    input: str  # path of what the data come from; the study is stale once that file changes
