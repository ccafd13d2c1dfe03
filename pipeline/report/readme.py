"""Blocks of README.md that are written by code, between markers in comments."""

import re

from pipeline.errors import UserError


def block(text: str, name: str) -> str:
    """What stands between `<!-- name -->` and `<!-- /name -->`. Raises UserError without them."""
    return text[slice(*_span(text, name))]


def update(text: str, name: str, new: str) -> str:
    """The text with a new block between these markers. Raises UserError without them."""
    start, end = _span(text, name)
    return text[:start] + new + text[end:]


def _span(text: str, name: str) -> tuple[int, int]:
    found = re.search(rf"<!-- {name} -->\n(.*)<!-- /{name} -->", text, re.DOTALL)
    if found is None:
        raise UserError(f"README.md must have the lines <!-- {name} --> and <!-- /{name} -->")
    return found.span(1)
