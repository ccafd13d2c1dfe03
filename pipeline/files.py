"""Files that are written whole or not at all."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # prepare and fetch need no pandas
    import pandas as pd


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A scratch file beside the path, to be filled; it is put in place unless something is raised.

    A kill leaves the old file. Nor does anything change behind a hard link: DVC's outputs are
    links into its cache.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".partial-{path.name}")  # the suffix tells some writers the format
    scratch.unlink(missing_ok=True)  # what a kill left
    try:
        yield scratch
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


@contextmanager
def replacing_together(paths: Sequence[Path]) -> Iterator[Mapping[Path, Path]]:
    """A scratch path for each of these files and folders; all take their places unless one fails.

    Until then the old ones stay. The last path is missing while places change, so that where it is,
    everything is of one making.
    """
    scratch = {path: path.with_name(f".partial-{path.name}") for path in paths}
    for path, partial in scratch.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(partial)  # what a kill left
    try:
        yield scratch
        try:
            _swap(scratch)
        except KeyboardInterrupt:  # which shall not leave them half changed
            _swap(scratch)
            raise
    finally:
        for partial in scratch.values():
            _remove(partial)


def _swap(scratch: Mapping[Path, Path]) -> None:
    """Puts what is left of the scratch paths in their places."""
    _remove([*scratch][-1])
    for path, partial in scratch.items():
        if partial.exists():
            _remove(path)
            partial.replace(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Lets `write` fill the file."""
    with replacing(path) as scratch:
        write(scratch)


def replace_text(path: Path, text: str) -> None:
    """Writes text as UTF-8."""
    replace(path, lambda scratch: scratch.write_text(text, encoding="utf-8"))


def replace_csv(path: Path, table: "pd.DataFrame", digits: int) -> None:
    """Writes a table as CSV, rounded to significant digits so that machines agree on it."""
    replace(path, lambda s: table.to_csv(s, index=False, float_format=f"%.{digits}g"))
