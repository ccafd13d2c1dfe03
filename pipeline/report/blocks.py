"""The blocks of documentation pages that are written by code, between HTML comments."""

import re
from pathlib import Path

from pipeline.errors import UserError
from pipeline.files import replace_text


def read(page: Path, name: str) -> str:
    """The text between `<!-- name -->` and `<!-- /name -->`. Raises UserError without them."""
    text = page.read_text("utf-8")
    return text[slice(*_span(page, text, name))]


def replace(page: Path, name: str, new: str) -> None:
    """Replaces the text between the two comments. Raises UserError without them."""
    text = page.read_text("utf-8")
    start, end = _span(page, text, name)
    replace_text(page, text[:start] + new + text[end:])


def _span(page: Path, text: str, name: str) -> tuple[int, int]:
    block = re.search(rf"<!-- {name} -->\n(.*)<!-- /{name} -->", text, re.DOTALL)
    if block is None:
        raise UserError(f"{page} must have the lines <!-- {name} --> and <!-- /{name} -->")
    return block.span(1)
