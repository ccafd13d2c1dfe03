"""A table from a file, each draw preprocessed as its own training rows say."""

import json
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.datasets import Columns, Dataset, Floats, Ints, inference, preprocessing, tables
from pipeline.datasets.columns import Roles, date_values, number_values, text_values, typed
from pipeline.datasets.own import FILE, TableData
from pipeline.datasets.splits import no_units, pooled, units_of
from pipeline.errors import UserError, nearest

NAMES = tuple(f"data{suffix}" for suffix in tables.FORMATS)
TEST_NAMES = tuple(f"test{suffix}" for suffix in tables.FORMATS)


def prepare(study: str, data: TableData, seed: int) -> Dataset:
    """The table in `data.input`, split as the section says.

    Raises UserError for a file that is missing, cannot be read, or does not fit the section.
    """
    frame, tests, path = read(Path(data.input), data.test == FILE)
    y, used = _target(frame, data, path)
    frame, tests = frame[used].reset_index(drop=True), tests[used]
    roles = roles_of(frame, data)
    try:
        cells = typed(frame, roles)
    except ValueError as error:
        raise UserError(f"{path}: {error}; params.yaml: studies.{study}.data") from None
    rows = data.part_rows(
        y,
        _units(frame, cells, y, data),
        seed,
        times=None if data.time is None else order(frame[data.time]),
        test=np.flatnonzero(tests).astype(np.int32) if tests.any() else None,
    )
    file_rows, pool = pooled(rows)
    x, columns = preprocessed(frame, cells, roles, rows["train"], file_rows, data.scaling)
    of_pool = file_rows.reshape(-1)
    weights = _weights(frame, data, path)
    return Dataset(
        name=study,
        n_classes=data.n_classes,
        x=x,
        y=y[of_pool],
        splits={"article": pool, "leak_free": pool},
        task=data.trained_for,
        classes=data.classes,
        file_rows=of_pool,
        columns=columns,
        weights=None if weights is None else weights[of_pool],
    )


def only_file(folder: Path, names: Iterable[str]) -> Path:
    """The file in the folder that has one of these names. Raises UserError for none or several."""
    names = tuple(names)
    found = [folder / name for name in names if (folder / name).is_file()]
    if len(found) != 1:
        got = "none of them" if not found else " and ".join(path.name for path in found)
        raise UserError(f"{folder} must have one of {', '.join(names)}, but has {got}")
    return found[0]


def read(folder: Path, with_test: bool) -> tuple[pd.DataFrame, npt.NDArray[np.bool_], Path]:
    """The rows of data.csv, then those of test.csv; which are of the latter; the former's path."""
    path = only_file(folder, NAMES)
    frame = tables.read(path).frame
    tests = np.zeros(len(frame), np.bool_)
    if with_test:
        other = tables.read(only_file(folder, TEST_NAMES)).frame
        if absent := [name for name in frame if name not in other]:
            raise UserError(f"{folder}: the test file has no column {absent[0]!r}")
        tests = np.concatenate([tests, np.ones(len(other), np.bool_)])
        frame = pd.concat([frame, other[[*frame]]], ignore_index=True)
    return frame, tests, path


def roles_of(frame: pd.DataFrame, data: TableData) -> Roles:
    """What each column holds. Raises UserError for a column of the section that is not there."""
    special = [name for name in (data.target, data.group, data.time, data.weight) if name]
    named = {*special, *data.drop, *data.categories, *data.dates}
    if absent := sorted(named - {*frame}):
        raise UserError(
            f"{data.input} has no column {absent[0]!r}{nearest(absent[0], [*map(str, frame)])}"
        )
    left = {*special, *data.drop} - {*data.categories, *data.dates}
    numbers = [name for name in frame if name not in {*left, *data.categories, *data.dates}]
    return Roles(tuple(map(str, numbers)), data.categories, data.dates)


def order(column: "pd.Series[Any]") -> npt.NDArray[np.float64]:
    """The times of rows as numbers, (n,). Raises UserError for what is neither number nor date."""
    for values in (number_values, date_values):
        times, wrong = values(column)
        if not wrong.any():
            if np.isnan(times).any():
                row = int(np.flatnonzero(np.isnan(times))[0]) + 1
                raise UserError(f"column {column.name!r} orders the rows, but row {row} is empty")
            return times
    raise UserError(f"column {column.name!r} orders the rows, but has neither numbers nor dates")


def _target(
    frame: pd.DataFrame, data: TableData, path: Path
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """The targets of the rows that have one, and which rows of the file these are."""
    if data.target not in frame:
        hint = nearest(data.target, [*map(str, frame)])
        raise UserError(f"{path} has no column {data.target!r}, the target{hint}")
    y, used = inference.target_values(
        frame[data.target], data.task, data.classes, data.left_out_classes
    )
    return y, used


def _units(frame: pd.DataFrame, cells: pd.DataFrame, y: npt.NDArray[Any], data: TableData) -> Ints:
    """(n,) numbers of what is never divided: groups, and equal rows."""
    linked: list[npt.NDArray[Any]] = []
    if data.group is not None:
        linked.append(text_values(frame[data.group]))
    if data.duplicates == "together":
        linked.append(digests(cells, y))
    return units_of(linked) if linked else no_units(len(y))


def digests(cells: pd.DataFrame, y: npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
    """(n,) equal for rows with equal inputs and targets."""
    hashed = pd.util.hash_pandas_object(cells.assign(**{"": y}), index=False)
    return np.asarray(hashed, np.uint64)


def _weights(frame: pd.DataFrame, data: TableData, path: Path) -> Floats | None:
    """Weights of the rows, (n,). Raises UserError for one that is not above 0."""
    if data.weight is None:
        return None
    weights, wrong = number_values(frame[data.weight])
    bad = np.flatnonzero(wrong | ~(weights > 0) | ~np.isfinite(weights))
    if bad.size:
        raise UserError(
            f"{path}: column {data.weight!r} must have weights above 0, but row {bad[0] + 1} has "
            f"{frame[data.weight].iloc[bad[0]]}"
        )
    result: Floats = weights.astype(np.float32)
    return result


def preprocessed(
    frame: pd.DataFrame,
    cells: pd.DataFrame,
    roles: Roles,
    train: Ints,
    file_rows: Ints,
    scaling: Literal["robust", "standard"],
) -> tuple[Floats, Columns]:
    """Each draw's rows as its own training rows say, one draw after another: (draws * n, width)."""
    missing = tuple(name for name in roles.scaled if cells[name].isna().any())
    fitted = [preprocessing.fit(cells.iloc[rows], roles, scaling, missing) for rows in train]
    blocks = [
        preprocessing.transform(each, cells.iloc[rows], roles, scaling)
        for each, rows in zip(fitted, file_rows, strict=True)
    ]
    x = np.concatenate(preprocessing.padded(blocks))
    example = frame.iloc[int(train[0][0])][[*roles.all]]
    return x, Columns(
        numbers=roles.numbers,
        dates=roles.dates,
        categories=roles.categories,
        scaling=scaling,
        width=x.shape[1],
        fitted=tuple(map(pickle.dumps, fitted)),
        example=json.dumps({name: _plain(value) for name, value in example.items()}),
    )


def _plain(value: Any) -> Any:
    """A cell as JSON has it; None if it is missing."""
    if isinstance(value, str):
        return value
    if pd.isna(value):
        return None
    return value.item() if isinstance(value, np.generic) else str(value)
