"""What runs on the machines of a Ray cluster: a look at a machine, and the worker of one slot.

Does not import Ray. The package itself comes from the driver, so a machine needs only the libraries
of uv.lock.
"""

import hashlib
import os
import platform
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pipeline.config.sections import Engine
from pipeline.datasets import Dataset
from pipeline.execution import devices, scratch, worker
from pipeline.execution.devices import Device
from pipeline.execution.jobs import Reader
from pipeline.execution.worker import Job, Message
from pipeline.training.identity import LIBRARIES

PACKAGE = Path(__file__).parents[1]
MISSING = "none"  # as the version of a package that is not installed


@dataclass(frozen=True)
class Machine:
    """What decides whether a machine can do the driver's jobs, and how large they may be."""

    versions: Mapping[str, str]  # of Python, the libraries that compute, and this package
    memory: int  # bytes that the populations of one core, or of one whole GPU, may use


def look(gpus: int) -> Machine:
    """This machine. `gpus`: how many GPUs Ray counts on it."""
    return Machine(versions(), devices.memory_of(gpus))


@cache
def versions() -> dict[str, str]:
    """The versions that must be the same on all machines."""
    libraries = {name: _version(name) for name in ("ray", *LIBRARIES)}
    return {"Python": platform.python_version(), **libraries, "pipeline": _digest()}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return MISSING


def _digest() -> str:
    """A digest of this package's modules."""
    paths = sorted(PACKAGE.rglob("*.py"), key=lambda path: path.relative_to(PACKAGE).as_posix())
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()[:12]


class RayWorker:
    """The worker of one slot, an actor. It executes one job after the other.

    `memory`: bytes that its populations may use. `dataset`: its arrays are those of the machine's
    object store, which all of the machine's workers share.
    """

    def __init__(self, engine: Engine, memory: int, dataset: Dataset, on_gpu: bool) -> None:
        self._worker: worker.Worker | None = None
        try:
            os.nice(max(0, worker.NICE - os.nice(0)))  # the driver may be on this machine
            scratch.begin()
            gpu = os.environ.get(devices.VISIBLE, "") if on_gpu else None
            device = Device(gpu, memory)
            own = Path(tempfile.gettempdir(), "programs")
            compiled = worker.prepare_device(device, _programs(), own)
            self._worker = worker.made(engine, device, dataset, compiled, _tell_nobody)
        except Exception as error:
            self._failed = worker.told(error)

    def ready(self) -> None:
        """Returns when the worker has started, so that a death before it is no job's."""

    def run(self, job: Job[Any], files: Mapping[Path, bytes]) -> Message:
        """The job's answer, or what it or the worker's start raised.

        `files`: the contents of the files that it reads, by their paths on the driver's machine.
        """
        if self._worker is None:
            return self._failed
        with _placed(job, files) as placed:
            return worker.answer(placed, self._worker)


@contextmanager
def _placed(job: Job[Any], files: Mapping[Path, bytes]) -> Iterator[Job[Any]]:
    """The job, reading copies of its files that exist during the block."""
    if not isinstance(job, Reader) or not files:
        yield job
        return
    with tempfile.TemporaryDirectory() as folder:
        copies = {path: Path(folder, f"{i}{path.suffix}") for i, path in enumerate(files)}
        for path, copy in copies.items():
            copy.write_bytes(files[path])
        moved: Any = job.moved(copies)
        yield moved


def _programs() -> Path:
    """A folder for compiled programs, which this user's later workers find again."""
    cache_home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(cache_home, "regularization-study", "programs")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # a home that is read-only or is none
        return Path(tempfile.gettempdir(), "shared-programs")
    return folder


def _tell_nobody(epochs: int) -> None:
    """Ray sends answers, and nothing before them."""
