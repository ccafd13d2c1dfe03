"""Small plans of runs, and what searches would have chosen for them."""

from collections.abc import Mapping
from typing import Any


def chosen(values: Mapping[str, Mapping[str, float]], searches: int = 1) -> dict[str, Any]:
    """The content of a tuned.json in which all searches of a technique agree."""
    techniques = {
        name: {"searches": [{"values": dict(own), "by_loss": {"values": dict(own)}}] * searches}
        for name, own in values.items()
    }
    return {"techniques": techniques}
