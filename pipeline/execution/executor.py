"""Executes jobs in slots: local processes here, the machines of a cluster in `ray_executor`.

Results depend neither on the number of slots nor on which slot does a job.
"""

import multiprocessing
import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future
from multiprocessing.process import BaseProcess
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, Protocol, TypeVar

from pipeline.config.sections import Engine
from pipeline.errors import UserError
from pipeline.execution import processes, worker
from pipeline.execution.devices import Device, devices
from pipeline.execution.journal import Journal
from pipeline.execution.worker import Job, Setup

Answer = TypeVar("Answer")

ENDS = "worker died (the stage ends)"
STARTS = 3  # attempts to start a worker that dies before it is ready
NOT_STARTED = (
    "a worker process died before it was ready, perhaps for lack of memory; finished runs are "
    "kept, so run the stage again (engine.workers: 1 in params.yaml needs the least memory)"
)


class WorkerDied(Exception):  # noqa: N818  # an event, as `StopIteration` is
    """A worker's process ended during a job. The text says how."""


class NodeLost(WorkerDied):
    """A worker's whole machine is gone, or cannot be reached, for which no job is blamed."""


class Work(Future[Answer]):
    """A job's future. `epochs`: how many are done so far, if the executor reports them."""

    epochs = 0


class Executor(Protocol):
    """Executes jobs in slots, one at a time in each. A slot keeps its compiled programs."""

    @property
    def slots(self) -> Sequence[int]:
        """The numbers of the slots that there are now; machines may come and go.

        Raises UserError if there are none.
        """

    def submit(self, slot: int, job: Job[Answer]) -> Work[Answer]:
        """Queues a job in a slot, after those submitted there before.

        The future raises what the job raises, and `WorkerDied` if its process ends. The slot then
        has a new process without compiled programs.
        """

    def close(self) -> None:
        """Ends the running jobs and all processes at once."""


class Slot(ABC):
    """A worker, and the thread that gives it one job after the other.

    Jobs wait here: those after the one of which the worker dies are not lost.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[tuple[Job[Any], Work[Any]] | None] = SimpleQueue()
        self._ending, self._changing = False, Lock()
        self._thread = Thread(target=self._serve, daemon=True)
        self._thread.start()

    def submit(self, job: Job[Answer]) -> Work[Answer]:
        """Queues a job."""
        work: Work[Answer] = Work()
        self._jobs.put((job, work))
        return work

    def end(self) -> None:
        """Ends the worker, and with it the job that it has."""
        with self._changing:  # or a new worker might start at this moment
            self._ending = True
            self._kill()
        self._jobs.put(None)

    def join(self, seconds: float | None = None) -> None:
        """Waits until the thread has ended, or so long; after `end`."""
        self._thread.join(seconds)

    @abstractmethod
    def _done(self, job: Job[Answer], work: Work[Answer]) -> Answer:
        """The worker's answer. Raises WorkerDied if it ends; the next job has a new one."""

    @abstractmethod
    def _kill(self) -> None:
        """Ends the worker, if there is one. `_changing` is held."""

    def _serve(self) -> None:
        while (queued := self._jobs.get()) is not None:
            job, work = queued
            try:
                if self._ending:
                    raise WorkerDied(ENDS)
                answer = self._done(job, work)
            except Exception as error:  # raised by the job, or by the end of its worker
                work.set_exception(error)
            else:
                work.set_result(answer)


def devices_of(engine: Engine) -> list[Device]:
    """A device for each worker that params.yaml asks for."""
    return devices(None if engine.workers == "auto" else engine.workers)


class LocalExecutor:
    """Executes jobs in local processes, one for each core or GPU."""

    def __init__(self, prepared: Path, engine: Engine, journal: Journal) -> None:
        """Starts the processes. Raises UserError if the process that they are forked from died."""
        context = multiprocessing.get_context(
            "forkserver" if processes.begin_preload() else "spawn"
        )
        setups = [
            Setup(prepared, engine, device, journal.programs, journal.worker_folder(slot))
            for slot, device in enumerate(devices_of(engine))
        ]
        self._folders = [setup.own for setup in setups]
        self._slots: list[_Process] = []
        try:
            for setup in setups:
                self._slots.append(_Process(context, setup))
        except UserError:
            self.close()
            raise

    @property
    def slots(self) -> Sequence[int]:
        """One for each process."""
        return range(len(self._slots))

    @property
    def processes(self) -> list[BaseProcess]:
        """The process of each slot."""
        return [slot.process for slot in self._slots]

    def submit(self, slot: int, job: Job[Answer]) -> Work[Answer]:
        """See `Executor`."""
        return self._slots[slot].submit(job)

    def close(self) -> None:
        """See `Executor`. Processes are terminated, since a worker would finish its population."""
        for slot in self._slots:
            slot.end()
        for slot in self._slots:
            slot.join()
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)


class _Process(Slot):
    """A slot whose worker is a process of this machine."""

    def __init__(self, context: Any, setup: Setup) -> None:
        self._context, self._setup = context, setup
        self._start()
        super().__init__()

    def _start(self) -> None:
        """Starts a new process. Raises UserError if the process to fork it from has died."""
        self._pipe, worker_end = self._context.Pipe()
        self._ready = False
        self.process: BaseProcess = self._context.Process(
            target=worker.main, args=(worker_end, self._setup), daemon=True
        )
        try:
            self.process.start()
        except (EOFError, OSError):  # from the process that it would be a fork of
            raise UserError(NOT_STARTED) from None
        finally:
            # While the worker's end is also open here, a reader would wait for ever for the rest of
            # an answer if the worker dies while it sends it.
            worker_end.close()

    def join(self, seconds: float | None = None) -> None:
        """As `Slot`'s, and waits for the process."""
        super().join(seconds)
        self.process.join(seconds)

    def _kill(self) -> None:
        self.process.terminate()

    def _done(self, job: Job[Answer], work: Work[Answer]) -> Answer:
        self._hand_over(job)
        try:
            kind, content = self._pipe.recv()
            while kind == "epochs":
                work.epochs = content
                kind, content = self._pipe.recv()
        except (EOFError, OSError):
            died = WorkerDied(f"worker died ({self._end_of_process()})")
            self._renew()
            raise died from None
        if kind == "error":
            raise content
        answer: Answer = content
        return answer

    def _hand_over(self, job: Job[Any]) -> None:
        """Sends a job to the process when it is ready; a process that has died is replaced."""
        for _ in range(STARTS):
            try:
                if not self._ready:
                    self._await_ready()
                self._pipe.send(job)
                return
            except (EOFError, OSError):
                self._renew()
        raise UserError(NOT_STARTED)

    def _await_ready(self) -> None:
        kind, content = self._pipe.recv()
        if kind == "error":
            raise content
        self._ready = True

    def _renew(self) -> None:
        self.process.join()
        self._pipe.close()
        with self._changing:
            if not self._ending:
                self._start()

    def _end_of_process(self) -> str:
        """How the process ended, in words."""
        self.process.join()
        code = self.process.exitcode or 0
        return f"signal {-code}" if code < 0 else f"exit code {code}"
