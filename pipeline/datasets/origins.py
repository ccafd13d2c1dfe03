"""Where a study's data come from: title, mirrors, licence and checksums.

Read from a small committed file such as data/sources/mnist.yaml, which `data.input` names.
"""

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from pipeline.datasets import strict_yaml
from pipeline.datasets.section import FROZEN
from pipeline.errors import UserError


@dataclass(frozen=True, config=FROZEN)
class Origin:
    """Where data come from. Generated data have no files to fetch."""

    origin: str  # who made the data, or what generates them
    licence: str
    citation: str  # URL
    title: str = ""  # of pages and figures; empty: the study's name
    description: str = ""  # what the examples are, and what is predicted
    classes: tuple[str, ...] = ()  # their names; empty: their numbers
    leak: str = ""  # what is wrong with the article's own split, if anything
    folder: str = ""  # its folder under DATA_MIRROR
    mirrors: tuple[str, ...] = ()  # URLs of folders with all files, tried in this order
    files: Mapping[str, str] = field(default_factory=dict)  # name → SHA-256 when decompressed


def read(path: str | Path) -> Origin:
    """The content of such a file. Raises UserError with every mistake and the file's name."""
    try:
        return TypeAdapter(Origin).validate_python(strict_yaml.read(path))
    except UserError as error:
        raise UserError(f"{error} (named by `data.input`)") from None
    except ValidationError as error:
        lines = [
            f"{path}:{'.'.join(map(str, mistake['loc']))}: {mistake['msg']}"
            for mistake in error.errors()
        ]
        raise UserError("\n".join(lines)) from None
