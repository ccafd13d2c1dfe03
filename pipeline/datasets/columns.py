"""The columns of a table as numbers, categories and dates, the same in training and in serving.

Imports NumPy and pandas alone: a copy of this file lies beside every logged model. A cell's value
depends on nothing but the cell: neither on the other rows nor on whether pandas has read the column
as int, float, bool or text. The steps from a table to a model's inputs are

    typed(frame, roles)  ->  transform of the fitted ColumnTransformer  ->  inputs(...)

`preprocessing.transform` does them for training, and a served model does the same.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

MISSING = "(missing)"  # the category of cells without a value
# What counts as no value, in lower case.
USUAL = frozenset({"", "na", "n/a", "nan", "null", "none", "?", "-", "missing", "(missing)", "nat"})
OF_PANDAS = frozenset({"-nan", "<na>", "#na", "#n/a", "#n/a n/a"}) | {
    f"{sign}1.#{word}" for sign in ("", "-") for word in ("ind", "qnan")
}
MISSING_WORDS = USUAL | OF_PANDAS
LARGEST = 1e150  # of a number's magnitude: squares of larger ones are not finite
SHOWN = 3  # rows that a message lists
LONGEST = 40  # characters of a value that a message shows

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?inf(inity)?", re.I | re.A)
TRUTH = {  # the texts that pandas reads as truth values
    text: word for word in ("True", "False") for text in (word, word.lower(), word.upper())
}
DATE = re.compile(
    r"(?:(?P<y>\d{4})(?P<s>[-/.])(?P<m>\d\d?)(?P=s)(?P<d>\d\d?)"
    r"|(?P<d2>\d\d?)\.(?P<m2>\d\d?)\.(?P<y2>\d{4})"
    r"|(?P<y3>\d{4})-(?P<m3>\d\d))"
    r"(?:[ T](?P<hour>\d\d?):(?P<minute>\d\d)(?::(?P<second>\d\d)(?P<part>\.\d+)?)?)?"
    r" ?(?P<zone>Z|[+-]\d\d:?\d\d)?",
    re.A,
)
EPOCH = datetime(1970, 1, 1)

SECONDS = 86_400  # of a day

Doubles = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Texts = npt.NDArray[np.object_]


@dataclass(frozen=True)
class Roles:
    """The columns that are inputs, by what they hold."""

    numbers: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()

    @property
    def scaled(self) -> tuple[str, ...]:
        """The columns that become scaled numbers, in the order of the outputs."""
        return (*self.numbers, *self.dates)

    @property
    def all(self) -> tuple[str, ...]:
        """All columns, in the order of `typed`."""
        return (*self.scaled, *self.categories)


def typed(frame: pd.DataFrame, roles: Roles) -> pd.DataFrame:
    """Numbers and dates as float64, categories as text; rows and index stay as they are.

    Columns are in the order numbers, dates, categories; others are ignored. Missing numbers and
    dates are NaN, missing categories MISSING. Dates are days since 1970-01-01, in UTC where a zone
    is given. Raises ValueError with column, row (counted from 1 below the header) and value: for
    text among numbers, infinite numbers, what is no date, and for columns that are not there.

    >>> frame = pd.DataFrame({"age": ["31", "NA"], "colour": ["red ", None], "note": "x"})
    >>> typed(frame, Roles(numbers=("age",), categories=("colour",)))
        age     colour
    0  31.0        red
    1   NaN  (missing)
    """
    cells = _selected(frame, roles.all)
    columns: dict[str, Any] = {}
    for name in roles.numbers:
        columns[name] = _checked(name, cells[name], number_values, "a number")
        _check_finite(name, columns[name])
    for name in roles.dates:
        columns[name] = _checked(name, cells[name], date_values, "a date such as 2023-01-31")
    for name in roles.categories:
        columns[name] = pd.Series(text_values(cells[name]), frame.index, dtype=object)
    return pd.DataFrame(columns, index=frame.index)


def smooth_clip(z: Doubles) -> Doubles:
    """z / sqrt(1 + (z / 3)**2): near z where z is small, never beyond 3. arXiv 2407.04491.

    >>> smooth_clip(np.array([0.1, 4.0, -1e9])).round(3)
    array([ 0.1,  2.4, -3. ])
    """
    return z / np.hypot(1, z / 3)


def inputs(
    outputs: npt.NDArray[Any], scaled: int, robust: bool, width: int | None = None
) -> npt.NDArray[np.float32]:
    """What the fitted ColumnTransformer gives as a model's inputs, (n, k) to (n, width) float32.

    The first `scaled` outputs are scaled numbers; after robust scaling they are clipped smoothly.
    Columns of zeros fill up to `width`, by default k. Raises ValueError for more outputs than that.

    >>> inputs(np.array([[4.0, 1.0]]), scaled=1, robust=True, width=3)
    array([[2.4, 1. , 0. ]], dtype=float32)
    """
    rows, k = outputs.shape
    width = k if width is None else width
    if k > width:
        raise ValueError(f"`width` must be at least {k}, the number of outputs, but got {width}")
    result = np.zeros((rows, width), np.float32)
    largest = np.finfo(np.float32).max
    numbers = outputs[:, :scaled].astype(np.float64)
    # Without smooth clipping, a value far from all training rows can exceed what float32 holds.
    result[:, :scaled] = smooth_clip(numbers) if robust else numbers.clip(-largest, largest)
    result[:, scaled:k] = outputs[:, scaled:]
    return result


def text_values(column: "pd.Series[Any]") -> Texts:
    """Each cell as text without blanks at its ends, (n,) of str; MISSING where there is no value.

    Numbers and truth values are written one way, whether they came as such or as text.

    >>> text_values(pd.Series([1, 1.0, "1", "01", "TRUE", True, " x ", "n/a"], dtype=object))
    array(['1', '1', '1', '1', 'True', 'True', 'x', '(missing)'], dtype=object)
    """
    return _by_value(column, _text, MISSING)


def number_values(column: "pd.Series[Any]") -> tuple[Doubles, Flags]:
    """Each cell as a number, (n,), NaN where it has none; and which cells are no numbers, (n,).

    >>> number_values(pd.Series(["1.5", "?", "many"]))
    (array([1.5, nan, nan]), array([False, False,  True]))
    """
    column = _plain(column)
    if _is_number(column):
        return _doubles(column), np.zeros(len(column), np.bool_)
    return _split_off(_by_value(column, _number, np.nan))


def date_values(column: "pd.Series[Any]") -> tuple[Doubles, Flags]:
    """Each cell as days since 1970-01-01, (n,), NaN where it has none; and which are no dates.

    >>> date_values(pd.Series(["1970-01-02 12:00", "31.12.1969", "", "soon"]))
    (array([ 1.5, -1. ,  nan,  nan]), array([False, False, False,  True]))
    """
    column = _plain(column)
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        days = (column - pd.Timestamp("1970-01-01")) / pd.Timedelta(days=1)
        return _doubles(days), np.zeros(len(days), np.bool_)
    return _split_off(_by_value(column, _days, np.nan))


def listed(column: "pd.Series[Any]", rows: Flags) -> str:
    """The first of these rows, counted from 1, with their values, and how many more there are.

    >>> listed(pd.Series(["a", "1", "b", "c", "d"]), np.array([True, False, True, True, True]))
    "row 1 has 'a', row 3 has 'b', row 4 has 'c', and 1 more"
    """
    places = np.flatnonzero(rows)
    shown = [f"row {place + 1} has {shown_value(column.iloc[place])}" for place in places[:SHOWN]]
    more = len(places) - SHOWN
    return ", ".join([*shown, f"and {more:,} more"] if more > 0 else shown)


def shown_value(value: object) -> str:
    """A cell in a message: quoted if it is text, and shortened if it is long."""
    text = value if isinstance(value, str) else str(value)
    short = text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
    return repr(short) if isinstance(value, str) else short


def _selected(frame: pd.DataFrame, names: Sequence[str]) -> "dict[str, pd.Series[Any]]":
    """The columns of these names; blanks at the ends of a table's names do not count."""
    exact = [str(name) for name in frame.columns]
    stripped = [name.strip() for name in exact]
    places = {
        name: [place for place, other in enumerate(exact) if other == name]
        or [place for place, other in enumerate(stripped) if other == name]
        for name in names
    }
    if absent := [name for name in names if not places[name]]:
        raise ValueError(
            f"the table must have the columns {', '.join(map(repr, names))}, but has no "
            f"{', '.join(map(repr, absent))}"
        )
    if twice := [name for name in names if len(places[name]) > 1]:
        raise ValueError(f"the table has several columns {', '.join(map(repr, twice))}")
    return {name: frame.iloc[:, places[name][0]] for name in names}


def _checked(
    name: str,
    column: "pd.Series[Any]",
    read: "Callable[[pd.Series[Any]], tuple[Doubles, Flags]]",
    expected: str,
) -> Doubles:
    values, wrong = read(column)
    if wrong.any():
        raise ValueError(f"column {name!r} must have {expected}, but {listed(column, wrong)}")
    return values


def _check_finite(name: str, values: Doubles) -> None:
    wrong = np.abs(values) > LARGEST
    if wrong.any():
        raise ValueError(
            f"column {name!r} must have finite numbers, of magnitude up to {LARGEST:g}, but "
            f"{listed(pd.Series(values), wrong)}"
        )


def _by_value(column: "pd.Series[Any]", read: Callable[[Any], Any], missing: object) -> Texts:
    """`read` of every cell, called once per different value."""
    column = _plain(column)
    if column.dtype == object:  # True equals 1 in a hash table, and lists cannot be in one
        values = [read(value) for value in column]
        codes = np.arange(len(values))
    else:
        codes, unique = pd.factorize(column)
        values = [read(value) for value in unique.tolist()]
    table = np.empty(len(values) + 1, np.object_)
    table[:-1], table[-1] = values, missing  # the code of a missing value is -1, the last
    result: Texts = table[codes]
    return result


def _plain(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """A pandas category as the values that it stands for."""
    return column.astype(object) if isinstance(column.dtype, pd.CategoricalDtype) else column


def _is_number(column: "pd.Series[Any]") -> bool:
    kinds = pd.api.types
    return bool(
        kinds.is_bool_dtype(column.dtype)
        or kinds.is_integer_dtype(column.dtype)
        or kinds.is_float_dtype(column.dtype)
    )


def _doubles(column: "pd.Series[Any]") -> Doubles:
    values: Doubles = column.to_numpy(dtype=np.float64, na_value=np.nan)
    return values


def _split_off(values: Texts) -> tuple[Doubles, Flags]:
    """Numbers, and where there is None instead of one."""
    wrong = np.array([value is None for value in values], np.bool_)
    values[wrong] = np.nan
    return values.astype(np.float64), wrong


def _text(value: object) -> str:
    """A cell as text, the same for the number, the truth value and the text that mean the same."""
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    text = str(value).strip()
    if text.lower() in MISSING_WORDS:
        return MISSING
    if text in TRUTH:
        return TRUTH[text]
    if NUMBER.fullmatch(text):
        return _number_text(float(text))
    return text.removesuffix(" 00:00:00") if isinstance(value, date) else text


def _number_text(value: float) -> str:
    whole = abs(value) < 1e15 and value == int(value)
    return str(int(value)) if whole else repr(value)


def _number(value: object) -> float | None:
    """A cell as a number; NaN if it has no value, None if it is something else."""
    text = _text(value)
    if text == MISSING:
        return np.nan
    if text in TRUTH:
        return float(text == "True")
    return float(text) if NUMBER.fullmatch(text) else None


def _days(value: object) -> float | None:
    """A cell as days since 1970-01-01; NaN if it has no value, None if it is no date."""
    text = str(value).strip()
    if text.lower() in MISSING_WORDS:
        return np.nan
    found = DATE.fullmatch(text)
    if found is None:
        return None
    part = found.groupdict(default="0")
    year, month = (int(found[key] or found[f"{key}2"] or found[f"{key}3"]) for key in "ym")
    day = int(found["d"] or found["d2"] or 1)  # the first, where there is a month alone
    hour, minute, second = (int(part[key]) for key in ("hour", "minute", "second"))
    try:
        moment = datetime(year, month, day, hour, minute, second)
    except ValueError:  # such as February 30
        return None
    seconds = (moment - EPOCH).total_seconds() + float(part["part"]) - _offset(found["zone"])
    return seconds / SECONDS


def _offset(zone: str | None) -> int:
    """Seconds from UTC of a zone such as Z, +02:00 or -0530."""
    if zone in (None, "Z"):
        return 0
    digits = zone[1:].replace(":", "")
    seconds = 3600 * int(digits[:2]) + 60 * int(digits[2:])
    return -seconds if zone[0] == "-" else seconds
