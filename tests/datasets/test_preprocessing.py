"""Inputs of models: fitted on the training rows of a split alone, finite, of the same width."""

import doctest
import pickle
import pickletools
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from pipeline.datasets import columns, preprocessing
from pipeline.datasets.columns import MISSING, Roles, inputs, typed
from pipeline.datasets.inference import infer, target_values
from pipeline.datasets.preprocessing import Scaling, fit, names, padded, transform
from pipeline.datasets.tables import read
from pipeline.errors import UserError

ROWS = 200
ROLES = Roles(numbers=("age", "gaps"), categories=("colour", "town"), dates=("day",))
SCALINGS: tuple[Scaling, ...] = ("robust", "standard")
both = pytest.mark.parametrize("scaling", SCALINGS)


def frame(seed: int = 0) -> pd.DataFrame:
    """Typed columns of every role, with missing values among `gaps` and `colour`."""
    rng = np.random.default_rng(seed)
    gaps = np.where(rng.random(ROWS) < 0.3, np.nan, rng.lognormal(size=ROWS))
    raw = {
        "age": rng.integers(20, 80, ROWS),
        "gaps": gaps,
        "colour": rng.choice(np.array(["red", "blue", None], object), ROWS),
        "town": [f"town {number}" for number in rng.zipf(1.5, ROWS) % 60],
        "day": rng.choice(["2023-01-05", "2022-12-31", "2020-06-15"], ROWS),
    }
    return typed(pd.DataFrame(raw), ROLES)


def fitted(train: pd.DataFrame, scaling: Scaling) -> Any:
    return fit(train, ROLES, scaling, missing=("gaps",))


def one_column(values: Sequence[float], scaling: Scaling, new: Sequence[float]) -> list[float]:
    """A number's inputs on new rows, after a fit on these values."""
    roles = Roles(numbers=("x",))
    transformer = fit(pd.DataFrame({"x": values}, dtype=float), roles, scaling)
    result = transform(transformer, pd.DataFrame({"x": new}, dtype=float), roles, scaling)
    return [round(float(value), 4) for value in result[:, 0]]


def test_examples_of_the_documentation_run() -> None:
    assert doctest.testmod(preprocessing).failed == 0


@both
def test_inputs_are_finite_float32_and_each_has_a_name(scaling: Scaling) -> None:
    transformer = fitted(frame(), scaling)
    x = transform(transformer, frame(1), ROLES, scaling)
    assert x.dtype == np.float32
    assert x.shape == (ROWS, len(names(transformer)))
    assert np.isfinite(x).all()
    assert names(transformer)[:7] == (
        *("age", "gaps", "day", "gaps is missing", f"colour = {MISSING}", "colour = blue"),
        "colour = red",
    )


def test_robust_scaling_is_by_quartiles_with_smooth_clipping() -> None:
    def clipped(z: float) -> float:
        return round(float(z / np.sqrt(1 + (z / 3) ** 2)), 4)

    assert one_column([0, 1, 2, 3, 4], "robust", [2, 3, 0, 1e12, -1e12]) == [
        *(0, clipped(0.5), clipped(-1), 3, -3)
    ]
    # Equal quartiles: half the range. A constant: its own unit.
    assert one_column([0] * 9 + [8], "robust", [0, 4, 8]) == [0, clipped(1), clipped(2)]
    assert one_column([7] * 9, "robust", [7, 8]) == [0, clipped(1)]
    # Small units are no constants, rounding is.
    assert one_column([0, 1e-20, 2e-20], "robust", [2e-20]) == [clipped(1)]
    assert one_column([0.3] * 5 + [0.1 + 0.2] * 5, "robust", [1.3]) == [clipped(1)]


def test_standard_scaling_is_by_mean_and_standard_deviation() -> None:
    assert one_column([0, 2] * 5, "standard", [1, 2, 1001]) == [0, 1, 1000]
    assert one_column([7] * 9, "standard", [7, 8]) == [0, 1]


@both
def test_missing_numbers_become_the_median_and_have_a_flag(scaling: Scaling) -> None:
    roles = Roles(numbers=("x", "y"))
    train = pd.DataFrame({"x": [0.0, 1, 2, 3, 100, np.nan], "y": 1.0})
    transformer = fit(train, roles, scaling, missing=("x",))
    new = pd.DataFrame({"x": [np.nan, 2.0, 5], "y": [1.0, np.nan, 1]})
    x = transform(transformer, new, roles, scaling)
    assert names(transformer) == ("x", "y", "x is missing")
    assert x[:, 2].tolist() == [1, 0, 0]
    assert x[0, 0] == x[1, 0]  # 2 is the median
    assert x[1, 1] == x[0, 1]


@both
def test_the_flags_do_not_depend_on_which_rows_train(scaling: Scaling) -> None:
    whole = frame()
    complete = whole[whole["gaps"].notna()]
    assert "gaps is missing" in names(fitted(complete, scaling))
    empty = fitted(whole[whole["gaps"].isna()], scaling)
    x = transform(empty, whole, ROLES, scaling)
    assert not x[:, names(empty).index("gaps")].any()  # nothing is known of its scale
    assert np.isfinite(x).all()


@both
def test_thirty_categories_have_an_input_each_and_the_rest_have_one(scaling: Scaling) -> None:
    roles = Roles(categories=("town",))
    towns = [f"town {number:02}" for number in range(40) for _ in range(2 + (number < 30))]
    transformer = fit(pd.DataFrame({"town": towns}, dtype=object), roles, scaling)
    assert names(transformer) == (
        *(f"town = town {number:02}" for number in range(30)),
        "town = (other)",
    )
    new = pd.DataFrame({"town": ["town 35", "nowhere", "town 00"]}, dtype=object)
    x = transform(transformer, new, roles, scaling)
    assert [row.nonzero()[0].tolist() for row in x] == [[30], [30], [0]]


@both
def test_a_new_category_is_zeros_where_none_are_rare(scaling: Scaling) -> None:
    transformer = fitted(frame(), scaling)
    new = frame().head(1).assign(colour="violet")
    x = transform(transformer, new, ROLES, scaling)
    colours = [name.startswith("colour = ") for name in names(transformer)]
    assert not x[:, colours].any()


@both
def test_only_training_rows_decide(scaling: Scaling) -> None:
    """Outliers, new categories, shifted values and gaps in other rows change nothing."""
    whole, planted = frame(), frame()
    train = np.arange(ROWS) < 100
    rest = planted.index[~train]
    planted.loc[rest, "age"] = 1e9
    planted.loc[rest, "gaps"] += 1e6
    planted.loc[rest[:50], "gaps"] = np.nan
    planted.loc[rest, "colour"] = [f"new {row}" for row in rest]
    planted.loc[rest, "day"] = -1e7
    honest, told = (fitted(table[train], scaling) for table in (whole, planted))
    assert pickle.dumps(honest) == pickle.dumps(told)
    before, after = (transform(honest, table, ROLES, scaling) for table in (whole, planted))
    np.testing.assert_array_equal(before[train], after[train])
    assert not np.array_equal(before[~train], after[~train])


@both
def test_a_row_is_transformed_by_itself(scaling: Scaling, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the other rows nor how many are transformed at once matter."""
    transformer = fitted(frame(), scaling)
    together = transform(transformer, frame(1), ROLES, scaling)
    monkeypatch.setattr(preprocessing, "CHUNK", 7)
    np.testing.assert_array_equal(transform(transformer, frame(1), ROLES, scaling), together)
    alone = transform(transformer, frame(1).iloc[[5]], ROLES, scaling)
    np.testing.assert_array_equal(alone[0], together[5])


SERVING = """
import pickle, sys
import numpy as np, pandas as pd
import own_columns as columns
roles = columns.Roles(numbers=("age", "gaps"), categories=("colour", "town"), dates=("day",))
frame = columns.typed(pd.read_csv("raw.csv"), roles)
for scaling in ("robust", "standard"):
    with open(f"{scaling}.pkl", "rb") as file:
        outputs = pickle.load(file).transform(frame)
    x = columns.inputs(outputs, len(roles.scaled), scaling == "robust", outputs.shape[1] + 2)
    np.save(f"{scaling}.npy", x)
assert "pipeline" not in sys.modules
"""


def test_serving_repeats_it_with_the_pickle_and_the_file_of_columns(tmp_path: Path) -> None:
    """In a process that has a copy of `columns.py`, scikit-learn and pandas, and not this package.

    The CSV file is read as anybody does who calls a served model.
    """
    raw = pd.DataFrame(
        {
            "day": ["2023-01-05", "2021-01-01", ""],
            "town": ["town 1", "nowhere", "town 2"],
            "colour": ["red", "", "blue"],
            "gaps": [1.5, None, 3],
            "age": ["30", "n/a", "50"],
        }
    )
    raw.to_csv(tmp_path / "raw.csv", index=False)
    (tmp_path / "own_columns.py").write_text(Path(columns.__file__).read_text("utf-8"), "utf-8")
    expected = {}
    for scaling in SCALINGS:
        transformer = fitted(frame(), scaling)
        (tmp_path / f"{scaling}.pkl").write_bytes(pickle.dumps(transformer))
        expected[scaling] = transform(transformer, typed(raw, ROLES), ROLES, scaling)
    command = [sys.executable, "-c", SERVING]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={})
    assert done.stderr == ""
    for scaling, x in expected.items():
        served = np.load(tmp_path / f"{scaling}.npy")
        np.testing.assert_array_equal(served, np.pad(x, ((0, 0), (0, 2))))


@both
def test_the_transformer_is_pickled_as_classes_of_scikit_learn(scaling: Scaling) -> None:
    content = pickle.dumps(fitted(frame(), scaling))
    texts = [str(argument) for _, argument, _ in pickletools.genops(content)]
    rooms = {text.split(".")[0] for text in texts if re.fullmatch(r"[a-z]\w+(\.\w+)+", text)}
    assert "sklearn" in rooms
    assert rooms <= {"sklearn", "numpy", "scipy"}


def test_splits_get_the_same_width() -> None:
    blocks = [np.ones((2, 3), np.float32), np.ones((4, 5), np.float32)]
    narrow, wide = padded(blocks)
    assert (narrow.shape, wide.shape) == ((2, 5), (4, 5))
    assert narrow.dtype == np.float32
    assert narrow.sum() == 6
    np.testing.assert_array_equal(narrow, inputs(blocks[0], 0, False, width=5))


# Generated tables

Generator = np.random.Generator
TABLES: dict[str, Callable[[Generator, int], Any]] = {
    "numbers": lambda rng, n: rng.normal(size=n),
    "whole": lambda rng, n: rng.integers(-5, 100, n),
    "few": lambda rng, n: rng.integers(0, 3, n),
    "huge": lambda rng, n: rng.normal(size=n) * 1e149,
    "tiny": lambda rng, n: rng.normal(size=n) * 1e-310,
    "wide": lambda rng, n: 10.0 ** rng.uniform(-300, 149, n),
    "infinite": lambda rng, n: np.where(rng.random(n) < 0.01, np.inf, 1.5),
    "mostly zero": lambda rng, n: np.where(rng.random(n) < 0.9, 0, rng.normal(size=n)),
    "gaps": lambda rng, n: np.where(rng.random(n) < 0.5, np.nan, rng.normal(size=n)),
    "nearly empty": lambda rng, n: np.where(np.arange(n) < n - 1, np.nan, 1.5),
    "empty": lambda rng, n: np.full(n, np.nan),
    "none": lambda rng, n: [None] * n,
    "constant": lambda rng, n: np.full(n, 9.0),
    "integer with gaps": lambda rng, n: pd.array(
        [None if gap else 7 * row for row, gap in enumerate(rng.random(n) < 0.2)], "Int64"
    ),
    "truth": lambda rng, n: rng.random(n) < 0.5,
    "truth with gaps": lambda rng, n: rng.choice(np.array([True, False, None], object), n),
    "identifier": lambda rng, n: rng.permutation(n),
    "text": lambda rng, n: rng.choice(["red", "blue ", "", "NA", "größe"], n),
    "many texts": lambda rng, n: [f"v{number}" for number in rng.zipf(1.3, n) % 1000],
    "free text": lambda rng, n: [f"row {row} of it" for row in rng.permutation(n)],
    "numbers as text": lambda rng, n: rng.choice(["1.5", "2", "?", "1e3", " 7 ", "TRUE"], n),
    "text in numbers": lambda rng, n: [str(row) if row % 50 else "old" for row in range(n)],
    "either number": lambda rng, n: [f"1,{row:03}" for row in range(n)],
    "dates": lambda rng, n: pd.Series(rng.integers(0, 9_999, n)).astype("datetime64[s]"),
    "dates as text": lambda rng, n: [f"{1 + row % 28}.01.{1900 + row % 99}" for row in range(n)],
    "either date": lambda rng, n: [f"{1 + row % 12}/{1 + row % 9}/23" for row in range(n)],
    "mixed": lambda rng, n: rng.choice(np.array([1, 1.5, "x", True, None], object), n),
    "pandas categories": lambda rng, n: pd.Categorical(rng.choice([1, 2, 3], n)),
}
REFUSED = ("infinite", "text in numbers", "either number")
NAMES = ("a,b", "", "naïve", "x y", "class", "n" * 1000, "1", "--drop", "'", "\u2028é\n;\t")
TARGETS = ("text", "few", "numbers", "truth", "mostly zero")


def options(column: str) -> st.SearchStrategy[dict[str, Any]]:
    """At most one option of `infer`, about this column."""
    others = {"keep": [column], "categories": [column], "group": column, "time": column}
    alone = [{name: value} for name, value in (others | {"weight": column}).items()]
    tasks = [{"task": "classification"}, {"task": "regression"}]
    return st.sampled_from([{}, {}, {}, *tasks, *alone])


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_every_table_is_refused_or_becomes_finite_inputs(
    tmp_path: Path, data: st.DataObject
) -> None:
    """Nothing but a UserError is raised, and nothing warns, whatever the table holds."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    n = data.draw(st.one_of(st.integers(10, 200), st.sampled_from([1_000, 5_000])))
    good = st.sampled_from(sorted({*TABLES} - {*REFUSED}))
    kinds = data.draw(st.lists(good, min_size=1, max_size=5))
    kinds.append(data.draw(st.sampled_from(TARGETS) | st.sampled_from(sorted(TABLES))))
    titles = data.draw(st.permutations(NAMES))[: len(kinds)]
    table = pd.DataFrame(
        {title: TABLES[kind](rng, n) for title, kind in zip(titles, kinds, strict=True)}
    )
    try:
        if "" not in titles and data.draw(st.booleans()):  # by way of a file
            table.to_csv(tmp_path / "data.csv", index=False)
            table = read(tmp_path / "data.csv").frame
        column, target = str(table.columns[0]), str(table.columns[-1])
        inferred = infer(table, target, **data.draw(options(column)))
    except UserError:
        event("refused")
        return
    event("inputs")
    assert [one.column for one in inferred.decisions] == list(table)
    assert all(one.why for one in inferred.decisions)
    y, used = target_values(
        table[target], inferred.task, inferred.classes, inferred.left_out_classes
    )
    assert len(y) == used.sum() >= 30
    assert np.isfinite(y).all()
    cells = typed(table, inferred.roles)[used]
    missing = tuple(name for name in inferred.roles.scaled if cells[name].isna().any())
    scaling = data.draw(st.sampled_from(SCALINGS))
    transformer = fit(cells.iloc[: len(cells) // 2], inferred.roles, scaling, missing)
    x = transform(transformer, cells, inferred.roles, scaling)
    assert x.shape == (len(cells), len(names(transformer)))
    assert np.isfinite(x).all()
    if scaling == "robust":
        assert np.abs(x).max() <= 3
