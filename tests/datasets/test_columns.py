"""Columns of a table as numbers, categories and dates: a value depends on its cell alone."""

import ast
import doctest
import io
import re
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.datasets import columns
from pipeline.datasets.columns import (
    LARGEST,
    MISSING,
    MISSING_WORDS,
    Roles,
    date_values,
    inputs,
    number_values,
    smooth_clip,
    text_values,
    typed,
)

ROLES = Roles(numbers=("age",), categories=("colour",), dates=("day",))
FRAME = pd.DataFrame(
    {
        "note": ["ignored", "as", "well"],
        "day": ["1970-01-02", None, "31.12.1969"],
        "colour": ["red ", "?", "7.0"],
        "age": ["31", "n/a", " 4.5"],
    }
)


def read(text: str) -> pd.DataFrame:
    """A CSV file as whoever calls a served model reads it."""
    return pd.read_csv(io.StringIO(text))


def texts(*cells: Any) -> list[str]:
    return list(text_values(pd.Series(cells, dtype=object)))


def test_examples_of_the_documentation_run() -> None:
    assert doctest.testmod(columns).failed == 0


def test_the_file_stands_alone() -> None:
    tree = ast.parse(Path(columns.__file__).read_text("utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {
        alias.name if isinstance(node, ast.Import) else str(node.module)
        for node in imports
        for alias in node.names
    }
    assert names - {"numpy", "numpy.typing", "pandas"} == {
        *("collections.abc", "dataclasses", "datetime", "re", "typing")
    }


def test_columns_come_in_the_order_of_their_roles_and_others_are_ignored() -> None:
    result = typed(FRAME, ROLES)
    assert list(result) == ["age", "day", "colour"] == list(ROLES.all)
    assert [str(dtype) for dtype in result.dtypes] == ["float64", "float64", "object"]
    np.testing.assert_array_equal(result["age"], [31, np.nan, 4.5])
    np.testing.assert_array_equal(result["day"], [1, np.nan, -1])
    assert list(result["colour"]) == ["red", MISSING, "7"]


@pytest.mark.parametrize("dtype", ["float64", "Int64", "Float64", object, "category"])
def test_whole_numbers_with_missing_values_are_numbers(dtype: str) -> None:
    column = pd.Series([3, None, 5], dtype=dtype)
    result = typed(pd.DataFrame({"age": column}), Roles(numbers=("age",)))
    np.testing.assert_array_equal(result["age"], [3, np.nan, 5])


@pytest.mark.parametrize("word", sorted({*MISSING_WORDS, "NA", "None", " N/A ", "Missing"}))
def test_usual_words_for_missing_values_are_missing_in_every_role(word: str) -> None:
    frame = pd.DataFrame({name: [word] for name in ROLES.all})
    result = typed(frame, ROLES).iloc[0]
    assert np.isnan(result["age"])
    assert np.isnan(result["day"])
    assert result["colour"] == MISSING


@pytest.mark.parametrize(
    "column",
    [["1", "2"], ["1", "2", ""], ["1", "2", "x"], ["1.0", "2"], ["01", "2"], ["+1", "2e0"]],
)
def test_categories_do_not_depend_on_how_pandas_reads_the_column(column: list[str]) -> None:
    """As int, as float because one is missing, as text because one is text, and so on."""
    frame = read("\n".join(["code,other", *(f"{cell},0" for cell in column)]))
    result = typed(frame, Roles(categories=("code",)))
    assert list(result["code"][:2]) == ["1", "2"]


@pytest.mark.parametrize("rest", ["", "\n,0", "\nmaybe,0"])
@pytest.mark.parametrize("word", ["True", "true", "TRUE"])
def test_truth_values_are_one_category_however_they_are_read(word: str, rest: str) -> None:
    frame = read(f"smoker,other\n{word},0{rest}")
    assert typed(frame, Roles(categories=("smoker",)))["smoker"].iloc[0] == "True"
    assert texts(True, "True", np.True_, 1) == ["True", "True", "True", "1"]


@given(st.lists(st.one_of(st.integers(-(10**12), 10**12), st.floats(), st.none()), min_size=1))
def test_a_cell_is_the_same_alone_and_among_others(cells: list[float | None]) -> None:
    whole = pd.Series(cells, dtype="float64")
    alone = [text_values(whole.iloc[[row]])[0] for row in range(len(whole))]
    assert list(text_values(whole)) == alone == texts(*whole) == texts(*map(str, whole))
    expected, _ = number_values(whole)
    np.testing.assert_array_equal(number_values(pd.Series(alone, dtype=object))[0], expected)


@pytest.mark.parametrize(
    ("cell", "days"),
    [
        ("1970-01-02", 1),
        ("1970-1-2", 1),
        ("1970/01/02", 1),
        ("02.01.1970", 1),
        ("1970-02", 31),
        ("1970-01-02T12:00", 1.5),
        ("1970-01-02 06:00:00.0", 1.25),
        ("1970-01-02T00:00:00Z", 1),
        ("1970-01-02 02:00+02:00", 1),
        ("1970-01-01 18:00:00-0600", 1),
        ("0001-01-01", -719162),
        (date(1970, 1, 2), 1),
        (pd.Timestamp("1970-01-02 12:00"), 1.5),
    ],
)
def test_dates_are_days(cell: object, days: float) -> None:
    values, wrong = date_values(pd.Series([cell, None], dtype=object))
    np.testing.assert_array_equal(values, [days, np.nan])
    assert not wrong.any()


def test_dates_of_parquet_files_are_days() -> None:
    moments = pd.Series(pd.to_datetime(["1970-01-02 12:00", "NaT"]))
    for column in (moments, moments.dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")):
        np.testing.assert_array_equal(date_values(column)[0], [1.5, np.nan])


@pytest.mark.parametrize(
    "cell", ["01/02/2023", "2023-02-30", "2023", "20230105", "2023.01", "soon", "2023-01-05 25:00"]
)
def test_what_is_no_date_or_can_be_two_is_refused(cell: str) -> None:
    frame = pd.DataFrame({"day": ["2023-01-05", cell]})
    message = f"column 'day' must have a date such as 2023-01-31, but row 2 has {cell!r}"
    with pytest.raises(ValueError, match=re.escape(message)):
        typed(frame, Roles(dates=("day",)))


def test_text_among_numbers_is_told_with_up_to_three_rows() -> None:
    frame = pd.DataFrame({"age": ["31", "old", "n/a", "--", "5 kg", "1_000"]}, index=[9] * 6)
    with pytest.raises(ValueError, match="must have a number") as caught:
        typed(frame, Roles(numbers=("age",)))
    assert str(caught.value) == (
        "column 'age' must have a number, but row 2 has 'old', row 4 has '--', row 5 has '5 kg', "
        "and 1 more"
    )


def test_long_values_are_shortened_in_messages() -> None:
    with pytest.raises(ValueError, match=r"row 1 has 'x+\.\.\.'$") as caught:
        typed(pd.DataFrame({"age": ["x" * 10_000]}), Roles(numbers=("age",)))
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("cell", [np.inf, -np.inf, "inf", "-Infinity", "1e400", 2 * LARGEST])
def test_infinite_numbers_are_refused(cell: object) -> None:
    frame = pd.DataFrame({"age": pd.Series([1, cell], dtype=object)})
    with pytest.raises(ValueError, match=r"column 'age' must have finite numbers.* but row 2 has"):
        typed(frame, Roles(numbers=("age",)))


def test_all_absent_columns_are_told() -> None:
    with pytest.raises(ValueError, match="must have the columns") as caught:
        typed(FRAME[["colour"]], ROLES)
    assert str(caught.value) == (
        "the table must have the columns 'age', 'day', 'colour', but has no 'age', 'day'"
    )


def test_blanks_around_the_names_of_columns_do_not_matter() -> None:
    assert typed(FRAME.rename(columns={"age": " age "}), ROLES).equals(typed(FRAME, ROLES))
    twice = pd.DataFrame([[1, 2]], columns=[" age", "age "])
    with pytest.raises(ValueError, match="several columns 'age'"):
        typed(twice, Roles(numbers=("age",)))


def test_a_table_without_rows_stays_one() -> None:
    assert typed(FRAME.iloc[:0], ROLES).shape == (0, 3)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_smooth_clip_is_bounded_and_keeps_the_sign(z: float) -> None:
    clipped = float(smooth_clip(np.array([z]))[0])
    assert abs(clipped) <= min(abs(z), 3.0000001)
    assert clipped * z >= 0
    if abs(z) < 1e6:
        assert clipped == pytest.approx(z / np.sqrt(1 + (z / 3) ** 2))


def test_inputs_clips_scaled_numbers_alone_and_fills_with_zeros() -> None:
    outputs = np.array([[1e300, 1e200], [-4.0, 4.0]])
    np.testing.assert_allclose(
        inputs(outputs[1:], scaled=1, robust=True, width=4), [[-2.4, 4, 0, 0]], rtol=1e-6
    )
    assert np.isfinite(inputs(outputs, scaled=2, robust=False)).all()
    with pytest.raises(ValueError, match=r"`width` must be at least 2.* but got 1"):
        inputs(outputs, scaled=1, robust=True, width=1)
