"""Faults that users meet, on studies of the smallest budget: a sentence, and nothing lost.

By default a sample is tried; `FAULTS=all python -m pytest tests/faults` tries all of them, for
hours, and `FAULTS=3` another sample where `sampled` is used.
"""

import os
import random
from collections.abc import Sequence
from typing import TypeVar

Case = TypeVar("Case")


def sampled(cases: Sequence[Case], count: int) -> list[Case]:
    """As many of the cases as the time of every run of the tests allows, or all."""
    wanted = os.environ.get("FAULTS", "1")
    return [*cases] if wanted == "all" else random.Random(int(wanted)).sample(cases, count)
