"""Executes jobs on the machines of a Ray cluster: an actor for each core, or each share of a GPU.

The driver alone has the journal and the results; a job carries the files that it reads.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, RayError, RayTaskError

from pipeline import datasets
from pipeline.config.sections import Engine
from pipeline.execution.cluster import Cluster, connected
from pipeline.execution.executor import ENDS, STARTS, Answer, NodeLost, Slot, Work, WorkerDied
from pipeline.execution.jobs import Reader
from pipeline.execution.ray_worker import RayWorker
from pipeline.execution.worker import Job

ENDING = 5.0  # seconds to wait for the slots' threads when all is closed


class RayExecutor:
    """Executes jobs in actors, each started with its first job; see `Executor`.

    Ray's own retries are off: the runner repeats what a dead worker had. When this process ends,
    however it does, Ray ends its actors.
    """

    def __init__(self, prepared: Path, engine: Engine) -> None:
        """Connects to the cluster. Raises UserError if there is none, or none that fits."""
        with connected(engine.address):
            self._engine, self._cluster = engine, Cluster(engine)
            # Once for each machine: its workers share one copy in memory.
            self._dataset = ray.put(datasets.load(prepared))
        self._started: dict[int, _Actor] = {}
        self._closed: Sequence[int] | None = None  # the slots when it was closed

    @property
    def slots(self) -> Sequence[int]:
        """See `Executor`: those of machines that are there now, and fit."""
        return self._cluster.slots() if self._closed is None else self._closed

    def submit(self, slot: int, job: Job[Answer]) -> Work[Answer]:
        """See `Executor`. Raises NodeLost in the future if the slot's machine is gone."""
        if slot not in self._started:
            self._started[slot] = _Actor(
                lambda: self._start(slot),
                lambda error: self._died(slot, error),
                lambda error: self._unfit(slot, error),
            )
        return self._started[slot].submit(job)

    def close(self) -> None:
        """See `Executor`."""
        self._closed = [*self._started]
        for slot in self._started.values():
            slot.end()
        end = time.monotonic() + ENDING
        for slot in self._started.values():
            slot.join(max(0.0, end - time.monotonic()))
        ray.shutdown()

    def _start(self, slot: int) -> Any:
        """A new actor for a slot."""
        options, on_gpu = self._cluster.options(slot), self._cluster.on_gpu
        actor = ray.remote(RayWorker).options(**options)
        return actor.remote(self._engine, self._cluster.memory, self._dataset, on_gpu)

    def _died(self, slot: int, error: RayError) -> WorkerDied:
        """The end of a slot's actor in our words: of the worker alone, or of its machine."""
        node = self._cluster.place(slot).node
        address = self._cluster.address(node)
        unreachable = isinstance(error, ActorUnavailableError) or "node has died" in str(error)
        if unreachable or not self._cluster.lives(node):
            self._cluster.doubt(node)
            return NodeLost(f"{address} is gone or cannot be reached")
        return WorkerDied(f"worker died (on {address}: {_how(error)})")

    def _unfit(self, slot: int, error: RayError) -> NodeLost:
        """What becomes of the job of a slot whose workers die as they start."""
        node = self._cluster.place(slot).node
        self._cluster.leave_out(node, f"its workers die as they start ({_how(error)})")
        return NodeLost(f"{self._cluster.address(node)} has no worker")


def _how(error: RayError) -> str:
    """How an actor ended, from Ray's page of text."""
    found = re.search(r"Worker exit detail: (.+?)\. ", str(error).replace("\n", " "))
    return found.group(1) if found else type(error).__name__


class _Actor(Slot):
    """A slot whose worker is an actor, started with its first job. Jobs wait here, not with Ray."""

    def __init__(
        self,
        start: Callable[[], Any],
        died: Callable[[RayError], WorkerDied],
        unfit: Callable[[RayError], NodeLost],
    ) -> None:
        self._start, self._died, self._unfit = start, died, unfit
        self._actor: Any = None
        self._ready = False
        super().__init__()

    def _done(self, job: Job[Answer], work: Work[Answer]) -> Answer:
        self._await_ready()
        try:
            kind, content = ray.get(self._running().run.remote(job, _files(job)))
        except RayTaskError:  # our own code failed around the job
            raise
        except RayError as error:
            raise self._gone(error) from error
        if kind == "error":
            raise content
        answer: Answer = content
        return answer

    def _await_ready(self) -> None:
        """Waits for a new actor; one that dies before it is ready is replaced, without blame."""
        for start in range(1, STARTS + 1):
            if self._ready and self._actor is not None:
                return
            try:
                ray.get(self._running().ready.remote())
                self._ready = True
            except RayError as error:
                died = self._gone(error)
                if isinstance(died, NodeLost):
                    raise died from error
                if start == STARTS:
                    raise self._unfit(error) from error

    def _gone(self, error: RayError) -> WorkerDied:
        """What to tell of the actor, which is ended."""
        died = self._died(error)
        with self._changing:
            self._kill()
        return died

    def _running(self) -> Any:
        """The actor, which is started if there is none."""
        with self._changing:
            if self._ending:
                raise WorkerDied(ENDS)
            if self._actor is None:
                self._actor = self._start()
            return self._actor

    def _kill(self) -> None:
        """Ends the actor, also one that cannot be reached now but may live."""
        actor, self._actor, self._ready = self._actor, None, False
        if actor is not None:
            ray.kill(actor, no_restart=True)


def _files(job: Job[Any]) -> Mapping[Path, bytes]:
    """The contents of the files that a job reads."""
    return {path: path.read_bytes() for path in job.files} if isinstance(job, Reader) else {}
