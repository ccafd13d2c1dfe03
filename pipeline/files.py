"""Writes files whole or not at all."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # prepare and fetch need no pandas
    import pandas as pd


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A scratch file beside `path`, which replaces it if the block raises nothing.

    A process that is killed leaves the old file. The old contents are never written to, since
    DVC's outputs are hard links into its cache.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".partial-{path.name}")  # the suffix sets the format for some writers
    scratch.unlink(missing_ok=True)  # left by a killed process
    try:
        yield scratch
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


@contextmanager
def replacing_together(paths: Sequence[Path]) -> Iterator[Mapping[Path, Path]]:
    """A scratch path for each of these files and folders; they replace all of them, or none.

    Old files stay until the block has ended without an exception. The last path is absent while
    the others are replaced, so wherever it exists, all are from the same run.
    """
    scratch = {path: path.with_name(f".partial-{path.name}") for path in paths}
    for path, partial in scratch.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(partial)  # left by a killed process
    try:
        yield scratch
        try:
            _swap(scratch)
        except KeyboardInterrupt:  # must not leave some replaced and others not
            _swap(scratch)
            raise
    finally:
        for partial in scratch.values():
            _remove(partial)


def _swap(scratch: Mapping[Path, Path]) -> None:
    """Moves the scratch paths that still exist to their targets."""
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
    """Replaces the file by what `write` writes to the path that it is given."""
    with replacing(path) as scratch:
        write(scratch)


def replace_text(path: Path, text: str) -> None:
    """Replaces the file by this text, as UTF-8."""
    replace(path, lambda scratch: scratch.write_text(text, encoding="utf-8"))


def replace_csv(path: Path, table: "pd.DataFrame", digits: int) -> None:
    """Replaces the file by a CSV table, rounded so that machines agree on it.

    `digits`: significant digits.
    """
    replace(path, lambda scratch: table.to_csv(scratch, index=False, float_format=f"%.{digits}g"))
