"""Tables as spreadsheets and colleagues hand them over: read rightly, or refused with a remedy."""

import csv
import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from pipeline.datasets.tables import FORMATS, TEXTS, Table, read
from pipeline.errors import UserError

PLAIN = "size,weight,colour,kind\n1.5,10,red,A\n2.25,,blue,B\n-3.0,30,red,A\n"
EXPECTED = pd.DataFrame(
    {
        "size": [1.5, 2.25, -3.0],
        "weight": [10, np.nan, 30],
        "colour": ["red", "blue", "red"],
        "kind": ["A", "B", "A"],
    }
)


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Table]:
    """Reads a file with this content."""

    def write_and_read(content: str | bytes, name: str = "data.csv") -> Table:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read(path)

    return write_and_read


@pytest.fixture
def refusal(table: Callable[..., Table], tmp_path: Path) -> Callable[..., str]:
    """The message for a file with this content, with its folder left out."""

    def refuse(content: str | bytes, name: str = "data.csv") -> str:
        with pytest.raises(UserError) as caught:
            table(content, name)
        return str(caught.value).replace(f"{tmp_path}/", "")

    return refuse


def european(text: str) -> str:
    return text.replace(",", ";").replace(".", ",")


@pytest.mark.parametrize(
    ("content", "notes"),
    [
        (PLAIN, ()),
        (PLAIN.rstrip("\n"), ()),
        (PLAIN.replace("\n", "\r\n"), ()),
        (PLAIN.replace("\n", "\r"), ()),
        (PLAIN + "\n\n", ()),
        ("\ufeff" + PLAIN.replace("\n", "\r\n"), ()),
        (PLAIN.replace(",", ";"), ("read with semicolons",)),
        (PLAIN.replace(",", "|"), ("read with vertical bars",)),
        (PLAIN.replace(",", "\t"), ("read with tabs",)),
        (european(PLAIN), ("read with semicolons and decimal commas",)),
        (
            european(PLAIN).replace(";", "\t"),
            ("read with tabs and decimal commas",),
        ),
        (PLAIN.encode("utf-16"), ("read as UTF-16",)),
        (PLAIN.replace("\n2", "\n\n  \n2"), ("2 blank lines between the rows left out",)),
        (
            PLAIN.replace("size,weight", " size ,weight "),
            ("blanks at the ends of 2 column names removed ('size', 'weight')",),
        ),
    ],
)
def test_the_same_table_in_every_form(
    table: Callable[..., Table], content: str | bytes, notes: tuple[str, ...]
) -> None:
    result = table(content)
    pd.testing.assert_frame_equal(result.frame, EXPECTED)
    assert result.notes == notes


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_gives_the_same_table(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"my.DATA{suffix.upper()}"
    if suffix == ".parquet":
        EXPECTED.to_parquet(path)
    else:
        EXPECTED.to_csv(path, index=False, compression="gzip" if ".gz" in suffix else None)
    assert set(FORMATS) == {*TEXTS, ".parquet"}
    pd.testing.assert_frame_equal(read(path).frame, EXPECTED)


def test_quoted_cells_may_hold_delimiters_quotes_and_line_breaks(
    table: Callable[..., Table],
) -> None:
    result = table('"a,b",note\n1,"one\ntwo, ""three"""\n2,"5"" wide"\n3,5" wide\n')
    assert list(result.frame) == ["a,b", "note"]
    assert list(result.frame["note"]) == ['one\ntwo, "three"', '5" wide', '5" wide']


def test_names_of_columns_may_be_odd(table: Callable[..., Table]) -> None:
    names = ["naïve", "x y", "class", "1", "a;b", "n" * 300]
    result = table(",".join(names) + "\n1,2,3,4,5,6\n")
    assert list(result.frame) == names


@pytest.mark.parametrize(
    ("name", "encoding"), [("größe", "cp1252"), ("naïve\x85", "cp1252"), ("naïve\x81", "latin-1")]
)
def test_other_encodings_than_utf_8_are_read_and_told(
    table: Callable[..., Table], name: str, encoding: str
) -> None:
    content = f"a,colour\n1,{name}\n".encode("latin-1")
    result = table(content)
    assert list(result.frame["colour"]) == [content.decode(encoding).split(",")[-1].strip()]
    told = {"cp1252": "Windows-1252", "latin-1": "Latin-1"}[encoding]
    assert result.notes == (f"read as {told}, since line 2 is not UTF-8",)


def test_decimal_commas_leave_other_columns_alone(table: Callable[..., Table]) -> None:
    """Dates with dots, texts with commas, and dots between thousands beside a decimal comma."""
    result = table(
        "price;day;note;total;score\n"
        '1,5;01.02.2023;"first, and best";1.234,50;2,5\n'
        "0,25;03.02.2023;other;7,0;n/a\n"
        ";04.02.2023;more, or less;1.000.000;--\n"
        "3;05.02.2023;none;12;1,5\n"
        "4;06.02.2023;none;0,5;3\n"
    )
    frame = result.frame
    np.testing.assert_array_equal(frame["price"], [1.5, 0.25, np.nan, 3, 4])
    np.testing.assert_array_equal(frame["total"], [1234.5, 7, 1e6, 12, 0.5])
    assert list(frame["score"]) == ["2.5", "n/a", "--", "1.5", "3"]  # its text is told later
    assert list(frame["day"])[:1] == ["01.02.2023"]
    assert list(frame["note"])[:1] == ["first, and best"]


def test_words_for_missing_values_stay_for_inference_to_tell(table: Callable[..., Table]) -> None:
    result = table("a,b\n1,NA\nn/a,2\n,?\n")
    assert result.frame["a"].tolist()[:2] == ["1", "n/a"]
    assert result.frame["b"].tolist() == ["NA", "2", "?"]
    assert result.frame["a"].isna().tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "data.csv is empty; expected a line of column names, and rows below it"),
        ("\ufeff \r\n\n", "data.csv is empty; expected a line of column names, and rows below it"),
        ("a,b\n", "data.csv has column names but no rows; is it the right file?"),
        (
            "a,b,a \n1,2,3\n",
            "data.csv: 2 columns are named 'a' (columns 1, 3); give each a name of its own",
        ),
        (
            ",a,b\n0,1,2\n",
            "data.csv: column 1 of 3 has no name; give it one, or remove it (pandas writes such a "
            "column unless told `index=False`; a delimiter at the end of each line makes one, too)",
        ),
        (
            'a,b\n"x\ny",2\n\n1,2,3\n',
            "data.csv: row 2 (line 5) has 3 cells, but the header has 2, divided by commas; mend "
            "that line, or put cells that hold commas in quotation marks",
        ),
        (
            "a;b;c\n1;2;3\n1;2\n",
            "data.csv: row 2 (line 3) has 2 cells, but the header has 3, divided by semicolons; "
            "mend that line, or put cells that hold semicolons in quotation marks",
        ),
        (
            'a,b\n1,2\n"3,4\n5,6\n',
            "data.csv: the record that starts in line 3 cannot be read (unexpected end of data); "
            "is a quotation mark not closed? Within quoted cells, write quotation marks twice",
        ),
        (
            'a,b\n1,2\n"3" x,4\n',
            "data.csv: the record that starts in line 3 cannot be read (',' expected after '\"'); "
            "is a quotation mark not closed? Within quoted cells, write quotation marks twice",
        ),
        (
            "price;people\n1,5;7\n2,25;1.234\n",
            "data.csv: column 'people' has '1.234' in row 2, but column 'price' has decimal "
            "commas: the dot can be a decimal point or part thousands; write all numbers with "
            "decimal points",
        ),
        (
            "name\tpeople\nx\t7\ny\t1,234\n",
            "data.csv: column 'people' has '1,234' in row 2: the comma can be a decimal comma or "
            "part thousands; write all numbers with decimal points, and without a sign between "
            "thousands",
        ),
        (
            b"a,b\n1,\x00\n",
            "data.csv is not text: byte 7 is 0x00; expected a table as text (CSV, UTF-8). Save a "
            "spreadsheet as CSV; name compressed files *.gz and Parquet files *.parquet",
        ),
        (
            b"\xff\xfea",
            "data.csv is not whole UTF-16 text; save it as CSV (UTF-8)",
        ),
    ],
)
def test_what_cannot_be_read_rightly_is_refused_with_a_remedy(
    refusal: Callable[..., str], content: str | bytes, message: str
) -> None:
    assert refusal(content) == message


@pytest.mark.parametrize("name", ["data.csv", "data.csv.gz", "data.parquet", "data.tsv"])
def test_garbage_is_refused(refusal: Callable[..., str], name: str) -> None:
    garbage = np.random.default_rng(0).bytes(10_000)
    assert refusal(garbage, name).startswith(f"{name} is not")
    assert refusal(b"", name).startswith(f"{name} is empty")


def test_a_gzip_file_that_is_cut_off_is_refused(refusal: Callable[..., str]) -> None:
    whole = gzip.compress(PLAIN.encode())
    assert refusal(whole[:-9], "data.csv.gz").startswith("data.csv.gz is not a whole gzip file (")
    assert refusal(PLAIN, "data.csv.gz").startswith("data.csv.gz is not a whole gzip file (")
    assert refusal(whole).startswith("data.csv is not text: byte 1 is 0x1f")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("data.xlsx", "is a spreadsheet; save it as CSV (UTF-8) and give that file"),
        (
            "data.json",
            "has an unknown format; expected a file named *.csv, *.tsv, *.csv.gz, *.tsv.gz, "
            "*.parquet",
        ),
        ("absent.csv", "is missing; expected a file"),
        ("folder.csv", "is a folder; expected a file"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UserError) as caught:
        read(tmp_path / name)
    assert str(caught.value) == f"{tmp_path / name} {message}"


def parquet_file(path: Path, **columns: Any) -> Path:
    parquet.write_table(pa.table(columns), path)
    return path


def test_parquet_columns_become_plain_columns(tmp_path: Path) -> None:
    from decimal import Decimal

    path = parquet_file(
        tmp_path / "data.parquet",
        price=pa.array([Decimal("1.50"), None]),
        colour=pa.array(["red", None]).dictionary_encode(),
        count=pa.array([1, None]),
        day=pa.array([pd.Timestamp("2023-01-05"), None], pa.timestamp("ns", "UTC")),
    )
    frame = read(path).frame
    np.testing.assert_array_equal(frame["price"], [1.5, np.nan])
    assert isinstance(frame["colour"].dtype, pd.StringDtype)
    assert frame["count"].dtype == np.float64
    assert frame["day"].iloc[0] == pd.Timestamp("2023-01-05", tz="UTC")


def test_the_index_of_a_parquet_file_is_a_column(tmp_path: Path) -> None:
    path = tmp_path / "data.parquet"
    EXPECTED.set_index("kind").to_parquet(path)
    frame = read(path).frame
    assert set(frame) == set(EXPECTED)
    assert list(frame.index) == [0, 1, 2]


def test_parquet_columns_that_are_no_single_values_are_refused(tmp_path: Path) -> None:
    path = parquet_file(tmp_path / "data.parquet", a=[1, 2], b=[[1], [2, 3]])
    with pytest.raises(UserError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: column 'b' holds values of type list<")
    twice = tmp_path / "twice.parquet"
    parquet.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"]), twice)
    with pytest.raises(UserError, match="2 columns are named 'a'"):
        read(twice)


CELLS = st.text(
    st.one_of(st.sampled_from('a1,;|\t."\n\r -'), st.characters(categories=["L", "N"])), max_size=6
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_written_cells_are_read_back(tmp_path: Path, data: st.DataObject) -> None:
    """Whatever Python's csv writes with commas, cells that look like numbers aside, comes back."""
    width = data.draw(st.integers(2, 4))
    rows = data.draw(st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1))
    buffer = io.StringIO()
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL)
    header = [f"column {place}, x" for place in range(width)]
    # A word in each column keeps all of its cells text.
    writer.writerows([header, ["word"] * width, *rows])
    path = tmp_path / "data.csv"
    path.write_bytes(buffer.getvalue().encode())
    frame = read(path).frame
    assert frame.columns.tolist() == header
    assert frame.iloc[1:].fillna("").to_numpy().tolist() == rows


def test_the_same_file_always_reads_the_same(table: Callable[..., Table]) -> None:
    """Types are those of whole columns, not of the chunks in which pandas reads."""
    content = "a,b\n" + "1,x\n" * 200_000 + "1.5,y\nz,y\n"
    first = table(content).frame
    assert {type(cell) for cell in first["a"]} == {str}
    pd.testing.assert_frame_equal(table(content).frame, first)
