"""What does jobs: local processes here, and anything else that has slots to submit jobs to.

Which slot does what, and how many there are, changes no result.
"""

import multiprocessing
import shutil
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
from pipeline.execution.devices import devices
from pipeline.execution.journal import Journal
from pipeline.execution.worker import Job, Setup

Answer = TypeVar("Answer")

STARTS = 3  # times that a worker may die before it is ready
NOT_STARTED = (
    "a worker process died before it had begun, perhaps for want of memory; what was finished is "
    "kept, so run the stage again (params.yaml: engine.workers: 1 needs the least memory)"
)


class WorkerDied(Exception):  # noqa: N818  # what happened, as in `StopIteration`
    """A worker's process ended amid a job. The text says how."""


class Work(Future[Answer]):
    """A job's future. `epochs`: how many of them are done, if the executor can tell."""

    epochs = 0


class Executor(Protocol):
    """Does jobs in slots, one at a time in each. A slot keeps what it has compiled."""

    @property
    def slots(self) -> Sequence[int]:
        """The slots' numbers."""

    def submit(self, slot: int, job: Job[Answer]) -> Work[Answer]:
        """Begins a job in a slot, after those that were submitted there before.

        The future raises what the job raises, and `WorkerDied` if its process ends: the slot then
        has a fresh process, which has compiled nothing.
        """

    def close(self) -> None:
        """Ends the jobs in work and all processes, at once."""


class LocalExecutor:
    """A process for each core or GPU."""

    def __init__(self, prepared: Path, engine: Engine, journal: Journal) -> None:
        """Starts the processes. Raises UserError if what they are forks of dies."""
        context = multiprocessing.get_context(
            "forkserver" if processes.begin_preload() else "spawn"
        )
        given = devices(None if engine.workers == "auto" else engine.workers)
        setups = [
            Setup(prepared, engine, device, journal.programs, journal.worker_folder(slot))
            for slot, device in enumerate(given)
        ]
        self._folders = [setup.own for setup in setups]
        self._slots: list[_Slot] = []
        try:
            for setup in setups:
                self._slots.append(_Slot(context, setup))
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
        """See `Executor`. Asked politely, a worker would finish its population."""
        for slot in self._slots:
            slot.end()
        for slot in self._slots:
            slot.join()
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)


class _Slot:
    """A process, and the thread that hands it jobs and receives their answers."""

    def __init__(self, context: Any, setup: Setup) -> None:
        self._context, self._setup = context, setup
        self._jobs: SimpleQueue[tuple[Job[Any], Work[Any]] | None] = SimpleQueue()
        self._ending, self._changing = False, Lock()
        self._start()
        self._thread = Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _start(self) -> None:
        """A fresh process. Raises UserError if there is nothing to make one from."""
        self._pipe, other = self._context.Pipe()
        self._ready = False
        self.process: BaseProcess = self._context.Process(
            target=worker.main, args=(other, self._setup), daemon=True
        )
        try:
            self.process.start()
        except (EOFError, OSError):  # what it would be a fork of
            raise UserError(NOT_STARTED) from None
        finally:
            # While this end is open here too, who reads an answer waits for ever for the rest of
            # it if the worker dies amid it.
            other.close()

    def submit(self, job: Job[Answer]) -> Work[Answer]:
        work: Work[Answer] = Work()
        self._jobs.put((job, work))
        return work

    def end(self) -> None:
        with self._changing:  # or a fresh process might begin just now
            self._ending = True
            self.process.terminate()
        self._jobs.put(None)

    def join(self) -> None:
        self._thread.join()
        self.process.join()

    def _serve(self) -> None:
        while not self._ending and (item := self._jobs.get()) is not None:
            job, work = item
            try:
                answer = self._done(job, work)
            except Exception as error:  # the job's own, or of its process
                work.set_exception(error)
            else:
                work.set_result(answer)

    def _done(self, job: Job[Answer], work: Work[Answer]) -> Answer:
        """The answer of the process. Raises WorkerDied, with a fresh process in place."""
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
        """Sends a job to a process that is ready; one that has died before is replaced."""
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
        """How the process has ended, in words."""
        self.process.join()
        code = self.process.exitcode or 0
        return f"signal {-code}" if code < 0 else f"exit code {code}"
