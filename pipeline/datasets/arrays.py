"""Arrays from an .npz file: x and y, perhaps x_test and y_test, group and weight."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.datasets import Dataset, Doubles, Floats, Ints, Scaling, Targets, inference
from pipeline.datasets.columns import Roles, text_values
from pipeline.datasets.own import ArraysData, OwnData
from pipeline.datasets.splits import Parts, digests, no_units, pooled, units_of
from pipeline.datasets.table import preprocessed
from pipeline.errors import UserError

NAME = "data.npz"
MEMBERS = ("x", "y", "x_test", "y_test", "group", "weight")


@dataclass(frozen=True, eq=False)
class Arrays:
    """The content of a file, checked; test examples follow the others.

    `x` (n, ...) float64, `y` (n,) text or float64, `group` (n,), `weight` (n,) float64.
    """

    x: Doubles
    y: npt.NDArray[Any]
    group: npt.NDArray[Any] | None
    weight: Doubles | None
    tests: int  # the number of test examples; 0: the file has none

    @property
    def test(self) -> Ints | None:
        """The rows of the test examples; None if the file has none."""
        first = len(self.y) - self.tests
        return np.arange(first, len(self.y), dtype=np.int32) if self.tests else None


def read(path: Path) -> Arrays:
    """The arrays of an .npz file. Raises UserError for a file or an array that cannot be used."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            members = {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    # Damaged archives raise any error of zipfile, zlib and NumPy; objects in arrays a ValueError.
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, MemoryError) as error:
        raise UserError(f"{path} is not an .npz file of plain arrays: {error}") from None
    except Exception as error:
        raise UserError(f"{path} is damaged: {error}") from error
    try:
        return _checked(members)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None


def _checked(members: dict[str, npt.NDArray[Any]]) -> Arrays:
    if unknown := sorted(members.keys() - {*MEMBERS}):
        raise ValueError(f"unknown array {unknown[0]!r}; expected {', '.join(MEMBERS)}")
    if missing := [name for name in ("x", "y") if name not in members]:
        raise ValueError(f"it has no array {missing[0]!r}; it has {', '.join(members) or 'none'}")
    if ("x_test" in members) != ("y_test" in members):
        raise ValueError("`x_test` and `y_test` go together, but only one of them is there")
    x, y = _examples("x", members["x"]), _targets("y", members["y"])
    tests = 0
    if "x_test" in members:
        x_test = _examples("x_test", members["x_test"])
        if x_test.shape[1:] != x.shape[1:]:
            raise ValueError(
                f"`x_test` must have examples of shape {x.shape[1:]}, as `x`, but got "
                f"{x_test.shape[1:]}"
            )
        y_test = _targets("y_test", members["y_test"])
        _same_length("y_test", y_test, "x_test", len(x_test))
        tests, x, y = len(x_test), np.concatenate([x, x_test]), np.concatenate([y, y_test])
    _same_length("y", y, "x", len(x))
    others = {name: members.get(name) for name in ("group", "weight")}
    for name, array in others.items():
        if array is not None:
            _same_length(name, array, "x", len(x))
    weight = others["weight"]
    if weight is not None:
        weight = _numbers("weight", weight)
        if not (weight > 0).all():
            raise ValueError("`weight` must be positive")
    return Arrays(x, y, others["group"], weight, tests)


def _examples(name: str, array: npt.NDArray[Any]) -> Doubles:
    if array.ndim not in (2, 3, 4) or not array.size:
        raise ValueError(
            f"`{name}` must have shape (n, values), (n, height, width) or (n, height, width, "
            f"channels), but got {array.shape}"
        )
    return _numbers(name, array)


def _targets(name: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(f"`{name}` must have shape (n,), but got {array.shape}")
    return array if array.dtype.kind in "US" else _numbers(name, array)


def _numbers(name: str, array: npt.NDArray[Any]) -> Doubles:
    if array.dtype.kind not in "biuf":
        raise ValueError(f"`{name}` must have numbers, but got {array.dtype}")
    numbers = array.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(numbers.reshape(len(numbers), -1)).all(axis=1))
    if bad.size:
        raise ValueError(
            f"`{name}` must be finite, but row {bad[0]} (counted from 0) has another value"
        )
    return numbers


def _same_length(name: str, array: npt.NDArray[Any], other: str, length: int) -> None:
    if len(array) != length:
        raise ValueError(f"`{name}` must have {length} rows, as `{other}`, but got {len(array)}")


def texts(y: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Labels as text, (n,): 1.0, "1" and "1 " are one class."""
    return text_values(pd.Series(np.char.decode(y, "utf-8") if y.dtype.kind == "S" else y))


def targets(y: npt.NDArray[Any], data: OwnData) -> Targets:
    """Labels by position in `classes`, (n,) int32, or numbers, (n,) float32.

    Raises UserError for a label that is none of the classes, and for text where numbers are needed.
    """
    if data.task == "regression":
        if y.dtype.kind not in "biuf":
            raise UserError(f"{data.input}: `y` must have numbers for a regression, but has text")
        return y.astype(np.float32)
    labels = pd.Series(texts(y), name="y")
    found, used = inference.target_values(labels, data.task, data.classes)
    if not used.all():
        row = int(np.flatnonzero(~used)[0])
        raise UserError(f"{data.input}: `y` has no class in row {row} (counted from 0)")
    return found


def prepare(study: str, data: ArraysData, seed: int) -> Dataset:
    """The arrays of data.npz in `data.input`, split as the section says.

    Raises UserError for a file that is missing, damaged, or does not fit the section.
    """
    arrays = read(Path(data.input) / NAME)
    y = targets(arrays.y, data)
    linked = [] if arrays.group is None else [arrays.group]
    if data.duplicates == "together":
        linked.append(digests(arrays.x))
    units = units_of(linked) if linked else no_units(len(y))
    rows = data.part_rows(y, units, seed, test=arrays.test)
    weights = None if arrays.weight is None else arrays.weight.astype(np.float32)
    if data.brightest is not None:
        return _of_images(study, data, arrays.x, y, rows, weights)
    return _of_vectors(study, data, arrays.x, y, rows, weights)


def _of_images(
    study: str, data: ArraysData, x: Doubles, y: Targets, rows: Parts, weights: Floats | None
) -> Dataset:
    assert data.brightest is not None
    if x.ndim < 3 or x.min() < 0 or x.max() > data.brightest:
        raise UserError(
            f"{data.input}: `x` must be images with values from 0 to {data.brightest:g}, as "
            f"`brightest` says, but has shape {x.shape} and values from {x.min():g} to {x.max():g}"
        )
    return Dataset(
        name=study,
        n_classes=data.n_classes,
        x=(x / data.brightest).astype(np.float32),
        y=y,
        splits={"article": rows, "leak_free": rows},
        scaling=Scaling.by(data.brightest),
        task=data.trained_for,
        classes=data.classes,
        weights=weights,
    )


def _of_vectors(
    study: str, data: ArraysData, x: Doubles, y: Targets, rows: Parts, weights: Floats | None
) -> Dataset:
    """A pool with every draw's own examples, whose values are scaled as the numbers of a table.

    The columns of that table have the names 0, 1 and so on.
    """
    flat = x.reshape(len(x), -1)
    frame = pd.DataFrame(flat, columns=[*map(str, range(flat.shape[1]))])
    roles = Roles(numbers=tuple(map(str, frame)))
    file_rows, pool = pooled(rows)
    scaled, columns = preprocessed(frame, frame, roles, rows["train"], file_rows, data.scaling)
    of_pool = file_rows.reshape(-1)
    return Dataset(
        name=study,
        n_classes=data.n_classes,
        x=scaled,
        y=y[of_pool],
        splits={"article": pool, "leak_free": pool},
        task=data.trained_for,
        classes=data.classes,
        file_rows=of_pool,
        columns=columns,
        weights=None if weights is None else weights[of_pool],
    )
