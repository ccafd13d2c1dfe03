"""Where a study's data come from, what they are called, and how to know that they have arrived.

A small committed file such as data/sources/mnist.yaml, which `data.input` of the study names.
"""

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

import yaml
from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from pipeline.datasets.section import FROZEN
from pipeline.errors import UserError


@dataclass(frozen=True, config=FROZEN)
class Origin:
    """What is known of a source. One that is generated on the spot has no files to fetch."""

    origin: str  # who made the data, or what generates them
    licence: str
    citation: str  # URL
    title: str = ""  # of pages and figures; empty: the study's name
    description: str = ""  # what is told apart, from what
    leak: str = ""  # what is wrong with the article's own split, if anything is
    folder: str = ""  # its folder under DATA_MIRROR
    mirrors: tuple[str, ...] = ()  # URLs of folders that hold all files, in the order of trying
    files: Mapping[str, str] = field(default_factory=dict)  # name -> SHA-256 once decompressed


def read(path: str | Path) -> Origin:
    """The content of such a file. Raises UserError that names the file and every mistake in it."""
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        return TypeAdapter(Origin).validate_python(content)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; `data.input` names it") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {error}") from None
    except ValidationError as error:
        mistakes = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise UserError("\n".join(f"{path}:{mistake}" for mistake in mistakes)) from None
