"""Where units of work run: single-threaded processes, one per core, behind one interface.

Only the parent writes files; a worker keeps its data and compiled programs until the stage ends.
Which worker trains what, and how many there are, changes no result.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

from pipeline.errors import UserError
from pipeline.journal import Journal
from pipeline.params import Engine
from pipeline.units import Result, Unit

_trainer: Any = None  # this worker's pipeline.trainer.Trainer


def _start(prepared: Path, engine: Engine) -> None:
    """Prepares a worker process."""
    global _trainer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with _without_greetings():
        from pipeline.engine import backend
    backend.single_threaded()
    from pipeline import datasets, trainer
    from pipeline import engine as engines

    _trainer = trainer.Trainer(
        datasets.load(prepared), engines.Engine(engine.program, engine.population)
    )


@contextmanager
def _without_greetings() -> Iterator[None]:
    """Drops what TensorFlow's libraries print on import: notices on CPU features and absent GPUs.

    They bypass Python's `sys.stderr`. What goes wrong is raised, here and in later operations.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _end_with_parent() -> None:
    """A parent that is killed tells nobody; its workers would wait for it for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _program(unit: Unit) -> tuple[str, int]:
    found: tuple[str, int] = _trainer.program(unit)
    return found


def _run(units: Sequence[Unit]) -> tuple[list[Result], float]:
    began = time.perf_counter()
    return _trainer.run(units), time.perf_counter() - began


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Population:
    """Units that one program trains at once. `program` names the compiled program."""

    program: str
    units: Sequence[Unit]


class Schedule:
    """Which population an idle worker takes next, so that few programs are compiled twice.

    A worker takes what it has compiled; then what nobody has; and only then what others have, if
    the work that is left there takes longer than compiling once more.
    """

    def __init__(self, populations: Sequence[Population]) -> None:
        self._waiting = list(populations)
        self._compiled: dict[int, set[str]] = defaultdict(set)  # worker → programs
        self._first: dict[str, float] = {}  # program → seconds of its first run, with compiling
        self._again: dict[str, float] = {}  # program → seconds of a later run

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def next(self, worker: int) -> Population | None:
        """Takes a population off the schedule; None if the worker had better stay idle."""
        own = self._compiled[worker]
        others = set().union(*self._compiled.values()) - own
        left = Counter(population.program for population in self._waiting)
        for wanted in (own, left.keys() - own - others, others):
            for population in self._waiting:
                if population.program in wanted and (
                    population.program not in others or self._worth_compiling(population, left)
                ):
                    self._waiting.remove(population)
                    own.add(population.program)
                    return population
        return None

    def _worth_compiling(self, population: Population, left: Counter[str]) -> bool:
        again = self._again.get(population.program)
        if again is None:
            return True
        return left[population.program] * again > self._first[population.program] - again

    def finished(self, population: Population, seconds: float) -> None:
        """Learns what compiling and what training takes."""
        if population.program in self._first:
            self._again[population.program] = seconds
        else:
            self._first[population.program] = seconds


class Workers:
    """Worker processes for the units of one prepared data set; a context manager."""

    def __init__(self, prepared: Path, engine: Engine, journal: Journal) -> None:
        self._journal = journal
        count = cores() if engine.workers == "auto" else engine.workers
        self._pools = [
            ProcessPoolExecutor(
                1,
                mp_context=multiprocessing.get_context("spawn"),  # TensorFlow survives no fork
                initializer=_start,
                initargs=(prepared, engine),
            )
            for _ in range(count)
        ]
        for pool in self._pools:
            pool.submit(time.time)  # a pool starts its process with its first task

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:  # a worker in the middle of a population would finish it first
            for process in multiprocessing.active_children():
                process.terminate()
        for pool in self._pools:
            pool.shutdown(cancel_futures=True)

    def run(self, units: Sequence[Unit], title: str) -> Iterator[Result]:
        """Results of the units, as they finish; those in the journal come first.

        Raises UserError if a worker dies.
        """
        present = [unit.key for unit in units if unit.key in self._journal]
        for key in present:
            yield self._journal.result(key)
        if len(present) == len(units):
            return
        with _progress(len(units), len(present), title) as progress:
            for results in self._finished(units):
                for result in results:  # all are kept before anybody works with one
                    self._journal.add(result)
                progress.update(len(results))
                yield from results

    def _finished(self, units: Sequence[Unit]) -> Iterator[list[Result]]:
        try:
            schedule = Schedule(list(self._populations(units)))
            busy: dict[Future[tuple[list[Result], float]], tuple[int, Population]] = {}
            while schedule or busy:
                for worker in set(range(len(self._pools))) - {
                    worker for worker, _ in busy.values()
                }:
                    if population := schedule.next(worker):
                        future = self._pools[worker].submit(_run, population.units)
                        busy[future] = worker, population
                done, _ = wait(busy, return_when=FIRST_COMPLETED)
                # A worker that died comes last, so that what others finished is kept.
                for future in sorted(done, key=lambda each: each.exception() is not None):
                    _, population = busy.pop(future)
                    results, seconds = future.result()
                    schedule.finished(population, seconds)
                    yield results
        except BrokenProcessPool:
            raise UserError(
                "a worker process died, perhaps for want of memory; what was finished is kept, "
                "so run the stage again (params.yaml: engine.workers: 1 needs the least memory)"
            ) from None

    def _populations(self, units: Sequence[Unit]) -> Iterator[Population]:
        """Units that can share a program, as many at a time as it trains at once.

        The finished ones leave their places empty: an interruption moves nobody else.
        """

        def shared(unit: Unit) -> tuple[str, str, int]:
            return unit.technique, unit.setting, unit.training.epochs

        for _, group in groupby(units, key=shared):
            members = list(group)
            program, places = self._pools[0].submit(_program, members[0]).result()
            for i in range(0, len(members), places):
                chunk = members[i : i + places]
                if waiting := [unit for unit in chunk if unit.key not in self._journal]:
                    yield Population(program, waiting)


def _progress(total: int, done: int, title: str) -> "tqdm[Any]":
    """One line: what is trained, done / total, time left. Silent when not a terminal."""
    return tqdm(
        total=total,
        initial=done,
        desc=title,
        unit="run",
        leave=False,
        disable=not sys.stderr.isatty(),
    )
