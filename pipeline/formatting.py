"""Numbers as text, for tables, pages and sentences."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

UNKNOWN = "\N{EN DASH}"


def percent(share: float) -> str:
    """A share as a percentage with two decimals; a dash if it is not finite.

    >>> percent(0.84231)
    '84.23'
    """
    return f"{_as_percent(share):.2f}" if np.isfinite(share) else UNKNOWN


def points(difference: float) -> str:
    """A signed difference of shares in percentage points; a dash if it is not finite.

    >>> points(0.031)
    '+3.10'
    """
    return signed(f"{_as_percent(difference):+.2f}") if np.isfinite(difference) else UNKNOWN


def _as_percent(share: float) -> float:
    # Means over seeds often lie halfway between two hundredths. The computed mean and the one read
    # from a file differ in their last bits, and would be rounded differently.
    return round(100 * share, 6)


def number(value: float) -> str:
    """A count or a strength: three significant digits below 100, whole numbers above.

    >>> number(4000), number(0.00031)
    ('4,000', '0.00031')
    """
    if not np.isfinite(value):
        return UNKNOWN
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}".replace("e-0", "e-")


def signed(number: str) -> str:
    """The text of a number with a typographic minus sign, and without a sign for zero."""
    return number.replace("-", "\N{MINUS SIGN}") if float(number) else number.lstrip("+-")


def p_text(p: float) -> str:
    """A p-value to three decimals, or `< 0.001`; a dash for NaN."""
    if np.isnan(p):
        return UNKNOWN
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def p_words(p: float) -> str:
    """A corrected p-value in a sentence.

    >>> p_words(0.129), p_words(0.0002)
    ('corrected p = 0.129', 'corrected p < 0.001')
    """
    text = p_text(p)
    return f"corrected p {text if text.startswith('<') else f'= {text}'}"


def interval(
    write: Callable[[float], str], row: Mapping[Any, Any], name: str, unit: str = ""
) -> str:
    """A row's value and its interval, such as 84.23 [83.61, 84.90]; `write` formats a number."""
    return f"{write(row[name])}{unit} [{write(row[f'{name}_low'])}, {write(row[f'{name}_high'])}]"


def aligned(title: str, cells: Sequence[Sequence[str]], notes: Sequence[str] = ()) -> str:
    """A table as plain text: a title, rows in columns with the heading first, and notes.

    >>> print(aligned("scores", [("", "test"), ("none", "84.23"), ("l2", "85.10")]))
    scores
          test
    ───────────
    none  84.23
    l2    85.10
    """
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    return "\n".join([title, lines[0], "─" * max(map(len, lines)), *lines[1:], *notes])


def counted(count: float, noun: str, plural: str = "") -> str:
    """A number of things.

    >>> counted(1, "replicate"), counted(1200, "replicate"), counted(2, "search", "searches")
    ('1 replicate', '1,200 replicates', '2 searches')
    """
    return f"{count:,.0f} {noun if count == 1 else plural or f'{noun}s'}"
