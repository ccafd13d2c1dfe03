"""A worker's process: it prepares once, then executes one job after the other.

It keeps its data and compiled programs until it ends. It writes no files but its programs.
"""

import logging
import os
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from pipeline.config.sections import Engine
from pipeline.errors import UserError
from pipeline.execution import processes
from pipeline.execution.devices import Device
from pipeline.execution.host import Host, this_host
from pipeline.execution.program_cache import Compiled
from pipeline.logs import LIBRARIES

if TYPE_CHECKING:
    from pipeline.datasets import Dataset
    from pipeline.training.trainer import Trainer

# The parent hands out jobs and writes records, which takes half a core on circles. If the workers
# had the same priority, it would fall behind and continue alone after them.
NICE = 8
TELLING = 0.2  # minimal seconds between reports of a job's progress

Message = tuple[Literal["ready", "epochs", "answer", "error"], Any]
Answer = TypeVar("Answer", covariant=True)


@dataclass(frozen=True)
class Setup:
    """What a worker needs to start. `programs`: a folder of all workers; `own`: of this one."""

    prepared: Path
    engine: Engine
    device: Device
    programs: Path
    own: Path


@dataclass(frozen=True)
class Worker:
    """What jobs use. `tell` reports how many epochs of the current job are done."""

    trainer: "Trainer"
    compiled: Compiled | None  # None on a GPU
    unseen: str | None  # the worker's GPU, if TensorFlow does not see it
    tell: Callable[[int], None]
    host: Host | None = None

    def check_device(self) -> None:
        """Raises UserError if TensorFlow does not see the worker's GPU."""
        if self.unseen is not None:
            raise UserError(
                f"TensorFlow does not see GPU {self.unseen}; {LIBRARIES.absolute()} "
                "says why (see docs/gpu.md). Set CUDA_VISIBLE_DEVICES=-1 to train on the CPU"
            )

    @contextmanager
    def shared_programs(self) -> Iterator[None]:
        """Copies other workers' compiled programs before the block, shares its own after it."""
        if self.compiled:
            self.compiled.take()
        yield
        if self.compiled:
            self.compiled.share()


class Job(Protocol[Answer]):
    """One job of a worker; it is pickled, and so is its answer."""

    def run(self, worker: Worker) -> Answer:
        """Executes the job in the worker's process."""


def main(pipe: Connection, setup: Setup) -> None:
    """Executes the jobs that come through the pipe and sends answers, until it is closed."""
    try:
        worker = _prepared(setup, _Telling(pipe))
        pipe.send(("ready", None))
        while True:
            pipe.send(answer(pipe.recv(), worker))
    except (EOFError, BrokenPipeError):
        return
    except Exception as error:
        pipe.send(told(error))


def _prepared(setup: Setup, tell: Callable[[int], None]) -> Worker:
    processes.attend()
    os.nice(NICE)
    compiled = prepare_device(setup.device, setup.programs, setup.own)
    # After the environment is set and before anything else imports TensorFlow.
    from pipeline import datasets
    from pipeline.execution import preload  # noqa: F401

    return made(setup.engine, setup.device, datasets.load(setup.prepared), compiled, tell)


def prepare_device(device: Device, programs: Path, own: Path) -> Compiled | None:
    """Lets TensorFlow, not imported yet, use this device alone; its programs on disk, if on a CPU.

    `programs`, `own`: as in `Setup`.
    """
    os.environ["CUDA_VISIBLE_DEVICES"] = device.gpu or ""
    if device.gpu is not None:
        return None
    compiled = Compiled(programs, own)
    compiled.switch_on()
    return compiled


def made(
    settings: Engine,
    device: Device,
    dataset: "Dataset",
    compiled: Compiled | None,
    tell: Callable[[int], None],
) -> Worker:
    """The worker of this process, whose device is prepared."""
    from pipeline import engine
    from pipeline.engine import backend
    from pipeline.training.trainer import Trainer

    # Every final model is asked for predictions once, of which TensorFlow warns.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    backend.set_up(settings.deterministic)
    programs = engine.Engine(settings.program, settings.population, device.memory)
    unseen = None if backend.on_gpu() else device.gpu
    return Worker(Trainer(dataset, programs), compiled, unseen, tell, this_host())


def answer(job: Job[object], worker: Worker) -> Message:
    """The answer of a job, or what it raised."""
    try:
        return "answer", job.run(worker)
    except Exception as error:
        return told(error)


def told(error: Exception) -> Message:
    """An error with its traceback as a note, since pickling loses it."""
    error.add_note("in a worker:\n" + "".join(traceback.format_exception(error)))
    return "error", error


class _Telling:
    """Sends the number of epochs done, at most once every `TELLING` seconds."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._last = pipe, 0.0

    def __call__(self, epochs: int) -> None:
        now = time.monotonic()
        if now - self._last >= TELLING:
            self._last = now
            self._pipe.send(("epochs", epochs))
