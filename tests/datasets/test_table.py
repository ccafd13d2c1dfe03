"""A table as a study's data: roles as params.yaml says, and nothing that training may not know."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.datasets import PARTS, Dataset, Part, load, save
from pipeline.datasets.own import TableData
from pipeline.datasets.table import prepare
from pipeline.errors import UserError

ROWS = 100


def table() -> pd.DataFrame:
    """A number, one with gaps, a date, a category, and a target of two classes."""
    rng = np.random.default_rng(0)
    day = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, ROWS), "D")
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=ROWS),
            "gaps": rng.normal(50, 10, ROWS),
            "day": day.strftime("%Y-%m-%d"),
            "colour": rng.choice(["red", "blue", "green"], ROWS),
            "y": np.resize(["no", "yes"], ROWS),
        }
    )
    frame.loc[::7, "gaps"] = np.nan
    return frame


def section(folder: Path, **changes: Any) -> TableData:
    """The section of the table in this folder."""
    values: dict[str, Any] = {
        "input": folder.as_posix(),
        "target": "y",
        "task": "classification",
        "score": "accuracy",
        "classes": ("no", "yes"),
        "categories": ("colour",),
        "dates": ("day",),
        "test": 20,
        "validation": 20,
        "draws": 3,
    }
    return TableData(**values | changes)


def prepared(folder: Path, frame: pd.DataFrame, **changes: Any) -> Dataset:
    """The frame, written and prepared."""
    folder.mkdir(exist_ok=True)
    frame.to_csv(folder / "data.csv", index=False)
    return prepare("mine", section(folder, **changes), seed=1)


def test_what_is_planted_outside_the_training_rows_changes_nothing(tmp_path: Path) -> None:
    before = prepared(tmp_path, table())
    others: tuple[Part, ...] = ("val", "test")
    outside = np.concatenate([before.in_file("leak_free", part)[0] for part in others])
    planted = table()
    planted.loc[outside[:5], "x"] = 1e9
    planted.loc[outside, "gaps"] += 1e4
    planted.loc[outside[5:15], "colour"] = "ultraviolet"
    planted.loc[outside[15:20], "day"] = "1970-01-01"
    after = prepared(tmp_path, planted)
    assert before.columns is not None
    assert after.columns is not None
    assert before.columns.of(0) == after.columns.of(0)
    rows = before.rows("leak_free", "train", 0)
    assert np.array_equal(
        before.in_file("leak_free", "train")[0], after.in_file("leak_free", "train")[0]
    )
    width = before.x.shape[1]
    same = after.x[after.rows("leak_free", "train", 0)]
    assert np.array_equal(same[:, :width], before.x[rows])
    assert not same[:, width:].any()
    assert np.isfinite(after.x).all()


def test_every_draw_is_scaled_by_its_own_training_rows(tmp_path: Path) -> None:
    frame, data = table(), prepared(tmp_path, table(), scaling="standard")
    for draw in range(3):
        own = frame["x"].to_numpy()[data.in_file("leak_free", "train")[draw]]
        scaled = data.x[data.rows("leak_free", "train", draw), 0]
        assert np.allclose(scaled, (own - own.mean()) / own.std(), atol=1e-5)


def test_rows_of_a_test_file_are_a_source_of_variance(tmp_path: Path) -> None:
    """Draws share training rows too, which widens the intervals of what has no value for a row."""
    table().iloc[:40].to_csv(tmp_path / "test.csv", index=False)
    own, split = (prepared(tmp_path, table(), test=test) for test in ("file", 20))
    assert (own.in_file("leak_free", "test") == np.arange(ROWS, ROWS + 40)).all()
    assert [data.same_test("leak_free") for data in (own, split)] == [True, False]
    assert own.overlap("leak_free") == 40 / 80


def test_rows_of_a_file_are_shared_by_draws_and_never_by_parts(tmp_path: Path) -> None:
    data = prepared(tmp_path, table())
    assert not data.leaks("leak_free")
    assert data.overlap("leak_free") == 20 / 60
    assert (
        np.unique(np.concatenate([data.in_file("leak_free", part)[0] for part in PARTS])).size
        == ROWS
    )


def test_copies_of_a_row_stay_in_one_part(tmp_path: Path) -> None:
    frame = pd.concat([table(), table().iloc[:30]], ignore_index=True)
    data = prepared(tmp_path, frame)
    for draw in range(3):
        parts = [{*(data.in_file("leak_free", part)[draw] % ROWS)} for part in PARTS]
        assert not parts[0] & parts[1]
        assert not parts[0] & parts[2]
        assert not parts[1] & parts[2]


def test_what_is_prepared_is_read_back(tmp_path: Path) -> None:
    data = prepared(tmp_path, table())
    save(data, tmp_path / "mine.npz")
    read = load(tmp_path / "mine.npz")
    assert read.digest == data.digest
    assert read.columns == data.columns
    for part in PARTS:
        assert np.array_equal(read.in_file("leak_free", part), data.in_file("leak_free", part))
    assert read.task is data.task
    assert read.columns is not None
    assert pickle.loads(read.columns.of(1)).n_features_in_ == 4


def test_a_changed_cell_is_another_data_set_and_the_same_file_is_not(tmp_path: Path) -> None:
    first, again = prepared(tmp_path, table()), prepared(tmp_path, table())
    changed = table()
    changed["x"] = changed["x"].where(changed.index != 3, 7.0)
    assert first.digest == again.digest != prepared(tmp_path, changed).digest


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("x", "many", "column 'x' must have a number, but row 4 has 'many'"),
        ("day", "soon", "column 'day' must have a date"),
        ("y", "perhaps", "must have the classes 'no', 'yes', but row 4 has 'perhaps'"),
        ("x", "inf", "column 'x' must have finite numbers"),
    ],
)
def test_a_cell_that_does_not_fit_its_column_is_named(
    tmp_path: Path, column: str, value: str, message: str
) -> None:
    frame = table().astype({column: object})
    frame.loc[3, column] = value
    with pytest.raises(UserError, match=message):
        prepared(tmp_path, frame)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": "z"}, "has no column 'z'"),
        ({"drop": ("q",)}, "has no column 'q'"),
        ({"test": 90}, r"must be at most the 100 rows, but got 1 \+ 20 \+ 90"),
        ({"test": "file"}, "must have one of test.csv"),
        ({"splits": "in_order"}, "needs `time`"),
        ({"splits": "one_test", "train": 60}, "must be at most 26, the rows of each of 3 draws"),
    ],
)
def test_a_section_that_does_not_fit_the_file_is_an_error(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        prepared(tmp_path, table(), **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"score": "rmse"}, "`score` must be one of"),
        ({"classes": ("a",)}, "two or more different names"),
        ({"classes": ("a", "a")}, "two or more different names"),
        ({"task": "regression", "score": "rmse"}, "`classes` must be left out"),
        ({"test": "file", "splits": "one_test"}, "`splits` must be repeated"),
    ],
)
def test_a_section_that_contradicts_itself_is_an_error(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        section(tmp_path, **changes)


def test_weights_of_rows_follow_them_into_every_draw(tmp_path: Path) -> None:
    frame = table().assign(kilos=np.arange(ROWS) + 1.0)
    data = prepared(tmp_path, frame, weight="kilos")
    assert data.weights is not None
    assert data.columns is not None
    assert "kilos" not in data.columns.numbers
    for draw in range(3):
        own = data.weights[data.rows("leak_free", "test", draw)]
        assert np.array_equal(own, data.in_file("leak_free", "test")[draw] + 1)


def test_a_weight_that_is_not_above_0_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="must have weights above 0, but row 1 has 0"):
        prepared(tmp_path, table().assign(kilos=np.arange(ROWS)), weight="kilos")
