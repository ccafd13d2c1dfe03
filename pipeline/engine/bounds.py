"""Names and numbers within bounds; anything else raises a ValueError.

It names the argument, what was expected and what was received.
"""

from collections.abc import Collection
from math import isfinite
from numbers import Integral, Real
from typing import Any, NoReturn

import numpy as np

LARGEST = 2**31  # of a whole number, which programs hold in 32 bits
LARGEST_FLOAT = float(np.finfo(np.float32).max)


def refuse(where: str, expected: str, got: object) -> NoReturn:
    """Raises ValueError: where, what was expected, what was received."""
    raise ValueError(f"{where}: expected {expected}, but got {got}")


def one_of(where: str, value: object, known: Collection[str], other: str = "") -> None:
    """One of the known names; `other`: what else may stand there, for the message."""
    if not isinstance(value, str) or value not in known:
        refuse(where, f"{other}one of {', '.join(known)}", repr(value))


def is_number(value: object, kind: type) -> bool:
    """Whether it is a number of a kind of `numbers`; truth values are none."""
    return isinstance(value, kind) and not isinstance(value, bool)


def whole(
    where: str, value: object, least: int, other: str = "", most: int | None = LARGEST
) -> None:
    """A whole number of at least `least`, and below `most`."""
    number: Any = value
    if not is_number(value, Integral) or number < least or (most and number >= most):
        bound = f" and < {most}" if most else ""
        refuse(where, f"{other}a whole number >= {least}{bound}", repr(value))


def between(
    where: str,
    value: object,
    least: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> None:
    """A finite number that is still finite, and above the bound, in float32."""
    number: Any = value
    fits = is_number(value, Real) and isfinite(number) and abs(float(number)) <= LARGEST_FLOAT
    if (
        not fits
        or (least is not None and number < least)
        or (above is not None and not np.float32(number) > above)
        or (below is not None and not np.float32(number) < below)
    ):
        bounds = ((">=", least), (">", above), ("<", below))
        told = " and ".join(f"{sign} {bound}" for sign, bound in bounds if bound is not None)
        refuse(where, f"a finite number {told}".rstrip(), repr(value))
