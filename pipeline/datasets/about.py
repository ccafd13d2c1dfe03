"""results/<study>/about.json: what reports say about a study's data."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import TypeAdapter, ValidationError

from pipeline.datasets import PARTS, PROTOCOLS, Dataset, Part, Protocol
from pipeline.errors import UserError
from pipeline.files import check_listed, manifest, reading, replace_text

FILE = "about.json"
OWN = ("table", "folder", "arrays")  # sources of people's own data


@dataclass(frozen=True)
class About:
    """A study's data: everything that a page says about them and that is not a result."""

    study: str
    source: str  # its name in `sources.SOURCES`
    title: str
    description: str  # what the examples are, and what is predicted; may be empty
    leak: str  # what is wrong with the article's own split; empty if nothing is
    task: str  # its name in `task.TASKS`
    input_shape: tuple[int, ...]  # of one example
    sizes: Mapping[Protocol, Mapping[Part, int]]  # examples of each part, in one draw
    draws: Mapping[Protocol, int]
    random_trials: int  # of each search: its first ones, which do not depend on earlier trials
    same_rows: bool = False  # whether the article's setting has the rows of the tuned one
    outcomes: tuple[str, ...] = ()  # compared beside the score, as one family; named beforehand
    own: bool = False  # whether they are the user's own data, of which no article speaks
    classes: tuple[str, ...] = ()  # names of the classes, or their numbers; of a regression none
    balance: Mapping[str, int] = field(default_factory=dict)  # class -> examples of one draw
    target: str = ""  # the name of what is predicted, if it has one
    spread: float = 0.0  # the standard deviation of a regression's targets
    columns: tuple[tuple[str, str], ...] = ()  # of a table: a column, and what became of it
    origin: str = ""  # of people's own data, if their section says so
    licence: str = ""
    hosts: str = ""  # where runs that are compared were trained on machines of different kinds

    @classmethod
    def of(
        cls,
        data: Dataset,
        task: str,
        random_trials: int,
        outcomes: tuple[str, ...] = (),
        target: str = "",
        columns: tuple[tuple[str, str], ...] = (),
        origin: str = "",
        licence: str = "",
    ) -> Self:
        """The description of a prepared data set."""
        classes = data.classes or tuple(map(str, range(data.n_classes)))
        # Of the first draw: where each draw has a copy of the file's rows, all would count twice.
        y = data.y[np.concatenate([data.rows("leak_free", part, 0) for part in PARTS])]
        return cls(
            study=data.name,
            source=data.source,
            title=data.title or data.name,
            description=data.description,
            leak=data.leak,
            task=task,
            input_shape=data.input_shape,
            sizes={
                protocol: {part: data.rows(protocol, part, 0).size for part in PARTS}
                for protocol in PROTOCOLS
            },
            draws={protocol: data.draws(protocol) for protocol in PROTOCOLS},
            random_trials=random_trials,
            same_rows=all(
                np.array_equal(data.splits["article"][part], data.splits["leak_free"][part])
                for part in PARTS
            ),
            outcomes=outcomes,
            own=data.source in OWN,
            classes=classes if data.task.labels else (),
            balance={name: int(np.sum(y == label)) for label, name in enumerate(classes)}
            if data.task.labels
            else {},
            target=target,
            spread=0.0 if data.task.labels else float(np.std(y, dtype=np.float64)),
            columns=columns,
            origin=origin,
            licence=licence,
        )


def write(about: About, path: Path) -> None:
    """Writes it as indented JSON, whole or not at all."""
    replace_text(path, json.dumps(asdict(about), indent=2) + "\n")


def read(folder: Path) -> About:
    """What `write` wrote to a study's folder. Raises UserError if it is missing or invalid."""
    path, made_by = folder / FILE, f"python -m pipeline train {folder.name}"
    check_listed(path, manifest(folder, "train"), made_by)
    try:
        with reading(path, made_by):
            text = path.read_text(encoding="utf-8") if path.exists() else None
        if text is not None:
            return TypeAdapter(About).validate_json(text)
        reason = "is missing"
    except ValidationError as error:
        reason = f"is not valid: {error.errors()[0]['msg']}"
    raise UserError(f"{path} {reason}; run `{made_by}`")
