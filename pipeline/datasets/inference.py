"""Decides, once and for all, what a table is for: its task, its score, and what each column is.

All decisions are written into params.yaml, and each comes with a sentence on why, and how to decide
otherwise. Later stages infer nothing, so a changed cell cannot change what a column is. Rows are
counted from 1 below the header.
"""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.datasets.columns import (
    LARGEST,
    MISSING,
    Flags,
    Roles,
    Texts,
    date_values,
    listed,
    number_values,
    shown_value,
    text_values,
)
from pipeline.datasets.task import SCORES
from pipeline.errors import UserError, nearest

Kind = Literal["number", "category", "date"]

TASKS = ("classification", "regression")  # of people's own data
MOST_LABELS = 20  # different whole numbers that are classes
FEWEST_ROWS = 30  # of a table
FEWEST_OF_CLASS = 6  # rows: two each for training, validation and test
FEWEST_GROUPS = 3  # one each for training, validation and test
MOST_VALUES = 30  # categories that have an input each; see `preprocessing`
UNUSED, UNKNOWN = -1, -2  # instead of the position of a class
NEARLY = 0.95  # share of cells that makes them nearly all
MOSTLY = 0.5  # share of numbers that makes other text suspect, where the numbers are many
RARE = 0.5  # of its even share: a rarer class asks for balanced accuracy

# Numbers with a sign between thousands, or with a decimal comma.
OTHER_NUMBER = re.compile(r"[+-]?(\d{1,3}([.,']\d{3})+([.,]\d+)?|\d+,\d+)", re.A)
EITHER_DATE = re.compile(r"\d{1,2}([/-])\d{1,2}\1(\d{4}|\d{2})([ T].*)?", re.A)


@dataclass(frozen=True)
class Decision:
    """What a column is, and a sentence on why and how to decide otherwise.

    The role is `target`, `number`, `category`, `date`, `left out`, `group`, `time` or `weight`.
    """

    column: str
    role: str
    why: str


@dataclass(frozen=True)
class Inferred:
    """All that is decided about a table.

    `classes` is () for a regression. Numbers are sorted as such, other labels as text; of two
    classes the positive one is second. `drop` has the columns left out, by the table's order.
    """

    task: str
    score: str
    classes: tuple[str, ...]
    drop: tuple[str, ...]
    roles: Roles
    decisions: tuple[Decision, ...]  # one per column, in the order of the table
    left_out_classes: tuple[str, ...]
    notes: tuple[str, ...]  # sentences about rows and labels


@dataclass(frozen=True, eq=False)
class _Cells:
    """A column, and the rows that are used, (n,): those with a target that is not left out."""

    name: str
    column: "pd.Series[Any]"
    used: Flags
    different: dict[Kind, npt.NDArray[Any]] = field(default_factory=dict)  # what `values` has found

    @cached_property
    def texts(self) -> Texts:
        return text_values(self.column)

    @cached_property
    def numbers(self) -> tuple[npt.NDArray[np.float64], Flags]:
        return number_values(self.column)

    @cached_property
    def days(self) -> tuple[npt.NDArray[np.float64], Flags]:
        return date_values(self.column)

    @cached_property
    def present(self) -> Flags:
        """The rows that have a value, (n,)."""
        values, wrong = self.numbers
        present: Flags = ~np.isnan(values) | wrong
        return present

    @cached_property
    def truth(self) -> bool:
        """Whether all values are true or false."""
        values, wrong = self.numbers
        if wrong.any() or not np.isin(values[self.present], (0, 1)).all():
            return False
        return bool(np.isin(self.texts[self.present], ("True", "False")).all())

    @property
    def option(self) -> str:
        """The name as an option's value on a command line."""
        return shlex.quote(self.name)

    def share(self, rows: Flags) -> float:
        """The share of the cells with a value that these are."""
        return float(rows[self.present].mean()) if self.present.any() else 0.0

    def matching(self, pattern: re.Pattern[str]) -> float:
        """The share of the cells with a value that match."""
        codes, unique = pd.factorize(self.texts)
        found = np.array([pattern.fullmatch(text) is not None for text in unique], np.bool_)
        return self.share(found[codes])

    def values(self, kind: Kind) -> npt.NDArray[Any]:
        """The different values in the rows used, in the order of the table."""
        if kind not in self.different:
            if kind == "category":
                cells: npt.NDArray[Any] = self.texts
            else:
                cells = (self.days if kind == "date" else self.numbers)[0]
            self.different[kind] = pd.unique(cells[self.present & self.used])
        return self.different[kind]


def infer(
    frame: pd.DataFrame,
    target: str,
    *,
    task: str | None = None,
    score: str | None = None,
    positive_class: str | None = None,
    drop: Sequence[str] = (),
    keep: Sequence[str] = (),
    categories: Sequence[str] = (),
    group: str | None = None,
    time: str | None = None,
    weight: str | None = None,
) -> Inferred:
    """What a table is for, and what each of its columns is.

    `frame` is that of `tables.read`. What is given is taken; the rest is inferred. Raises UserError
    for a column that is not there or has two roles, for cells that contradict what a column is,
    and for a table from which nothing can be learned.
    """
    names = [str(name) for name in frame]
    own = {"target": target, "group": group, "time": time, "weight": weight}
    lists = {"drop": drop, "keep": keep, "category": categories}
    _check_asked(names, own, lists)
    special = {name: role for role, name in own.items() if name is not None}
    aim = aim_of(frame[target], target, task, positive_class)
    chosen, told = score_of(aim, score)
    decisions = []
    for name in names:
        cells = _Cells(name, frame[name], aim.used)
        if name == target:
            decisions.append(Decision(name, "target", aim.why))
        elif name in special:
            decisions.append(SPECIAL[special[name]](cells))
        elif name in drop:
            decisions.append(Decision(name, "left out", "as asked"))
        else:
            decisions.append(_input(cells, name in keep, name in categories))
    return Inferred(
        task=aim.task,
        score=chosen,
        classes=aim.classes,
        drop=_named(decisions, "left out"),
        roles=_roles(decisions),
        decisions=tuple(decisions),
        left_out_classes=aim.left_out,
        notes=(*aim.notes, *told),
    )


def target_values(
    column: "pd.Series[Any]", task: str, classes: Sequence[str], left_out: Sequence[str] = ()
) -> tuple[npt.NDArray[np.int32] | npt.NDArray[np.float32], Flags]:
    """The targets of the rows that are used, (m,), and which of the table's n rows these are, (n,).

    Labels are int32, their positions in `classes`; numbers are float32. Rows without a target or
    with a class that is left out are not used. Raises UserError for any other label, for text
    among numbers, and for numbers that are not finite.

    >>> target_values(pd.Series(["b", None, "a ", "c"]), "classification", ("a", "b"), ("c",))
    (array([1, 0], dtype=int32), array([ True, False,  True, False]))
    """
    if task == "regression":
        values = _quantities(column, str(column.name))
        return values[~np.isnan(values)].astype(np.float32), ~np.isnan(values)
    named, others = (
        list(text_values(pd.Series([*labels], dtype=object))) for labels in (classes, left_out)
    )
    places = {label: place for place, label in enumerate(named)}
    places |= dict.fromkeys([MISSING, *others], UNUSED)
    codes, labels = pd.factorize(text_values(column))
    found = np.array([places.get(label, UNKNOWN) for label in labels], np.int32)[codes]
    if (found == UNKNOWN).any():
        raise UserError(
            f"column {column.name!r} must have the classes {_list(named)}, but "
            f"{listed(column, found == UNKNOWN)}; mend these rows, or infer the classes again"
        )
    return found[found >= 0], found >= 0


# What was asked for


def _check_asked(
    names: Sequence[str], own: Mapping[str, str | None], lists: Mapping[str, Sequence[str]]
) -> None:
    asked = [(role, name) for role, name in own.items() if name is not None]
    asked += [(option, name) for option, given in lists.items() for name in given]
    roles: dict[str, str] = {}
    for option, name in asked:
        if name not in names:
            raise UserError(f"unknown column {name!r} (--{option}){nearest(name, names)}")
        # A column that is kept may also be said to hold categories.
        other = roles.setdefault(name, option)
        if other != option and {other, option} != {"keep", "category"}:
            raise UserError(
                f"column {name!r} must have one role, but got both --{other} and --{option}"
            )


# Target


@dataclass(frozen=True, eq=False)
class Aim:
    """What the target says."""

    task: str
    classes: tuple[str, ...]
    left_out: tuple[str, ...]
    counts: tuple[int, ...]  # rows of each class
    used: Flags
    why: str
    notes: tuple[str, ...]


def aim_of(
    column: "pd.Series[Any]", name: str, task: str | None, positive_class: str | None
) -> Aim:
    cells = _Cells(name, column, np.ones(len(column), np.bool_))
    if task is not None and task not in TASKS:
        raise UserError(f"unknown task {task!r} (--task){nearest(task, TASKS)}")
    _check_rows(name, int(cells.present.sum()))
    task, why = (task, f"{task}, as asked") if task else _task(cells)
    missing = int((~cells.present).sum())
    notes = [f"{_rows(missing)} without a value of {name!r} left out"] if missing else []
    if task == "regression":
        if positive_class is not None:
            raise UserError(
                f"a regression has no positive class, but got --positive-class {positive_class}; "
                f"`--task classification` makes classes of {name!r}"
            )
        return _quantity(cells, why, notes)
    return _labels(cells, why, notes, positive_class)


def _check_rows(name: str, rows: int) -> None:
    if rows < FEWEST_ROWS:
        raise UserError(
            f"{_rows(rows)} with a usable value of {name!r}, but at least {FEWEST_ROWS} are "
            "needed: validation and test would have a handful each, in which chance hides every "
            "difference between techniques; add rows"
        )


def _task(cells: _Cells) -> tuple[str, str]:
    """The task that a target's values suggest, and why."""
    values, wrong = cells.numbers
    numbers = np.unique(values[cells.present & ~wrong])
    if wrong.any() or cells.truth:
        _check_almost_numbers(cells, "`--task classification` makes a class of each value")
        return "classification", (
            f"classification, since its values are {'true or false' if cells.truth else 'text'}"
        )
    _quantities(cells.column, cells.name)
    if not _whole(numbers) or len(numbers) > MOST_LABELS:
        whole = "whole " * _whole(numbers)
        return "regression", (
            f"regression, since it has {len(numbers):,} different {whole}numbers; "
            "`--task classification` makes classes of them"
        )
    return "classification", (
        f"classification, since it has {len(numbers)} different whole numbers, up to "
        f"{MOST_LABELS}; `--task regression` predicts them as numbers"
    )


def _quantity(cells: _Cells, why: str, notes: Sequence[str]) -> Aim:
    values = _quantities(cells.column, cells.name)
    seen = values[cells.present]
    if (seen == seen[0]).all():
        raise UserError(
            f"the target {cells.name!r} has the same value, {seen[0]:g}, in all "
            f"{_rows(len(seen))}; there is nothing to predict"
        )
    return Aim("regression", (), (), (), cells.present, why, tuple(notes))


def _quantities(column: "pd.Series[Any]", name: str) -> npt.NDArray[np.float64]:
    """A regression's targets, (n,), NaN where there is none."""
    values, wrong = number_values(column)
    largest = float(np.finfo(np.float32).max)
    for rows, expected in ((wrong, "numbers"), (np.abs(values) > largest, "finite numbers")):
        if rows.any():
            raise UserError(
                f"the target {name!r} of a regression must have {expected}, but "
                f"{listed(column, rows)}; mend these rows, or empty their cells to leave them out"
            )
    return values


def _labels(cells: _Cells, why: str, notes: Sequence[str], positive_class: str | None) -> Aim:
    counts = dict(zip(*np.unique(cells.texts[cells.present], return_counts=True), strict=True))
    labels = _sorted(counts)
    classes = [label for label in labels if counts[label] >= FEWEST_OF_CLASS]
    left_out = [label for label in labels if counts[label] < FEWEST_OF_CLASS]
    _check_classes(cells.name, labels, classes, counts)
    if positive_class is not None:
        classes = _with_positive(classes, positive_class)
    used: Flags = np.isin(cells.texts, np.array(classes, dtype=object))
    _check_rows(cells.name, int(used.sum()))
    if len(classes) == 2:
        why += (
            f"; classes {_list(classes)}, of which the second is the positive one, unless "
            f"`--positive-class {shlex.quote(classes[0])}` is given"
        )
    else:
        why += f"; {len(classes)} classes {_list(classes)}"
    return Aim(
        task="classification",
        classes=tuple(classes),
        left_out=tuple(left_out),
        counts=tuple(int(counts[label]) for label in classes),
        used=used,
        why=why,
        notes=(*notes, *_notes_on_labels(cells, labels, left_out, counts)),
    )


def _check_classes(
    name: str, labels: Sequence[str], classes: Sequence[str], counts: Mapping[str, int]
) -> None:
    if len(labels) == 1:
        raise UserError(
            f"the target {name!r} has one class, {shown_value(labels[0])}, in all "
            f"{_rows(counts[labels[0]])}; at least two are needed"
        )
    if len(classes) < 2:
        raise UserError(
            f"the target {name!r} has {len(labels):,} different values, but {len(classes)} of them "
            f"in at least {FEWEST_OF_CLASS} rows ({_counted(labels, counts)}); at least two such "
            "classes are needed: is it the right column? `--task regression` predicts numbers"
        )


def _with_positive(classes: Sequence[str], positive_class: str) -> list[str]:
    (positive,) = text_values(pd.Series([positive_class]))
    if positive not in classes:
        raise UserError(
            f"unknown class {positive_class!r} (--positive-class){nearest(positive, classes)}"
        )
    if len(classes) > 2:
        raise UserError(
            f"a positive class needs two classes, but there are {len(classes)} "
            f"({_list(classes)}); leave --positive-class out"
        )
    return sorted(classes, key=lambda label: label == positive)


def _notes_on_labels(
    cells: _Cells, labels: Sequence[str], left_out: Sequence[str], counts: Mapping[str, int]
) -> list[str]:
    notes = []
    if left_out:
        rows = sum(int(counts[label]) for label in left_out)
        notes.append(
            f"{_rows(rows)} of classes with fewer than {FEWEST_OF_CLASS} rows left out "
            f"({_counted(left_out, counts)})"
        )
    written = cells.column.value_counts(sort=False)
    blanks = written[[isinstance(text, str) and text != text.strip() for text in written.index]]
    if len(blanks):
        notes.append(
            f"blanks at the ends of {blanks.sum():,} labels removed (such as {blanks.index[0]!r})"
        )
    by_case: dict[str, list[str]] = {}
    for label in labels:
        by_case.setdefault(label.casefold(), []).append(label)
    notes += [
        f"the labels {_list(alike)} differ in case alone and are different classes; mend the file "
        "if they are one"
        for alike in by_case.values()
        if len(alike) > 1
    ]
    return notes


def score_of(aim: Aim, asked: str | None) -> tuple[str, list[str]]:
    """The score asked for, or one that fits; and a note where that is not the usual one."""
    known = SCORES[aim.task]
    if asked is None:
        return _balanced(aim) or (known[0], [])
    if asked not in known:
        raise UserError(f"unknown score {asked!r} of a {aim.task} (--score){nearest(asked, known)}")
    return asked, []


def _balanced(aim: Aim) -> tuple[str, list[str]] | None:
    """Balanced accuracy, where a class is so rare that accuracy would hardly tell it."""
    if not aim.counts or min(aim.counts) >= RARE * sum(aim.counts) / len(aim.counts):
        return None
    rarest = shown_value(aim.classes[int(np.argmin(aim.counts))])
    share = min(aim.counts) / sum(aim.counts)
    return "balanced_accuracy", [
        f"the score is balanced accuracy, since the rarest class, {rarest}, has {share:.1%} of the "
        "rows; `--score accuracy` takes accuracy"
    ]


# Group, time and weight


def _group(cells: _Cells) -> Decision:
    _check_each(cells, cells.present, "a group")
    groups = len(pd.unique(cells.texts[cells.used]))
    if groups < FEWEST_GROUPS:
        raise UserError(
            f"column {cells.name!r} (--group) must have at least {FEWEST_GROUPS} groups, for "
            f"training, validation and test, but has {groups}"
        )
    return Decision(cells.name, "group", f"as asked; {groups:,} groups, none of which is divided")


def _time(cells: _Cells) -> Decision:
    values, wrong = cells.numbers
    expected, kind = "a number", "numbers"
    _, no_date = cells.days
    if cells.share(~no_date) > cells.share(~wrong):
        values, wrong = cells.days
        expected, kind = "a date such as 2023-01-31", "dates"
    _check_each(cells, np.isfinite(values) & ~wrong, expected)
    return Decision(cells.name, "time", f"as asked; rows are ordered by its {kind}")


def _weight(cells: _Cells) -> Decision:
    values, wrong = cells.numbers
    good = ~wrong & (values > 0) & (values <= np.finfo(np.float32).max)
    _check_each(cells, good, "a positive, finite number")
    return Decision(cells.name, "weight", "as asked; weighs rows in loss and scores")


SPECIAL = {"group": _group, "time": _time, "weight": _weight}


def _check_each(cells: _Cells, good: Flags, expected: str) -> None:
    bad = cells.used & ~good
    if bad.any():
        raise UserError(
            f"column {cells.name!r} must have {expected} in every row, but "
            f"{listed(cells.column, bad)}; mend these rows, or leave the option out"
        )


# Inputs


def _input(cells: _Cells, keep: bool, category: bool) -> Decision:
    """What a column is that has no role of its own."""
    if category:
        return Decision(cells.name, "category", f"as asked; {_category(cells)}")
    kind = _kind(cells)
    reason = _useless(cells, kind)
    if reason and not keep:
        how = f"`--keep {cells.option}` keeps it"
        return Decision(cells.name, "left out", f"{reason}; {how}")
    told = {"number": _number, "date": _date, "category": _category}[kind](cells)
    asked = f"kept as asked, though it {reason}; " if reason else ""
    return Decision(cells.name, kind, f"{asked}{told}; {_otherwise(cells, kind)}")


def _kind(cells: _Cells) -> Kind:
    """Whether a column has numbers, dates or categories.

    Raises UserError if it has something else in a few cells.
    """
    if _is_date(cells.column):
        return "date"
    _, wrong = cells.numbers
    if cells.present.any() and cells.truth:
        return "category"
    if not wrong.any():
        _check_finite(cells)
        return "number"
    _, no_date = cells.days
    if cells.share(~no_date) >= NEARLY:
        if no_date.any():
            raise _few(cells, no_date, "dates")
        return "date"
    _check_almost_numbers(cells, _ways_out(cells))
    if len(cells.values("category")) > MOST_VALUES and cells.matching(OTHER_NUMBER) >= NEARLY:
        raise UserError(
            f"column {cells.name!r} has numbers in a form that can be read in two ways: "
            f"{listed(cells.column, wrong)}; write them with a decimal point and without a sign "
            f"between thousands, or say what the column is: {_ways_out(cells)}"
        )
    return "category"


def _is_date(column: "pd.Series[Any]") -> bool:
    return pd.api.types.is_datetime64_any_dtype(column.dtype)


def _check_finite(cells: _Cells) -> None:
    infinite = np.abs(cells.numbers[0]) > LARGEST
    if infinite.any():
        raise UserError(
            f"column {cells.name!r} must have finite numbers, of magnitude up to {LARGEST:g}, but "
            f"{listed(cells.column, infinite)}; mend these rows, or empty their cells, or "
            f"`--drop {cells.option}` leaves the column out"
        )


def _check_almost_numbers(cells: _Cells, ways_out: str) -> None:
    """Raises UserError if text is in a few cells of a column of numbers."""
    values, wrong = cells.numbers
    numbers = cells.share(~wrong)
    many = len(np.unique(values[cells.present & ~wrong])) > MOST_VALUES
    if wrong.any() and (numbers >= NEARLY or (numbers >= MOSTLY and many)):
        raise _few(cells, wrong, "numbers", ways_out)


def _few(cells: _Cells, wrong: Flags, what: str, ways_out: str = "") -> UserError:
    return UserError(
        f"column {cells.name!r} has {what}, but {listed(cells.column, wrong)}; mend these rows (an "
        f"empty cell is a missing value), or say what the column is: {ways_out or _ways_out(cells)}"
    )


def _ways_out(cells: _Cells) -> str:
    return f"`--category {cells.option}` makes it categories, `--drop {cells.option}` leaves it out"


def _useless(cells: _Cells, kind: Kind) -> str:
    """Why a column would not help on new rows; empty if it might."""
    values, rows = cells.values(kind), int(cells.used.sum())
    seen = int((cells.present & cells.used).sum())
    if not seen:
        return f"has no value in any of {_rows(rows)}"
    if len(values) == 1 and seen == rows:
        (value,) = cells.texts[cells.used][:1]
        return f"has the same value, {shown_value(value)}, in all {_rows(rows)}"
    different = f"has {len(values):,} different values in {_rows(rows)}"
    if kind == "number" and len(values) >= NEARLY * rows and _whole(values):
        return f"{different}, all whole numbers, as an identifier has"
    if kind == "category":
        if cells.matching(EITHER_DATE) >= NEARLY:
            first = cells.column.iloc[int(np.argmax(cells.present))]
            return (
                f"has dates such as {shown_value(first)} whose day and month can be taken for one "
                "another (2023-01-31 cannot)"
            )
        few = len(values) <= MOST_VALUES or len(values) < NEARLY * seen
        if len(values) >= NEARLY * rows or not few:
            return f"{different}, as an identifier or free text has"
    return ""


def _number(cells: _Cells) -> str:
    values = cells.values("number")
    whole = "whole " * _whole(values)
    return f"{len(values):,} different {whole}numbers{_missing(cells, 'get the median and a flag')}"


def _date(cells: _Cells) -> str:
    rest = _missing(cells, "get the median and a flag")
    return f"{len(cells.values('date')):,} different dates, as days since 1970{rest}"


def _category(cells: _Cells) -> str:
    number = len(cells.values("category"))
    rest = f", of which the {MOST_VALUES} most frequent count" if number > MOST_VALUES else ""
    return f"{number:,} categories{rest}{_missing(cells, 'are one more')}"


def _missing(cells: _Cells, what: str) -> str:
    """How many cells have no value, by which words, and what becomes of them."""
    rows = cells.used & ~cells.present
    if not rows.any():
        return ""
    words = pd.unique(cells.column[rows].dropna().astype(str))
    told = f" ({_list(words)})" if len(words) else ""
    return f", {int(rows.sum()):,} without a value{told} {what}"


def _otherwise(cells: _Cells, kind: Kind) -> str:
    return f"`--drop {cells.option}` leaves it out" if kind == "category" else _ways_out(cells)


def _roles(decisions: Sequence[Decision]) -> Roles:
    roles = Roles(
        numbers=_named(decisions, "number"),
        categories=_named(decisions, "category"),
        dates=_named(decisions, "date"),
    )
    if not roles.all:
        left_out = [f"{one.column} ({one.why})" for one in decisions if one.role == "left out"]
        told = f"; left out: {', '.join(left_out[:3])}" if left_out else ""
        raise UserError(f"the table has no column to predict the target from{told}")
    return roles


def _named(decisions: Sequence[Decision], role: str) -> tuple[str, ...]:
    return tuple(decision.column for decision in decisions if decision.role == role)


# Words


def _sorted(labels: Iterable[str]) -> list[str]:
    """Numbers by size, other labels by their characters.

    >>> _sorted(["10", "9", "-1"]), _sorted(["b", "10", "9"])
    (['-1', '9', '10'], ['10', '9', 'b'])
    """
    texts = sorted(map(str, labels))
    values, wrong = number_values(pd.Series(texts, dtype=object))
    if wrong.any() or {*texts} & {"True", "False"}:
        return texts
    return [texts[place] for place in np.argsort(values, kind="stable")]


def _whole(values: npt.NDArray[np.float64]) -> bool:
    return bool((values == np.floor(values)).all())


def _rows(number: int) -> str:
    return f"{number:,} row{'s' if number != 1 else ''}"


def _list(values: Iterable[Any], most: int = 5) -> str:
    shown = [shown_value(str(value)) for value in values]
    return ", ".join(shown[:most] + (["..."] if len(shown) > most else []))


def _counted(labels: Sequence[str], counts: Mapping[str, int], most: int = 5) -> str:
    shown = [f"{shown_value(label)}: {counts[label]:,}" for label in labels[:most]]
    return ", ".join(shown + (["..."] if len(labels) > most else []))
