"""A prepared data set: one pool of examples, and which of them each protocol uses.

- `origins`   where a study's data come from: title, mirrors, SHA-256, licence
- `download`  one file over HTTP: resume, retries, time-outs
- `raw`       fills data/raw/<study> from mirrors or DATA_MIRROR
- `circles`, `digits`, `features`, `idx`  the section and the preparation of each source
- `tables`, `inference`  a user's file as a table; what it is for, and what each column is
- `columns`, `preprocessing`  columns as numbers, dates and categories; these as a model's inputs
- `sources`   SOURCES: name → its section of params.yaml, and how to prepare it
- `about`     results/<study>/about.json: what reports say about the data

Training imports only this file, so changing how data are fetched repeats no training.
"""

import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline import files
from pipeline.datasets.task import CLASSIFICATION, Task, named
from pipeline.errors import UserError
from pipeline.files import Arrays, replace

Protocol = Literal["article", "leak_free"]
Part = Literal["train", "val", "test"]
PROTOCOLS: tuple[Protocol, ...] = ("article", "leak_free")
PARTS: tuple[Part, ...] = ("train", "val", "test")
WORDS = ("name", "source", "title", "description", "leak")  # fields that do not affect results

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Targets = Ints | Floats
Splits = Mapping[Protocol, Mapping[Part, Ints]]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scaling:
    """How examples follow from the values that people have: x = (value - center) / scale.

    Both are float64 of shape (draws, k), or (1, k) if all draws have the same; k is 1 or the number
    of inputs. Raises ValueError for other shapes and for scales that are not positive.

    >>> Scaling.by(255).of(3)
    (array([0.]), array([255.]))
    """

    center: Doubles
    scale: Doubles

    def __post_init__(self) -> None:
        if self.center.shape != self.scale.shape or self.center.ndim != 2:
            raise ValueError(
                "`center` and `scale` must have one shape (draws, k), but got "
                f"{self.center.shape} and {self.scale.shape}"
            )
        if not np.isfinite(self.center).all() or not (self.scale > 0).all():
            raise ValueError("`center` must be finite and `scale` positive")

    @classmethod
    def by(cls, scale: float) -> "Scaling":
        """Division by one number, the same in all draws."""
        return cls(np.zeros((1, 1)), np.full((1, 1), float(scale)))

    def of(self, draw: int) -> tuple[Doubles, Doubles]:
        """Center and scale of a draw, (k,) each."""
        at = draw if len(self.center) > 1 else 0
        return self.center[at], self.scale[at]


@dataclass(frozen=True)
class Columns:
    """How the examples of each draw follow from the columns of a table, which `columns.py` reads.

    `fitted`: for each draw its pickled ColumnTransformer, fitted on its training rows alone.
    """

    numbers: tuple[str, ...]
    dates: tuple[str, ...]
    categories: tuple[str, ...]
    scaling: Literal["robust", "standard"]
    width: int  # of an example; a draw with fewer outputs has zeros behind them
    fitted: tuple[bytes, ...]
    example: str  # a row of the table, as JSON: column → value

    def of(self, draw: int) -> bytes:
        """The pickled transformer of a draw."""
        return self.fitted[draw if len(self.fitted) > 1 else 0]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Examples, and which of them train, validate and test.

    A data set of fixed examples has one draw. Generated data have many: draw i is a fresh sample,
    so that runs paired by seed have the same data. Raises ValueError for an invalid field.

    The targets of a regression are in their own unit, and so are its errors. They are standardized
    only where a run is trained, by its own training examples: a mean and a scale of the whole pool
    would tell the training about the test, and draws differ in theirs.
    """

    name: str  # of the study
    n_classes: int  # >= 2; of a regression 1
    x: Floats  # (N, *input_shape) float32; images lie in [0, 1]
    y: Targets  # (N,) int32 in [0, n_classes); of a regression float32
    splits: Splits  # protocol → part → rows of the pool, (draws, n) int32
    informative: Ints | None = None  # indices of informative inputs, (k,) int32, if known
    # Rows of the training sample that are in no part, (draws, n) int32: what somebody who has one
    # sample would choose by; of the protocol leak_free.
    held_out: Ints | None = None
    source: str = ""  # its name in `sources.SOURCES`
    title: str = ""  # of pages and figures
    description: str = ""  # what the examples are, and what is predicted
    leak: str = ""  # what is wrong with the article's own split, if anything
    task: Task = CLASSIFICATION
    classes: tuple[str, ...] = ()  # their names; (): their numbers
    scaling: Scaling = field(default_factory=lambda: Scaling.by(1))
    # Of which row of a file each row of the pool was made, (N,) int32; None: they are the same.
    # Where each draw scales by its own training examples, the pool has a row for every draw.
    file_rows: Ints | None = None
    columns: Columns | None = None  # how examples follow from a table; None: by `scaling`
    weights: Floats | None = None  # (N,) float32 > 0, how much each example counts; None: equally

    def __post_init__(self) -> None:
        _check_examples(self.x)
        if self.task.quantity:
            _check_numbers(self.y, len(self.x), self.n_classes)
        else:
            _check_labels(self.y, len(self.x), self.n_classes)
        if self.weights is not None:
            _check_weights(self.weights, len(self.x))
        for label, rows in self._labelled_rows():
            _check_rows(label, rows, len(self.x))
        for protocol in PROTOCOLS:
            _check_draws(protocol, self.splits[protocol])
        if self.held_out is not None:
            _check_rows("held_out", self.held_out, len(self.x))
        if self.informative is not None:
            _check_informative(self.informative, self.input_shape)
        if self.file_rows is not None and self.file_rows.shape != self.y.shape:
            raise ValueError(
                f"`file_rows` must have shape {self.y.shape}, but got {self.file_rows.shape}"
            )
        if self.classes and not len(self.classes) == len(set(self.classes)) == self.n_classes:
            raise ValueError(
                f"`classes` must be {self.n_classes} different names, but got {list(self.classes)}"
            )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return self.x.shape[1:]

    def draws(self, protocol: Protocol) -> int:
        """How many independent draws a protocol has."""
        return len(self.splits[protocol]["train"])

    def rows(self, protocol: Protocol, part: Part, draw: int) -> Ints:
        """Rows of the pool, (n,) int32. A protocol with one draw returns it for every `draw`.

        Raises UserError for a draw that was not prepared.
        """
        by_draw = self.splits[protocol][part]
        if draw < 0 or (len(by_draw) > 1 and draw >= len(by_draw)):
            raise UserError(
                f"`draw` must lie in [0, {len(by_draw)}) for {self.name}'s {protocol} protocol, "
                f"but got draw={draw}; raise `draws` in params.yaml: studies.{self.name}.data"
            )
        rows: Ints = by_draw[draw if len(by_draw) > 1 else 0]
        return rows

    def split(self, protocol: Protocol, part: Part, draw: int) -> tuple[Floats, Targets]:
        """The examples of one part: x (n, *input_shape) and y (n,)."""
        rows = self.rows(protocol, part, draw)
        return self.x[rows], self.y[rows]

    def in_file(self, protocol: Protocol, part: Part) -> Ints:
        """Rows of the file of one part, (draws, n): equal ones are the same example."""
        rows = self.splits[protocol][part]
        return rows if self.file_rows is None else self.file_rows[rows]

    def weights_of(self, rows: Ints) -> Floats | None:
        """The weights of these examples, (n,) float32 of mean 1; None if all count the same."""
        if self.weights is None:
            return None
        weights = self.weights[rows].astype(np.float64)
        scaled: Floats = (weights / weights.mean()).astype(np.float32)
        return scaled

    def overlap(self, protocol: Protocol) -> float:
        """Test examples over training examples if the draws are splits of one file, else 0.

        The correction of Nadeau and Bengio for replicates that share examples. Draws that share
        their test examples alone have none. Where they share all of them, `same_test` has another
        correction, which takes its place for outcomes that are known for each test example.
        """
        return self._overlaps[protocol]

    def same_test(self, protocol: Protocol) -> bool:
        """Whether draws have the same test examples, such as those of a test file.

        Then test examples are a source of variance of their own, crossed with the draws.
        """
        return self._same_tests[protocol]

    @cached_property
    def _same_tests(self) -> Mapping[Protocol, bool]:
        return {protocol: self._same_test(protocol) for protocol in PROTOCOLS}

    def _same_test(self, protocol: Protocol) -> bool:
        test = self.in_file(protocol, "test")
        return len(test) > 1 and bool((test == test[0]).all())

    @cached_property
    def _overlaps(self) -> Mapping[Protocol, float]:
        return {protocol: self._overlap(protocol) for protocol in PROTOCOLS}

    def _overlap(self, protocol: Protocol) -> float:
        if self.draws(protocol) == 1 or not self._shares(protocol):
            return 0.0
        return self.rows(protocol, "test", 0).size / self.rows(protocol, "train", 0).size

    def _shares(self, protocol: Protocol) -> bool:
        """Whether draws have examples in common, beside the test examples that all have."""
        if self.same_test(protocol):
            own = [self.in_file(protocol, part) for part in PARTS if part != "test"]
            used = np.concatenate(own, axis=1)
            return bool(np.unique(used).size < used.size)
        first, last = (
            np.concatenate([self.in_file(protocol, part)[draw] for part in PARTS])
            for draw in (0, self.draws(protocol) - 1)
        )
        return bool(np.intersect1d(first, last).size)

    def sample(self, protocol: Protocol, draw: int) -> str:
        """A name such as leak_free.3, the same for all draws that have the same rows."""
        return f"{protocol}.{draw if self.draws(protocol) > 1 else 0}"

    def leaks(self, protocol: Protocol) -> bool:
        """Whether an example is in two of training, validation and test, within any draw."""
        return self._leaks[protocol]

    @cached_property
    def _leaks(self) -> Mapping[Protocol, bool]:
        return {
            protocol: any(
                np.intersect1d(
                    self.in_file(protocol, first)[draw], self.in_file(protocol, second)[draw]
                ).size
                for draw in range(self.draws(protocol))
                for first, second in combinations(PARTS, 2)
            )
            for protocol in PROTOCOLS
        }

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits of the SHA-256 of all that affects results; the same everywhere.

        Names, titles, and what values were before scaling are left out, so changing one repeats no
        training.
        """
        sha256 = hashlib.sha256(f"{self.n_classes}".encode())
        for label, array in self._arrays():
            sha256.update(f"\n{label} {array.dtype.str} {array.shape}\n".encode())
            sha256.update(np.ascontiguousarray(array).data)
        return sha256.hexdigest()[:16]

    def _arrays(self) -> Iterator[tuple[str, Floats | Ints]]:
        """All arrays of the data set, each with a label."""
        yield "x", self.x
        yield "y", self.y
        yield from self._labelled_rows()
        if self.informative is not None:
            yield "informative", self.informative
        if self.held_out is not None:
            yield "held_out", self.held_out
        if self.weights is not None:
            yield "weights", self.weights

    def _labelled_rows(self) -> Iterator[tuple[str, Ints]]:
        for protocol in PROTOCOLS:
            for part in PARTS:
                yield f"{protocol}.{part}", self.splits[protocol][part]


def _check_examples(x: Floats) -> None:
    if x.dtype != np.float32 or x.ndim < 2 or len(x) == 0:
        raise ValueError(f"`x` must be float32 of shape (N, ...), but got {x.dtype} {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError("`x` must be finite, but has NaN or infinite values")


def _check_labels(y: Targets, rows: int, n_classes: int) -> None:
    if n_classes < 2:
        raise ValueError(f"`n_classes` must be at least 2, but got {n_classes}")
    if y.dtype != np.int32 or y.shape != (rows,):
        raise ValueError(f"`y` must be int32 of shape ({rows},), but got {y.dtype} {y.shape}")
    if y.min() < 0 or y.max() >= n_classes:
        raise ValueError(f"`y` must lie in [0, {n_classes}), but got {y.min()} to {y.max()}")


def _check_numbers(y: Targets, rows: int, n_classes: int) -> None:
    if n_classes != 1:
        raise ValueError(f"`n_classes` must be 1 for a regression, but got {n_classes}")
    if y.dtype != np.float32 or y.shape != (rows,):
        raise ValueError(
            f"`y` must be float32 of shape ({rows},) for a regression, but got {y.dtype} {y.shape}"
        )
    if not np.isfinite(y).all():
        raise ValueError("`y` must be finite, but has NaN or infinite values")


def _check_weights(weights: Floats, rows: int) -> None:
    if weights.dtype != np.float32 or weights.shape != (rows,):
        raise ValueError(
            f"`weights` must be float32 of shape ({rows},), but got {weights.dtype} {weights.shape}"
        )
    if not (np.isfinite(weights).all() and (weights > 0).all()):
        raise ValueError(
            f"`weights` must be finite and > 0, but got {weights.min()} to {weights.max()}"
        )


def _check_rows(label: str, rows: Ints, pool: int) -> None:
    if rows.dtype != np.int32 or rows.ndim != 2 or rows.size == 0:
        raise ValueError(
            f"`{label}` must be int32 of shape (draws, n), but got {rows.dtype} {rows.shape}"
        )
    if rows.min() < 0 or rows.max() >= pool:
        raise ValueError(
            f"`{label}` must have rows in [0, {pool}), but got {rows.min()} to {rows.max()}"
        )


def _check_draws(protocol: Protocol, parts: Mapping[Part, Ints]) -> None:
    draws = {part: len(rows) for part, rows in parts.items()}
    if len(set(draws.values())) != 1:
        raise ValueError(
            f"the parts of `{protocol}` must have the same number of draws, but got {draws}"
        )


def _check_informative(informative: Ints, input_shape: tuple[int, ...]) -> None:
    if informative.dtype != np.int32 or informative.ndim != 1 or informative.size == 0:
        raise ValueError(
            "`informative` must be int32 of shape (k,), but got "
            f"{informative.dtype} {informative.shape}"
        )
    if len(input_shape) != 1:
        raise ValueError(
            f"`informative` needs examples of one axis, but they have shape {input_shape}"
        )
    if (np.diff(informative) <= 0).any() or not 0 <= informative[0] <= informative[-1] < (
        input_shape[0]
    ):
        raise ValueError(
            f"`informative` must increase strictly within [0, {input_shape[0]}), but got "
            f"{informative.tolist()}"
        )


def save(dataset: Dataset, path: str | Path) -> None:
    """Write a data set as .npz, whole or not at all; the same contents give the same bytes.

    NumPy gives every member of the archive the same fixed date, so DVC sees a change only if the
    contents have changed.
    """
    members: dict[str, Any] = {
        **{word: np.array(getattr(dataset, word)) for word in WORDS},
        "n_classes": np.array(dataset.n_classes, np.int32),
        "task": np.array(dataset.task.name),
        "classes": np.array(dataset.classes, np.str_),
        "center": dataset.scaling.center,
        "scale": dataset.scaling.scale,
        **dict(dataset._arrays()),
        **_of_a_file(dataset),
    }
    replace(Path(path), lambda scratch: np.savez_compressed(scratch, **members))


def _of_a_file(dataset: Dataset) -> dict[str, Any]:
    """What only data from a file have."""
    members: dict[str, Any] = {}
    if dataset.file_rows is not None:
        members["file_rows"] = dataset.file_rows
    if dataset.columns is not None:
        told = asdict(dataset.columns)
        for index, fitted in enumerate(told.pop("fitted")):
            members[f"fitted.{index}"] = np.frombuffer(fitted, np.uint8)
        members["columns"] = np.array(json.dumps(told))
    return members


def load(path: str | Path) -> Dataset:
    """Read what `save` wrote, checking types, shapes and bounds.

    Raises UserError for a file that is missing, damaged, or not a data set.
    """
    path = Path(path)
    remedy = f"run `python -m pipeline prepare {path.stem}`"
    if not path.exists():
        raise UserError(f"{path} is missing; {remedy}")
    try:
        return _read(path)
    # A damaged archive can raise any error of zipfile, zlib, struct and NumPy.
    except Exception as error:
        raise UserError(f"{path} is not a prepared data set: {error}; {remedy}") from error


def _read(path: Path) -> Dataset:
    if not zipfile.is_zipfile(path):
        raise ValueError("it is not an .npz file")
    with files.arrays(path) as archive:
        return _dataset(archive)


def _dataset(archive: Arrays) -> Dataset:
    members = {*WORDS, "n_classes", "task", "classes", "center", "scale", "x", "y"} | {
        f"{protocol}.{part}" for protocol in PROTOCOLS for part in PARTS
    }
    if missing := members - set(archive):
        raise ValueError(f"it has no {', '.join(sorted(missing))}")
    return Dataset(
        **{word: str(archive[word]) for word in WORDS},
        n_classes=int(archive["n_classes"]),
        x=archive["x"],
        y=archive["y"],
        splits={
            protocol: {part: archive[f"{protocol}.{part}"] for part in PARTS}
            for protocol in PROTOCOLS
        },
        informative=archive.get("informative"),
        held_out=archive.get("held_out"),
        weights=archive.get("weights"),
        task=named(str(archive["task"])),
        classes=tuple(map(str, archive["classes"])),
        scaling=Scaling(archive["center"], archive["scale"]),
        file_rows=archive.get("file_rows"),
        columns=_columns(archive),
    )


def _columns(archive: Arrays) -> Columns | None:
    if "columns" not in archive:
        return None
    told: dict[str, Any] = json.loads(str(archive["columns"]))
    count = sum(name.startswith("fitted.") for name in archive)
    told["fitted"] = tuple(archive[f"fitted.{index}"].tobytes() for index in range(count))
    told |= {name: tuple(told[name]) for name in ("numbers", "dates", "categories")}
    return Columns(**told)
