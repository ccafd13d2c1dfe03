"""Reads a table from a file: text with any usual delimiter, encoding and decimal sign, or Parquet.

A file is read rightly or refused: nothing is guessed that another reading would contradict, and
what was found out is told in `Table.notes`. Cells stay as they are; `columns` gives them meaning.
Rows are counted from 1 below the header, as everywhere; where a file has a fault in its form, the
message names the line as well, since quoted line breaks and blank lines let the two differ.
"""

import csv
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.datasets.columns import shown_value
from pipeline.errors import UserError

TEXTS = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
FORMATS = (*TEXTS, ".parquet")
DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "vertical bars", ",": "commas"}
SAMPLE = 1_000  # records by which the delimiter is found out
SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")

BINARY = re.compile(rb"[\x00-\x08\x0e-\x1f]")  # characters that no text has
# Numbers with dots between thousands, or with none; then those with a decimal comma.
WHOLE = r"[+-]?(?:\d+|\d{1,3}(?:\.\d{3})+)"
DECIMAL_COMMA = rf"\s*{WHOLE},\d+(?:[eE][+-]?\d+)?\s*"
THOUSANDS = r"\s*[+-]?[1-9]\d{0,2},\d{3}\s*"  # with a comma that can be either sign
EITHER = rf"(?:\s*{WHOLE}\s*)|(?:{DECIMAL_COMMA})"


@dataclass(frozen=True)
class Table:
    """The cells of a file, and what was found out about its form.

    The frame has the index 0..n-1, and as columns the names of the header without blanks at their
    ends; row i of a message is `frame.iloc[i - 1]`. Missing cells are those that are empty.
    """

    frame: pd.DataFrame
    notes: tuple[str, ...]  # sentences such as "read with semicolons and decimal commas"


@dataclass(frozen=True)
class _Text:
    """The bytes of a text file, and how they are decoded."""

    path: Path
    content: bytes
    encoding: str

    def lines(self) -> io.TextIOWrapper:
        """The text from its start, with line ends as they are."""
        return io.TextIOWrapper(io.BytesIO(self.content), self.encoding, newline="")

    def fault(self, what: str) -> UserError:
        return UserError(f"{self.path}: {what}")


def read(path: Path) -> Table:
    """The table of a file; the same file always gives the same table.

    Raises UserError for a file that is missing, empty or damaged, has another format, has a header
    alone, columns without a name or with the same one, or rows of different lengths.
    """
    suffix = _suffix(path)
    if not path.is_file():
        raise UserError(f"{path} is {'a folder' if path.is_dir() else 'missing'}; expected a file")
    if not path.stat().st_size:
        raise UserError(f"{path} is empty; expected a line of column names, and rows below it")
    frame, notes = _parquet(path) if suffix == ".parquet" else _text(path)
    if frame.empty:
        raise UserError(f"{path} has column names but no rows; is it the right file?")
    return Table(frame, tuple(notes))


def _suffix(path: Path) -> str:
    name = path.name.lower()
    for suffix in FORMATS:
        if name.endswith(suffix):
            return suffix
    if name.endswith(SPREADSHEETS):
        raise UserError(f"{path} is a spreadsheet; save it as CSV (UTF-8) and give that file")
    raise UserError(f"{path} has an unknown format; expected a file named *{', *'.join(FORMATS)}")


def _check_names(path: Path, names: Sequence[str]) -> None:
    for place, name in enumerate(names, start=1):
        if not name:
            raise UserError(
                f"{path}: column {place} of {len(names)} has no name; give it one, or remove it "
                "(pandas writes such a column unless told `index=False`; a delimiter at the end "
                "of each line makes one, too)"
            )
    for name, times in Counter(names).items():
        if times > 1:
            places = [str(place) for place, other in enumerate(names, start=1) if other == name]
            raise UserError(
                f"{path}: {times} columns are named {shown_value(name)} (columns "
                f"{', '.join(places)}); give each a name of its own"
            )


def _stripped(names: Sequence[Any]) -> tuple[list[str], list[str]]:
    """Names without blanks at their ends, and a note if there were any."""
    stripped = [str(name).strip() for name in names]
    changed = [name for name, old in zip(stripped, names, strict=True) if name != str(old)]
    if not changed:
        return stripped, []
    shown = ", ".join(map(shown_value, changed[:3])) + (", ..." if len(changed) > 3 else "")
    return stripped, [f"blanks at the ends of {len(changed)} column names removed ({shown})"]


# Text


def _text(path: Path) -> tuple[pd.DataFrame, list[str]]:
    text, notes = _decoded(path, _content(path))
    header, delimiter = _delimiter(text)
    names, renamed = _stripped(header)
    _check_names(path, names)
    blank = _check_records(text, delimiter, len(names))
    frame, commas = _cells(text, delimiter, names)
    if delimiter != ",":
        notes.append(f"read with {DELIMITERS[delimiter]}" + " and decimal commas" * commas)
    if blank:
        notes.append(f"{blank:,} blank lines between the rows left out")
    return frame, [*notes, *renamed]


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    if not path.name.lower().endswith(".gz"):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(
            f"{path} is not a whole gzip file ({error}); download or compress it again, or rename "
            "it if it is not compressed"
        ) from error


def _decoded(path: Path, content: bytes) -> tuple[_Text, list[str]]:
    """The file as text: UTF-8, UTF-16 with its mark, or else Windows-1252, which is told."""
    notes = []
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        notes.append("read as UTF-16")
        try:
            content = content.decode("utf-16").encode()
        except UnicodeDecodeError as error:
            raise UserError(f"{path} is not whole UTF-16 text; save it as CSV (UTF-8)") from error
    if found := BINARY.search(content):
        raise UserError(
            f"{path} is not text: byte {found.start() + 1} is {content[found.start()]:#04x}; "
            "expected a table as text (CSV, UTF-8). Save a spreadsheet as CSV; name compressed "
            "files *.gz and Parquet files *.parquet"
        )
    if not content.strip(b"\xef\xbb\xbf \t\r\n"):
        raise UserError(f"{path} is empty; expected a line of column names, and rows below it")
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        encoding = _one_byte(content)
        line = content.count(b"\n", 0, error.start) + 1
        notes.append(f"read as {encoding}, since line {line} is not UTF-8")
        return _Text(path, content, encoding), notes
    return _Text(path, content, "utf-8-sig"), notes


def _one_byte(content: bytes) -> str:
    """Windows-1252, or Latin-1 where a byte means nothing in it."""
    try:
        content.decode("windows-1252")
    except UnicodeDecodeError:
        return "Latin-1"
    return "Windows-1252"


def _delimiter(text: _Text) -> tuple[list[str], str]:
    """The header's cells, and the delimiter that divides the first rows as it divides the header.

    Only delimiters that are in the header come into question; without any there is one column.
    """
    samples = {delimiter: _sample(text, delimiter) for delimiter in DELIMITERS}
    dividing = [delimiter for delimiter in DELIMITERS if len(samples[delimiter][0]) > 1]

    def fit(delimiter: str) -> tuple[float, int]:
        header, *rows = samples[delimiter]
        agreeing = sum(len(row) == len(header) for row in rows)
        return agreeing / max(len(rows), 1), len(header)

    best = max(dividing or [","], key=fit)
    return samples[best][0], best


def _sample(text: _Text, delimiter: str) -> list[list[str]]:
    """The header and the first rows as this delimiter divides them."""
    sample: list[list[str]] = []
    with text.lines() as lines, suppress(csv.Error):  # `_records` tells it, with its line
        records = csv.reader(lines, delimiter=delimiter)
        sample.extend(islice(filter(_is_filled, records), SAMPLE))
    return sample or [[]]


def _is_filled(record: Sequence[str]) -> bool:
    """Whether a record is more than a blank line, which pandas leaves out, too."""
    return len(record) > 1 or (len(record) == 1 and bool(record[0].strip()))


def _check_records(text: _Text, delimiter: str, width: int) -> int:
    """Checks that all records have as many cells as the header; the number of blank lines."""
    row = blank = blank_since = 0  # the header is row 0
    for line, record in _records(text, delimiter):
        if not _is_filled(record):
            blank_since += 1
        elif len(record) != width:
            sign = DELIMITERS[delimiter]
            raise text.fault(
                f"row {row} (line {line}) has {len(record)} cells, but the header has {width}, "
                f"divided by {sign}; mend that line, or put cells that hold {sign} in quotation "
                "marks"
            )
        else:
            row, blank, blank_since = row + 1, blank + blank_since, 0
    return blank


def _records(text: _Text, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Each record, and the line in which it starts."""
    line = 1
    with text.lines() as lines:
        # Strict: a quotation mark that is not closed must not swallow the rest of the file.
        records = csv.reader(lines, delimiter=delimiter, strict=True)
        try:
            for record in records:
                yield line, record
                line = records.line_num + 1
        except csv.Error as error:
            raise text.fault(
                f"the record that starts in line {line} cannot be read ({error}); is a quotation "
                "mark not closed? Within quoted cells, write quotation marks twice"
            ) from error


def _cells(text: _Text, delimiter: str, names: Sequence[str]) -> tuple[pd.DataFrame, bool]:
    """All cells, and whether numbers have decimal commas.

    Where most cells of a column have them, its other cells stay text, and `inference` tells them.
    Raises UserError if another column has dots, or if all numbers are such as 1,234: each could be
    either of two numbers.
    """
    frame = _parsed(text, delimiter, names, decimal=".")
    if delimiter == ",":
        return frame, False
    other = _parsed(text, delimiter, names, decimal=",")
    changed = [name for name in names if _is_text(frame[name]) and not _is_text(other[name])]
    partly = [name for name in names if _is_text(other[name]) and _has_commas(other[name])]
    if not changed + partly:
        return frame, False
    if all(_may_be_thousands(frame[name]) for name in changed + partly):
        raise _two_meanings(text, frame[(changed + partly)[0]])
    for name in names:
        if _is_text(other[name]) and not _is_text(frame[name]):
            raise _two_signs(text, other[name], (changed + partly)[0])
    for name in partly:
        other[name] = _without_commas(other[name])
    return other, True


def _parsed(text: _Text, delimiter: str, names: Sequence[str], decimal: str) -> pd.DataFrame:
    """All cells, each column with the type that all of its cells have."""
    try:
        frame: pd.DataFrame = pd.read_csv(
            io.BytesIO(text.content),
            sep=delimiter,
            decimal=decimal,
            encoding=text.encoding,
            header=0,
            index_col=False,
            keep_default_na=False,  # words for missing values are told; see `inference`
            na_values=[""],
            low_memory=False,  # types by chunk would depend on where a chunk ends
        )
    except ValueError as error:  # pandas' ParserError is one
        raise text.fault(f"cannot be read: {error}; check its quotation marks") from error
    frame.columns = pd.Index(names)
    return frame


def _is_text(column: "pd.Series[Any]") -> bool:
    return isinstance(column.dtype, pd.StringDtype)


def _has_commas(column: "pd.Series[Any]") -> bool:
    """Whether a column of text has numbers with decimal commas, and little else but numbers."""
    cells = column.dropna()
    return bool(
        cells.str.contains(",", regex=False).any()
        and cells.str.fullmatch(f"(?:{DECIMAL_COMMA})").any()
        and cells.str.fullmatch(f"(?:{EITHER})").mean() > 0.5
    )


def _without_commas(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Decimal commas as points, without dots between thousands; float64 if all are numbers."""
    numbers = column.str.fullmatch(f"(?:{EITHER})", na=False)
    plain = column.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
    mended = plain.where(numbers, column)
    return mended.astype(np.float64) if (numbers | column.isna()).all() else mended


def _may_be_thousands(column: "pd.Series[Any]") -> bool:
    """Whether each cell with a comma can be a whole number above a thousand."""
    cells = column.dropna()
    cells = cells[cells.str.contains(",", regex=False)]
    return bool(cells.str.fullmatch(THOUSANDS).all())


def _two_meanings(text: _Text, column: "pd.Series[Any]") -> UserError:
    row = int(column.str.contains(",", regex=False, na=False).to_numpy().argmax())
    return text.fault(
        f"column {shown_value(column.name)} has {column.iloc[row]!r} in row {row + 1}: the comma "
        "can be a decimal comma or part thousands; write all numbers with decimal points, and "
        "without a sign between thousands"
    )


def _two_signs(text: _Text, dotted: "pd.Series[Any]", with_commas: str) -> UserError:
    row = int(dotted.str.contains(".", regex=False, na=False).to_numpy().argmax())
    return text.fault(
        f"column {shown_value(dotted.name)} has {dotted.iloc[row]!r} in row {row + 1}, but column "
        f"{shown_value(with_commas)} has decimal commas: the dot can be a decimal point or part "
        "thousands; write all numbers with decimal points"
    )


# Parquet


def _parquet(path: Path) -> tuple[pd.DataFrame, list[str]]:
    import pyarrow as pa  # here: most tables are text
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            names, renamed = _stripped(file.schema_arrow.names)
            _check_names(path, names)
            table = file.read()
        schema = pa.schema([field.with_type(_plain_type(path, field)) for field in table.schema])
        # Without pandas' metadata, so that what was an index is a column.
        frame = table.cast(schema).to_pandas(ignore_metadata=True)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} is not a whole Parquet file: {error}") from error
    frame.columns = pd.Index(names)
    return frame, renamed


def _plain_type(path: Path, field: Any) -> Any:
    """The type to which a column's cells are cast: one value each, of a type that `columns` reads.

    Raises UserError for lists, bytes and the like.
    """
    import pyarrow as pa

    of, kind = pa.types, field.type
    if of.is_dictionary(kind):
        kind = kind.value_type
    if of.is_decimal(kind):
        return pa.float64()
    single = (
        *(of.is_integer, of.is_floating, of.is_boolean, of.is_null),
        *(of.is_string, of.is_large_string, of.is_string_view, of.is_date, of.is_timestamp),
    )
    if not any(test(kind) for test in single):
        raise UserError(
            f"{path}: column {shown_value(field.name)} holds values of type {kind}; expected "
            "numbers, text, dates or truth values: convert the column, or remove it"
        )
    return kind
