"""Files that are written whole or not at all."""

from collections.abc import Callable, Iterator
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
