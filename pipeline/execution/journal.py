"""What has been finished, kept through interruptions.

A journal is a folder that DVC does not know. Each finished unit adds its files, then one line to
`units.jsonl`, in that order, so a kill at any moment leaves either a whole result or none.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import UserError
from pipeline.training.runs import Result, code_digest

ROOT = Path(".journal")


@contextmanager
def at_work(dataset: str) -> Iterator[None]:
    """Holds a data set: one process at a time writes to its journal and its MLflow experiment.

    Raises UserError if another process holds it. A process that is killed lets go.
    """
    path = ROOT / f"{dataset}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{dataset}: another process is tuning, training or publishing it ({path})"
            ) from None
        yield


class Journal:
    """The finished units of one data set, made by today's code.

    Results of other code are deleted: their keys could never be asked for again.
    """

    def __init__(self, dataset: str, root: Path = ROOT) -> None:
        home = root / dataset
        self.folder = home / code_digest()
        self.folder.mkdir(parents=True, exist_ok=True)
        for other in home.iterdir():
            if other != self.folder:
                shutil.rmtree(other)
        self.programs = root / "programs"  # compiled ones; not a data set's, nor the code's
        self._lines = self.folder / "units.jsonl"
        self._measures = self._read()

    def _read(self) -> dict[str, dict[str, float]]:
        """The journal's lines; a last line that a kill cut short is dropped from the file."""
        found: dict[str, dict[str, float]] = {}
        if not self._lines.exists():
            return found
        whole = 0
        for line in self._lines.read_bytes().splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            entry = json.loads(line)
            found[entry["key"]] = entry["measures"]
            whole += len(line)
        os.truncate(self._lines, whole)
        return found

    def __contains__(self, key: object) -> bool:
        return key in self._measures

    def __len__(self) -> int:
        return len(self._measures)

    def result(self, key: str) -> Result:
        """A finished unit's measures and curves; what is large has methods of its own."""
        path = self.folder / f"{key}.npz"
        return Result(key, self._measures[key], _arrays(path) if path.exists() else None)

    def model_path(self, key: str) -> Path:
        """Where a final run's .keras file is."""
        return self.folder / f"{key}.keras"

    def probabilities(self, key: str) -> np.ndarray:
        """What a final run's model puts out for each test row, (n, units) float32."""
        found: np.ndarray = np.load(self._probabilities_path(key))
        return found

    def _probabilities_path(self, key: str) -> Path:
        return self.folder / f"{key}.probabilities.npy"

    def inspection(self, key: str) -> dict[str, np.ndarray]:
        """What an inspected run's model looks like inside: arrays by name."""
        return _arrays(self._inspection_path(key))

    def _inspection_path(self, key: str) -> Path:
        return self.folder / f"{key}.inspection.npz"

    def checkpoint_path(self, key: str) -> Path:
        """Where the checkpoint of a resumable unit is."""
        return self.folder / f"{key}.checkpoint.npz"

    def keep_checkpoints(self, keys: Collection[str | None]) -> None:
        """Deletes the checkpoints of all other units: nothing will go on from them."""
        kept = {self.checkpoint_path(key) for key in keys if key is not None}
        for path in set(self.folder.glob("*.checkpoint.npz")) - kept:
            path.unlink()

    def drop_checkpoint(self, key: str | None) -> None:
        """Deletes a unit's checkpoint, if it has one: what goes on from it is finished."""
        if key is not None:
            self.checkpoint_path(key).unlink(missing_ok=True)

    def add(self, result: Result) -> None:
        """Keeps a result; returns once it would survive a kill."""
        if result.checkpoint is not None:
            checkpoint: dict[str, Any] = dict(result.checkpoint)
            np.savez(self.checkpoint_path(result.key), **checkpoint)
        if result.curves is not None:
            curves: dict[str, Any] = dict(result.curves)
            np.savez(self.folder / f"{result.key}.npz", **curves)
        if result.inspection is not None:
            inside: dict[str, Any] = dict(result.inspection)
            np.savez_compressed(self._inspection_path(result.key), **inside)
        if result.model is not None:
            self.model_path(result.key).write_bytes(result.model)
        if result.probabilities is not None:
            np.save(self._probabilities_path(result.key), result.probabilities)
        entry = json.dumps({"key": result.key, "measures": result.measures})
        with self._lines.open("a", encoding="utf-8") as file:
            file.write(entry + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._measures[result.key] = dict(result.measures)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}
