"""Numbers as text, for tables, pages and sentences."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

UNKNOWN = "\N{EN DASH}"


def percent(share: float) -> str:
    """A share as a percentage, such as 84.23 for 0.84231; a dash if it is not finite."""
    return f"{_hundred(share):.2f}" if np.isfinite(share) else UNKNOWN


def points(difference: float) -> str:
    """A signed difference of shares in percentage points, such as +3.10; a dash if not finite."""
    return signed(f"{_hundred(difference):+.2f}") if np.isfinite(difference) else UNKNOWN


def _hundred(share: float) -> float:
    # Means of seeds often lie between two hundredths. What a file keeps of one and what was
    # computed differ in the last bits, and would be told apart.
    return round(100 * share, 6)


def number(value: float) -> str:
    """A count or a strength as short as it can be told, such as 4,000 or 0.00031."""
    if not np.isfinite(value):
        return UNKNOWN
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}".replace("e-0", "e-")


def signed(number: str) -> str:
    """A written number with a true minus sign, and with no sign if it is zero."""
    return number.replace("-", "\N{MINUS SIGN}") if float(number) else number.lstrip("+-")


def p_text(p: float) -> str:
    """A p-value to three decimals, or `< 0.001`; a dash if there is none."""
    if np.isnan(p):
        return UNKNOWN
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def interval(
    write: Callable[[float], str], row: Mapping[Any, Any], name: str, unit: str = ""
) -> str:
    """A row's number with the ends of its interval, such as 84.23 [83.61, 84.90]."""
    return f"{write(row[name])}{unit} [{write(row[f'{name}_low'])}, {write(row[f'{name}_high'])}]"
