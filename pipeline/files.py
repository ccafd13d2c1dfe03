"""Writes files whole or not at all, inside the project, and reads nothing but what was written.

A stage writes a manifest beside its files, with the size and SHA-256 of each; who reads one of them
compares. Files of earlier versions have no manifest and are read as they are. A folder that takes
no files is told as such.
"""

import errno
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import replace as replaced
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

from pipeline.errors import UserError

NEEDED = 4 << 20  # free bytes of a folder's disk, with fewer of which no work starts
_FULL = ("has no space left", "Free space there")
_DENIED = ("cannot be used: permission denied", "Give yourself the right to write there")
REFUSED = {  # error number of the system: what it says of a folder, and what to do
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: ("can only be read", "Make it writable"),
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EIO: ("cannot be read or written: input/output error", "Check its disk"),
    errno.ESTALE: ("is no longer served by its file server", "Mount it again"),
    errno.EFBIG: ("takes no file as large as this", "Raise the limit (`ulimit -f`)"),
}

if TYPE_CHECKING:  # prepare and fetch need no pandas; outside the environment is no NumPy
    import numpy as np
    import pandas as pd

STUDIES = "studies"  # the folder of studies with other values, which share the project's data


# Writing


def check_place(path: Path) -> None:
    """Raises UserError if a link leads from the project to a folder outside it, where `path` is.

    Results can come from others, as by `dvc pull`. A path that is outside the project as it stands
    is a caller's own choice.
    """
    here = Path.cwd()
    folder = Path(os.path.abspath(path)).parent
    if not folder.is_relative_to(here):
        return
    project = here.parents[1] if here.parent.name == STUDIES else here
    real = folder.resolve()
    if not real.is_relative_to(project):
        link = next(part for part in (folder, *folder.parents) if part.is_symlink())
        raise UserError(
            f"cannot write {path.name}: {link.relative_to(here)} is a link to {real}, outside this"
            " project; expected a folder: remove the link and run the command again"
        )


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A scratch file beside `path`, which replaces it if the block raises nothing.

    A process that is killed leaves the old file. The old contents are never written to, since
    DVC's outputs are hard links into its cache. Raises UserError outside the project.
    """
    check_place(path)
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
    the others are replaced, so wherever it exists, all are from the same run. Raises UserError
    outside the project.
    """
    for path in paths:
        check_place(path)
        if path.is_mount():  # its content would be gone before the system refuses
            raise UserError(
                f"{path} is where a disk is mounted, so it cannot be replaced; finished runs are "
                f"kept. Unmount it, or mount {path.parent} instead, then run the same command again"
            )
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


# Reading


def manifest(folder: Path, stage: str) -> Path:
    """The manifest of the files that a stage writes to a folder."""
    return folder / f"manifest-{stage}.json"


def write_manifest(path: Path, files: Mapping[str, Path]) -> None:
    """Writes size and SHA-256 of files, under their names relative to the manifest's folder."""
    content = {
        name: {"bytes": file.stat().st_size, "sha256": _sha256(file)}
        for name, file in sorted(files.items())
    }
    replace_text(path, json.dumps({"files": content, "sum": _sum(content)}, indent=2) + "\n")


def read_manifest(path: Path, command: str) -> Mapping[str, Mapping[str, Any]]:
    """Name → `bytes` and `sha256` of each file; empty without a manifest.

    `command`: makes it again. Raises UserError if it is damaged.
    """
    if not path.exists():
        return {}
    with reading(path, command):
        content = json.loads(path.read_text(encoding="utf-8"))
        files: Mapping[str, Mapping[str, Any]] = content["files"]
        if content["sum"] != _sum(files):
            raise ValueError("its sum is that of other content")
    return files


def check_listed(path: Path, manifest: Path, command: str) -> None:
    """Raises UserError if a file is not the one that its manifest lists, if it lists it."""
    name = path.relative_to(manifest.parent).as_posix()
    listed = read_manifest(manifest, command).get(name)
    if listed is None:
        return
    if not path.is_file():
        raise UserError(f"{path} is missing; {_remedy(path, command)}")
    size = path.stat().st_size
    if size != listed["bytes"]:
        reason = f"expected {listed['bytes']} bytes, but it has {size}"
    elif _sha256(path) != listed["sha256"]:
        reason = f"its content is not the one in {manifest.name}"
    else:
        return
    raise UserError(f"{path} is damaged or changed: {reason}; {_remedy(path, command)}")


@contextmanager
def reading(path: Path, command: str) -> Iterator[None]:
    """Within the block a file is read: whatever it raises is a UserError that says what to do.

    A damaged file can raise any error of zipfile, zlib, struct, NumPy, pandas, Arrow and json.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        words = " ".join(f"{type(error).__name__}: {error}".split())[:120]
        raise UserError(f"{path} is damaged ({words}); {_remedy(path, command)}") from error


def _remedy(path: Path, command: str) -> str:
    return (
        f"run `{command}` to make it again, or `dvc checkout --force {path}` to take it from DVC's"
        " cache"
    )


def check_archive(path: Path) -> None:
    """Raises an error of zipfile or zlib if a zip file, such as .keras, is not whole."""
    with ZipFile(path) as archive:
        if (damaged := archive.testzip()) is not None:
            raise ValueError(f"{damaged} does not match its checksum")


class Arrays(Mapping[str, "np.ndarray"]):
    """The arrays of an open .npz file; unlike NumPy's, each is compared with its checksum."""

    def __init__(self, archive: ZipFile) -> None:
        self._archive = archive
        for member in archive.infolist():
            archive.open(member).close()  # raises BadZipFile if its name stands twice, differently

    def __getitem__(self, name: str) -> "np.ndarray":
        import numpy as np

        content = io.BytesIO(self._archive.read(f"{name}.npy"))
        array: np.ndarray = np.lib.format.read_array(content, allow_pickle=False)
        return array

    def __iter__(self) -> Iterator[str]:
        return (name.removesuffix(".npy") for name in self._archive.namelist())

    def __len__(self) -> int:
        return len(self._archive.namelist())


@contextmanager
def arrays(path: Path) -> Iterator[Arrays]:
    """The arrays of an .npz file, read one by one."""
    with ZipFile(path) as archive:
        yield Arrays(archive)


def _sum(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    state = path.stat()
    return _sha256_of(path.absolute(), state.st_ino, state.st_size, state.st_mtime_ns)


@cache
def _sha256_of(path: Path, *state: int) -> str:
    """The digest of a file; a stage reads some of them several times."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# Folders that take no files


@dataclass(frozen=True)
class Refusal:
    """A folder that takes no files."""

    folder: Path
    number: int  # a key of `REFUSED`

    def __str__(self) -> str:
        """Such as `results has no space left`."""
        shown = self.folder if self.folder.name else self.folder.absolute()
        return f"{shown} {REFUSED[self.number][0]}"

    @property
    def remedy(self) -> str:
        """Such as `Free space there`."""
        return REFUSED[self.number][1]


def refusal(folder: Path) -> Refusal | None:
    """Why this folder, or the one that it would be made in, takes no files; None if it takes some.

    It must have `NEEDED` bytes free.
    """
    try:
        with tempfile.TemporaryFile(dir=_present(folder)) as file:
            os.posix_fallocate(file.fileno(), 0, NEEDED)
    except OSError as error:
        # Any other error is one of the probe: not every file system can reserve space.
        return _refusal(folder, error)
    return None


def check_writable(folders: Iterable[Path]) -> None:
    """Raises UserError unless all these folders take files, or can be made where they would be."""
    for folder in folders:
        if refused := refusal(folder):
            raise UserError(
                f"{refused}, so nothing was begun; what is finished is kept. {refused.remedy}, "
                "then run the same command again"
            )


def refused_write(error: BaseException | None, folders: Iterable[Path]) -> Refusal | None:
    """Which folder took no more files, if that is the reason of an error, else None.

    Looks also at what the error was raised from. `folders`: at least one; where the error may be
    from if it names no file, as one of a file that is already open.
    """
    while error is not None:
        refused = _refusal(Path(), error) if isinstance(error, OSError) else None
        named = isinstance(error, OSError) and (error.filename2 or error.filename)
        if refused and named:
            return replaced(refused, folder=Path(named).parent)
        number = refused.number if refused else _number(str(error))
        if number is not None:
            places = [*folders]
            fullest = Refusal(min(places, key=_free), number)  # what was half written is gone
            return next(filter(None, map(refusal, places)), fullest)
        error = error.__cause__ or error.__context__
    return None


def _number(message: str) -> int | None:
    """The number of an error that is no OSError, such as one of SQLite or TensorFlow."""
    words = {
        "database or disk is full": errno.ENOSPC,
        "readonly database": errno.EROFS,
        os.strerror(errno.ENOSPC): errno.ENOSPC,
        os.strerror(errno.EROFS): errno.EROFS,
    }
    return next((number for text, number in words.items() if text in message), None)


def _free(folder: Path) -> int:
    """Free bytes of a folder's disk."""
    return shutil.disk_usage(_present(folder)).free


def _present(folder: Path) -> Path:
    """The folder, or the next one above it that exists."""
    places = (folder.absolute(), *folder.absolute().parents)
    return next(path for path in places if path.is_dir())


def _refusal(folder: Path, error: OSError) -> Refusal | None:
    return Refusal(folder, error.errno) if error.errno in REFUSED else None
