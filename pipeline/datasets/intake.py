"""What `new-study` finds in people's data, and decides: the data section of a study.

Each kind of data has a function that looks at all of it and returns an `Intake`. Nothing is written
but the files of a data set that scikit-learn ships.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.datasets import arrays, folder, inference, table, tables
from pipeline.datasets.columns import typed
from pipeline.datasets.splits import digests
from pipeline.errors import UserError, nearest

SHIPPED = "sklearn:"
MOST_LINES = 40  # columns of numbers that have a line each
HINT = "`--category COLUMN` makes categories of a column, `--drop COLUMN` leaves it out"
LARGEST_SIDE = 32  # pixels, of pictures that are not told how large to be
ONLY_TABLES = ("group", "time", "weight", "drop", "keep", "categories", "test")


@dataclass(frozen=True)
class Asked:
    """What a user said beside where the data are."""

    target: str | None = None
    task: str | None = None
    score: str | None = None
    positive_class: str | None = None
    group: str | None = None
    time: str | None = None
    weight: str | None = None
    drop: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    test: Path | None = None


@dataclass(frozen=True)
class Intake:
    """Data that can be a study."""

    section: Mapping[str, Any]  # of params.yaml: data, without the sizes and what splits them
    files: Mapping[str, Path]  # name in the study's folder → what is copied there
    rows: int  # that are used, without those of a test file
    tests: bool  # whether there is a test file
    inputs: int  # values of an example, or more
    outputs: int  # units of the last layer
    decisions: tuple[str, ...]  # one line each
    notes: tuple[str, ...]
    counts: Mapping[str, int]  # examples of each class; empty for a regression


def look(source: str, asked: Asked, scratch: Path) -> Intake:
    """What there is at a path, or at `sklearn:NAME`; `scratch`: a folder for what that writes.

    Raises UserError for data that cannot be a study.
    """
    if source.startswith(SHIPPED):
        return _shipped(source.removeprefix(SHIPPED), asked, scratch)
    path = Path(source)
    if path.is_dir():
        return of_folder(path, asked)
    if not path.is_file():
        raise UserError(f"{path} is neither a file nor a folder")
    if path.suffix == ".npz":
        return of_arrays(path, asked)
    return of_table(path, asked)


# Tables


def of_table(path: Path, asked: Asked) -> Intake:
    """A table whose column `asked.target` is predicted."""
    read = tables.read(path)
    frame = read.frame
    if asked.target is None:
        raise UserError(
            f"`--target` is required: the column of {path} that is predicted, one of "
            f"{', '.join(map(str, frame))}"
        )
    test = None if asked.test is None else tables.read(asked.test)
    found = inference.infer(
        frame,
        asked.target,
        task=asked.task,
        score=asked.score,
        positive_class=asked.positive_class,
        drop=asked.drop,
        keep=asked.keep,
        categories=asked.categories,
        group=asked.group,
        time=asked.time,
        weight=asked.weight,
    )
    y, used = inference.target_values(
        frame[asked.target], found.task, found.classes, found.left_out_classes
    )
    own = frame[used].reset_index(drop=True)
    try:
        cells = typed(own, found.roles)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    together, equal = _duplicates(table.digests(cells, y))
    section = {
        "source": "table",
        "target": asked.target,
        "task": found.task,
        "score": found.score,
        **_present(
            classes=found.classes,
            left_out_classes=found.left_out_classes,
            drop=found.drop,
            categories=found.roles.categories,
            dates=found.roles.dates,
            group=asked.group,
            time=asked.time,
            weight=asked.weight,
        ),
        "duplicates": "together" if together else "apart",
    }
    suffix = next(each for each in tables.FORMATS if path.name.lower().endswith(each))
    files = {f"data{suffix}": path}
    if asked.test is not None and test is not None:
        other = next(each for each in tables.FORMATS if asked.test.name.lower().endswith(each))
        files[f"test{other}"] = asked.test
    return Intake(
        section=section,
        files=files,
        rows=len(y),
        tests=asked.test is not None,
        inputs=_width(cells, found.roles.categories),
        outputs=1 if len(found.classes) in (0, 2) else len(found.classes),
        decisions=(*_lines(found.decisions), HINT),
        notes=(*read.notes, *found.notes, *equal),
        counts=_counts(y, found.classes),
    )


def _lines(decisions: Sequence[inference.Decision]) -> Iterator[str]:
    """One line per column; how to decide otherwise is told once, in HINT, for all that is used."""
    numbers = [each for each in decisions if each.role == "number"]
    folded = {each.column for each in numbers[MOST_LINES:]}
    for each in decisions:
        why = each.why
        if each.role in ("number", "category", "date"):
            why = why.partition("; `--")[0]
        if each.column not in folded:
            yield f"{each.column}: {each.role}, {why}"
    if folded:
        yield f"and {len(folded):,} more columns of numbers"


def _width(cells: pd.DataFrame, categories: Sequence[str]) -> int:
    """The number of inputs, at most."""
    numbers = cells.drop(columns=[*categories])
    values = sum(min(31, cells[name].nunique()) for name in categories)
    return numbers.shape[1] + int(numbers.isna().any().sum()) + values


def _duplicates(same: npt.NDArray[Any]) -> tuple[bool, tuple[str, ...]]:
    """Whether equal examples are kept in one part, and what is said of them.

    `same`: (n,) equal for equal examples.
    """
    copies = len(same) - len(np.unique(same))
    if not copies:
        return True, ()
    if copies > len(same) / 2:
        return False, (
            f"{copies:,} of {len(same):,} examples equal another one, so many that they are"
            " values rather than copies; they may lie in different parts (`duplicates: apart`)",
        )
    equal = "1 example equals" if copies == 1 else f"{copies:,} examples equal"
    return True, (f"{equal} another one; equal ones are kept in one part",)


def _counts(y: npt.NDArray[Any], classes: Sequence[str]) -> dict[str, int]:
    return {name: int(np.count_nonzero(y == index)) for index, name in enumerate(classes)}


def _present(**values: Any) -> dict[str, Any]:
    """Those that are there; tuples as lists."""
    return {
        name: [*value] if isinstance(value, tuple) else value
        for name, value in values.items()
        if value
    }


# Arrays


def of_arrays(path: Path, asked: Asked) -> Intake:
    """The arrays of an .npz file."""
    _refuse(asked, path, ("target", *ONLY_TABLES))
    found = arrays.read(path)
    aim = _aim(path, "y", arrays.texts(found.y) if _are_labels(found.y, asked) else found.y, asked)
    brightest, notes = None, []
    if found.x.ndim > 2:
        brightest = _brightest(path, found.x)
        size = "x".join(map(str, found.x.shape[1:]))
        notes.append(f"images of {size} with values up to {brightest:g}")
    together, equal = _duplicates(digests(found.x))
    score, why = inference.score_of(aim, asked.score)
    section = {
        "source": "arrays",
        "task": aim.task,
        "score": score,
        **_present(classes=aim.classes, brightest=brightest),
        "duplicates": "together" if together else "apart",
    }
    return Intake(
        section=section,
        files={arrays.NAME: path},
        rows=len(found.y) - found.tests,
        tests=found.tests > 0,
        inputs=int(np.prod(found.x.shape[1:])),
        outputs=1 if len(aim.classes) in (0, 2) else len(aim.classes),
        decisions=(f"y: target, {aim.why}",),
        notes=(*notes, *why, *equal),
        counts=dict(zip(aim.classes, aim.counts, strict=True)),
    )


def _are_labels(y: npt.NDArray[Any], asked: Asked) -> bool:
    return y.dtype.kind in "US" or asked.task == "classification"


def _aim(path: Path, name: str, y: npt.NDArray[Any], asked: Asked) -> inference.Aim:
    """What a target says. Raises UserError if a class has too few examples."""
    aim = inference.aim_of(pd.Series(y, name=name), name, asked.task, asked.positive_class)
    if aim.left_out:
        raise UserError(
            f"{path}: the class {aim.left_out[0]!r} has fewer than {inference.FEWEST_OF_CLASS} "
            "examples; add some, or remove the class"
        )
    return aim


def _brightest(path: Path, x: npt.NDArray[Any]) -> float:
    """The largest value of a pixel: that of its bits, or that which is there."""
    if x.min() < 0:
        raise UserError(f"{path}: pixels must be 0 or above, but the smallest is {x.min():g}")
    largest = float(x.max())
    return next((top for top in (1.0, 16.0, 255.0, 65_535.0) if largest <= top), largest)


# Pictures


def of_folder(path: Path, asked: Asked) -> Intake:
    """A folder with a sub-folder of pictures for each class."""
    _refuse(asked, path, ("target", *ONLY_TABLES))
    found = folder.find(path)
    seen = folder.look(found.paths)
    height, width, notes = _one_size(seen.sizes)
    classification = replace(asked, task=asked.task or "classification")
    aim = _aim(path, "the folder's name", np.array(found.labels, object), classification)
    if aim.task != "classification":
        raise UserError(f"`--task` must be classification for pictures, but got {asked.task!r}")
    pixels = folder.decoded(found.paths, height, width, seen.colour)
    together, equal = _duplicates(digests(pixels))
    score, why = inference.score_of(aim, asked.score)
    if found.ignored:
        names = ", ".join(str(each) for each in found.ignored[:3])
        notes.append(f"{len(found.ignored)} other files are left out, such as {names}")
    section = {
        "source": "folder",
        "task": "classification",
        "score": score,
        "classes": [*aim.classes],
        "height": height,
        "width": width,
        "colour": seen.colour,
        "duplicates": "together" if together else "apart",
    }
    return Intake(
        section=section,
        files={each.relative_to(path).as_posix(): each for each in found.paths},
        rows=len(found.labels),
        tests=False,
        inputs=height * width * (3 if seen.colour else 1),
        outputs=1 if len(aim.classes) == 2 else len(aim.classes),
        decisions=(f"{len(aim.classes)} classes, one for each folder",),
        notes=(*notes, *why, *equal),
        counts=dict(zip(aim.classes, aim.counts, strict=True)),
    )


def _one_size(sizes: Sequence[tuple[int, int]]) -> tuple[int, int, list[str]]:
    """The size that all pictures get: the most common one, and no side above LARGEST_SIDE."""
    (height, width), count = Counter(sizes).most_common(1)[0]
    notes = []
    if count < len(sizes):
        notes.append(
            f"{len(sizes) - count:,} of {len(sizes):,} pictures have another size than {width} x"
            f" {height}; all are resized"
        )
    scale = max(height, width) / LARGEST_SIDE
    if scale > 1:
        height, width = max(1, round(height / scale)), max(1, round(width / scale))
        notes.append(
            f"pictures are resized to {width} x {height}; `height` and `width` in params.yaml say"
            " how large they are"
        )
    return height, width, notes


# What scikit-learn ships


def _shipped(name: str, asked: Asked, scratch: Path) -> Intake:
    """A data set that lies in the package of scikit-learn, as a table or as arrays."""
    from sklearn import datasets

    loaders = ("breast_cancer", "diabetes", "digits", "iris", "wine")
    if name not in loaders:
        raise UserError(f"unknown data set {SHIPPED}{name}{nearest(name, loaders)}")
    bunch = getattr(datasets, f"load_{name}")()
    scratch.mkdir(parents=True, exist_ok=True)
    if "images" in bunch:
        path = scratch / arrays.NAME
        np.savez(path, x=bunch.images, y=bunch.target)
        return of_arrays(path, asked)
    frame = pd.DataFrame(bunch.data, columns=[str(each) for each in bunch.feature_names])
    names = bunch.get("target_names")
    frame["target"] = bunch.target if names is None else np.array(names)[bunch.target]
    path = scratch / f"data{tables.FORMATS[0]}"
    frame.to_csv(path, index=False)
    return of_table(path, replace(asked, target=asked.target or "target"))


# Shared


def _refuse(asked: Asked, path: Path, names: Sequence[str]) -> None:
    """Raises UserError for what only a table has."""
    for name in names:
        if getattr(asked, name):
            flag = {"categories": "category"}.get(name, name)
            raise UserError(f"`--{flag}` is for tables, but {path} is none; leave it out")
