"""Finished runs, kept through interruptions and changes of the code.

A journal is a folder outside DVC. Each finished run adds its files, then one line to `runs.jsonl`,
in this order, so a killed process leaves either a whole result or none. Results of different
versions of the code are kept side by side: the code is part of a run's key.
"""

import fcntl
import io
import json
import logging
import os
import shutil
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline.errors import UserError
from pipeline.execution.host import Hosts
from pipeline.techniques.changes import class_named
from pipeline.training.identity import code_digest, measuring_digest
from pipeline.training.runs import Result, Run

FOLDER = "JOURNAL_FOLDER"  # the environment variable with another place for all journals
ROOT = Path(os.environ[FOLDER]).absolute() if os.environ.get(FOLDER) else Path(".journal")
LINES = "runs.jsonl"
OTHERS_BYTES = 5 * 10**9  # at most, of a study's results from other versions of the code
WORKERS_OWN = "programs-"
SYNCS = 16  # at once: the file system writes them to the disk together, in a third of the time
CHECKPOINT = ".checkpoint.npz"
TRAINED = {"curves": ".npz", "model": ".keras", "weights": ".weights.npz"}
MEASURED = {"probabilities": ".probabilities.npy", "inspection": ".inspection.npz"}

State = Literal["kept", "to measure", "missing"]

_log = logging.getLogger(__name__)


@contextmanager
def at_work(study: str) -> Iterator[None]:
    """Locks a study: one process at a time writes to its journal and its MLflow experiment.

    Raises UserError if another process has the lock, or if the file system has no locks. A process
    that is killed releases it.
    """
    path = ROOT / f"{study}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{study}: another process is tuning, training or publishing this study; "
                f"wait for it ({path})"
            ) from None
        except OSError as error:
            raise UserError(
                f"{path}: files cannot be locked here ({error.strerror}), so two processes could "
                f"write one journal; expected a file system with locks: set {FOLDER} to a folder "
                "on a local disk, for every command of this project, and run it again"
            ) from error
        yield


@dataclass(frozen=True)
class Stamp:
    """Identifies the content of a file: its number of bytes and their CRC-32."""

    size: int
    crc: int

    @classmethod
    def of(cls, content: bytes) -> "Stamp":
        """The stamp of a file with this content."""
        return cls(len(content), zlib.crc32(content))

    def fits(self, path: Path) -> bool:
        """Whether the file exists with this content."""
        try:
            return path.stat().st_size == self.size and Stamp.of(path.read_bytes()) == self
        except OSError:
            return False


@dataclass(frozen=True)
class Entry:
    """A line of the journal: a finished run, the code that made it, and its files."""

    key: str
    code: str  # digest of the code that trained it
    parts: tuple[str, ...]  # the classes of its change, whose code is in that digest
    measuring: str | None  # digest of the code that measured its model; None for a trial
    trained: Mapping[str, float]
    measured: Mapping[str, float]
    files: Mapping[str, Stamp] = field(default_factory=dict)  # by the ending of the name

    @property
    def size(self) -> int:
        """Bytes of its files, without the checkpoint, which is deleted later."""
        return sum(stamp.size for ending, stamp in self.files.items() if ending != CHECKPOINT)

    @property
    def final(self) -> bool:
        """Whether it is a final run, which has a model."""
        return TRAINED["model"] in self.files

    @property
    def is_current(self) -> bool:
        """Whether the current code would give the run the same key."""
        classes = [class_named(name) for name in self.parts]
        present = tuple(cls for cls in classes if cls is not None)
        return len(present) == len(classes) and self.code == code_digest(present)

    def line(self) -> bytes:
        """The entry as a line of JSON that ends with a checksum of the rest."""
        body = json.dumps(asdict(self))[:-1].encode()
        return body + _SUM + b"%d}\n" % zlib.crc32(body)

    @classmethod
    def of_line(cls, line: bytes) -> "Entry":
        """The inverse of `line`. Raises ValueError if the line is damaged."""
        body, _, checksum = line.rpartition(_SUM)
        if checksum != b"%d}\n" % zlib.crc32(body):
            raise ValueError("the checksum does not match the line")
        fields = json.loads(body + b"}")
        files = {ending: Stamp(**stamp) for ending, stamp in fields["files"].items()}
        return cls(**fields | {"parts": tuple(fields["parts"]), "files": files})


_SUM = b', "sum": '


@dataclass(frozen=True)
class Content:
    """The content of a journal's lines."""

    entries: Mapping[str, Entry]  # by key, the oldest first
    damaged: int  # number of lines
    cut: bool  # whether the last line is incomplete, since the process was killed

    @classmethod
    def of(cls, path: Path) -> "Content":
        """Reads the lines. The last line of a key replaces earlier ones."""
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        cut = bool(lines) and not lines[-1].endswith(b"\n")
        entries: dict[str, Entry] = {}
        damaged = 0
        for line in lines[: len(lines) - cut]:
            try:
                entry = Entry.of_line(line)
            except ValueError:
                damaged += 1
                continue
            entries.pop(entry.key, None)
            entries[entry.key] = entry
        return cls(entries, damaged, cut)


class Journal:
    """The finished runs of one study, from all versions of the code."""

    def __init__(self, study: str, root: Path = ROOT) -> None:
        self.study, self.folder = study, root / study
        self.folder.mkdir(parents=True, exist_ok=True)
        self.programs = root / "programs"  # compiled; for all studies and versions of the code
        self.hosts = Hosts(root / f"{study}.hosts.jsonl")  # where the runs were trained
        self._lines = self.folder / LINES
        content = Content.of(self._lines)
        self._entries = dict(content.entries)
        self._states: dict[str, State] = {}  # of the entries whose files have been checked
        self._damaged = content.damaged  # lines and entries not yet reported
        if content.damaged or content.cut:
            self._rewrite()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: str) -> bool:
        """Whether the run with this key is listed, its files being whole or not."""
        return key in self._entries

    def states(self, runs: Iterable[Run]) -> list[State]:
        """The states of runs: finished, to be measured again, or not finished.

        Reads the files of the runs. Damaged ones are reported in a warning and made again.
        """
        states = [self._state(run.key) for run in runs]
        if self._damaged:
            _log.warning(
                "%s: %d damaged entries in %s are made again",
                self.study,
                self._damaged,
                self.folder,
            )
            self._damaged = 0
        return states

    def _state(self, key: str) -> State:
        if key not in self._entries:
            return "missing"
        if key not in self._states:
            self._states[key] = self._checked(self._entries[key])
        return self._states[key]

    def _checked(self, entry: Entry) -> State:
        damaged = {
            ending
            for ending, stamp in entry.files.items()
            if ending != CHECKPOINT and not stamp.fits(self._path(entry.key, ending))
        }
        self._damaged += bool(damaged)
        if damaged & {*TRAINED.values()}:
            return "missing"
        outdated = entry.final and entry.measuring != measuring_digest()
        return "to measure" if damaged or outdated else "kept"

    def _path(self, key: str, ending: str) -> Path:
        return self.folder / f"{key}{ending}"

    def result(self, key: str) -> Result:
        """A finished run's measures and curves; larger files have their own methods.

        Without a trial's test scores, so that no search can read them.
        """
        entry = self._entries[key]
        path = self._path(key, TRAINED["curves"])
        curves = _arrays(path) if TRAINED["curves"] in entry.files else None
        measured = entry.measured if entry.final else {}
        return Result(key, entry.trained, curves, measured=measured)

    def scores(self, key: str) -> Mapping[str, float] | None:
        """A trial's scores on test examples, computed after the choice; None if they are not."""
        entry = self._entries[key]
        return entry.measured if entry.measuring == measuring_digest() else None

    def model_path(self, key: str) -> Path:
        """The path of a final run's .keras file."""
        return self._path(key, TRAINED["model"])

    def weights_path(self, key: str) -> Path | None:
        """The path of a trial's weights; None if they are not kept, since they are large."""
        entry = self._entries.get(key)
        kept = entry is not None and TRAINED["weights"] in entry.files
        return self._path(key, TRAINED["weights"]) if kept else None

    def probabilities(self, key: str) -> np.ndarray:
        """The outputs of a final run's model for the test examples, (n, units) float32."""
        outputs: np.ndarray = np.load(self._path(key, MEASURED["probabilities"]))
        return outputs

    def inspection(self, key: str) -> dict[str, np.ndarray]:
        """Arrays from inside an inspected run's model, by name."""
        return _arrays(self._path(key, MEASURED["inspection"]))

    def checkpoint_path(self, key: str) -> Path:
        """The path of the checkpoint of a resumable run."""
        return self._path(key, CHECKPOINT)

    def checkpoint(self, key: str | None) -> Path | None:
        """The path of a run's checkpoint if it exists and is intact, else None."""
        stamp = self._entries[key].files.get(CHECKPOINT) if key in self._entries else None
        if key is None or stamp is None or not stamp.fits(self.checkpoint_path(key)):
            return None
        return self.checkpoint_path(key)

    def keep_checkpoints(self, keys: Collection[str | None]) -> None:
        """Deletes the checkpoints of all other runs, from which no run will continue."""
        kept = {self.checkpoint_path(key) for key in keys if key is not None}
        for path in set(self.folder.glob(f"*{CHECKPOINT}")) - kept:
            path.unlink()

    def drop_checkpoint(self, key: str | None) -> None:
        """Deletes a run's checkpoint, if any, once the run that continues from it is finished."""
        if key is not None:
            self.checkpoint_path(key).unlink(missing_ok=True)

    def add(self, runs: Sequence[Run], results: Sequence[Result]) -> None:
        """Adds the results of runs; returns when they are safely on the disk."""
        files = {result.key: _contents(result) for result in results}
        self._write(files)
        entries = [
            _entry(run, result, files[result.key])
            for run, result in zip(runs, results, strict=True)
        ]
        self._append(entries)

    def measured(self, results: Sequence[Result]) -> None:
        """Replaces the measures of finished runs whose models were measured, or measured again."""
        files = {result.key: _contents(result) for result in results}
        self._write(files)
        self._append([self._measured(result, files[result.key]) for result in results])

    def _measured(self, result: Result, files: Mapping[str, bytes]) -> Entry:
        entry = self._entries[result.key]
        kept = {
            ending: stamp
            for ending, stamp in entry.files.items()
            if ending not in MEASURED.values()
        }
        stamps = {ending: Stamp.of(content) for ending, content in files.items()}
        measured = {"measuring": measuring_digest(), "measured": result.measured}
        return Entry(**asdict(entry) | measured | {"files": kept | stamps})

    def _write(self, contents: Mapping[str, Mapping[str, bytes]]) -> None:
        """Writes files, key → ending → content; all are on the disk before any is renamed."""
        scratch: dict[Path, Path] = {}
        try:
            for key, files in contents.items():
                for ending, content in files.items():
                    path = self._path(key, ending)
                    scratch[path] = path.with_name(f"{path.name}.partial")
                    scratch[path].write_bytes(content)
            if scratch:
                with ThreadPoolExecutor(SYNCS) as pool:
                    list(pool.map(_sync, scratch.values()))
        except OSError:  # a full disk needs the space
            self._delete(scratch.values())
            raise
        for path, partial in scratch.items():
            partial.replace(path)
        if scratch:
            _sync(self.folder)

    def _append(self, entries: Sequence[Entry]) -> None:
        with self._lines.open("ab") as file:
            file.write(b"".join(entry.line() for entry in entries))
            file.flush()
            os.fsync(file.fileno())
        for entry in entries:
            self._entries[entry.key] = entry
            self._states[entry.key] = "kept"

    def _rewrite(self) -> None:
        """Rewrites the lines of the remaining entries."""
        partial = self._lines.with_name(f"{LINES}.partial")
        partial.write_bytes(b"".join(entry.line() for entry in self._entries.values()))
        _sync(partial)
        partial.replace(self._lines)

    def trim(self, limit: int = OTHERS_BYTES) -> None:
        """Deletes the oldest results of other code until the others fit into `limit` bytes."""
        others = [entry for entry in self._entries.values() if not entry.is_current]
        unlisted = _size(self._unlisted())
        size = unlisted + sum(entry.size for entry in others)
        if unlisted and size > limit:
            self._delete(self._unlisted())
            size -= unlisted
        keys = []
        for entry in others:
            if size <= limit:
                break
            keys.append(entry.key)
            size -= entry.size
        self._forget(keys)

    def prune(self) -> None:
        """Deletes all results that the current code did not make."""
        self._forget([key for key, entry in self._entries.items() if not entry.is_current])
        self._delete(self._unlisted())
        self.hosts.keep(self._entries)

    def _forget(self, keys: Collection[str]) -> None:
        if not keys:
            return
        paths = [self._path(key, ending) for key in keys for ending in self._entries.pop(key).files]
        self._rewrite()  # first: lines without their files would count as damaged
        self._delete(paths)

    def _unlisted(self) -> list[Path]:
        """Files of no entry: from earlier versions of the journal, or left by killed processes."""
        listed = {
            self._path(key, ending)
            for key, entry in self._entries.items()
            for ending in entry.files
        }
        listed |= {self._lines, *self.folder.glob(f"{WORKERS_OWN}*")}
        return [path for path in self.folder.iterdir() if path not in listed]

    def worker_folder(self, slot: int) -> Path:
        """The folder of a worker process's own copies of compiled programs."""
        return self.folder / f"{WORKERS_OWN}{slot}"

    def _delete(self, paths: Iterable[Path]) -> None:
        for path in paths:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    @property
    def usage(self) -> "Usage":
        """The numbers and sizes of results of the current code and of other code."""
        current = [entry for entry in self._entries.values() if entry.is_current]
        others = [entry for entry in self._entries.values() if not entry.is_current]
        return Usage(
            len(current),
            sum(entry.size for entry in current),
            len(others),
            sum(entry.size for entry in others) + _size(self._unlisted()),
        )


@dataclass(frozen=True)
class Usage:
    """Entries of a journal and bytes of their files, by whether the current code made them.

    Files that earlier versions of the journal left count only as bytes.
    """

    current: int
    current_bytes: int
    others: int
    others_bytes: int


def _entry(run: Run, result: Result, files: Mapping[str, bytes]) -> Entry:
    classes = run.change.part_classes()
    return Entry(
        key=result.key,
        code=code_digest(classes),
        parts=tuple(cls.__name__ for cls in classes),
        measuring=measuring_digest() if result.measured else None,
        trained=dict(result.trained),
        measured=dict(result.measured),
        files={ending: Stamp.of(content) for ending, content in files.items()},
    )


def _contents(result: Result) -> dict[str, bytes]:
    """The files of a result: ending → content."""
    files: dict[str, bytes] = {}
    if result.checkpoint is not None:
        files[CHECKPOINT] = _archive(result.checkpoint)
    if result.curves is not None:
        files[TRAINED["curves"]] = _archive(result.curves)
    if result.model is not None:
        files[TRAINED["model"]] = result.model
    if result.weights is not None:
        numbered = {f"{index:03}": array for index, array in enumerate(result.weights)}
        files[TRAINED["weights"]] = _archive(numbered)
    if result.probabilities is not None:
        files[MEASURED["probabilities"]] = _array(result.probabilities)
    if result.inspection is not None:
        files[MEASURED["inspection"]] = _archive(result.inspection, compressed=True)
    return files


def _archive(arrays: Mapping[str, np.ndarray], compressed: bool = False) -> bytes:
    """Arrays as the bytes of an .npz file."""
    by_name: dict[str, Any] = dict(arrays)
    content = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(content, **by_name)
    return content.getvalue()


def _array(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _sync(path: Path) -> None:
    """Returns once the file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _size(paths: Iterable[Path]) -> int:
    """Bytes of files, and of all files in folders."""
    files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*"))]
    return sum(file.stat().st_size for file in files if file.is_file())
