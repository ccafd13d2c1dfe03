"""Where units of work run: single-threaded processes, one per core, behind one interface.

Only the parent writes files; a worker keeps its data and compiled programs until the stage ends.
Which worker trains what, and how many there are, changes no result.
"""

import multiprocessing
import os
import shutil
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import cycle, groupby
from pathlib import Path
from typing import Any, Self

from tqdm import tqdm

from pipeline.config.sections import Engine
from pipeline.errors import UserError
from pipeline.execution import processes
from pipeline.execution.devices import Device, devices
from pipeline.execution.journal import Journal
from pipeline.execution.program_cache import Compiled
from pipeline.techniques.training import BatchSize
from pipeline.training.runs import Result, Run

# The parent hands out work and writes records, for half a core on circles; kept from it by workers,
# it would go on alone when they are done.
NICE = 8

DIED = (
    "a worker process died, perhaps for want of memory; what was finished is kept, "
    "so run the stage again (params.yaml: engine.workers: 1 needs the least memory)"
)

_trainer: Any = None  # this worker's pipeline.trainer.Trainer
_unseen: str | None = None  # the GPU that this worker was given and TensorFlow does not see
_epochs: Any = None  # shared with the parent: epochs done of the population in work
_compiled: Compiled | None = None  # on a core


def _start(
    prepared: Path, engine: Engine, device: Device, epochs: Any, programs: Path, own: Path
) -> None:
    """Prepares a worker process."""
    global _trainer, _unseen, _epochs, _compiled
    _epochs = epochs
    processes.attend()
    os.nice(NICE)
    os.environ["CUDA_VISIBLE_DEVICES"] = device.gpu or ""
    if device.gpu is None:
        _compiled = Compiled(programs, own)
        _compiled.switch_on()
    from pipeline.engine import backend
    from pipeline.execution import preload

    _trainer = preload.trainer(prepared, engine, device.memory)
    _unseen = None if backend.on_gpu() else device.gpu


def _program(run: Run) -> tuple[str, int]:
    if _unseen is not None:  # told here, since what prepares a worker cannot tell
        raise UserError(
            f"TensorFlow does not see GPU {_unseen}; {processes.LIBRARIES.absolute()} tells why "
            "(docs/gpu.md), and CUDA_VISIBLE_DEVICES=-1 trains on the processor's cores"
        )
    found: tuple[str, int] = _trainer.program(run)
    return found


def _run(runs: Sequence[Run], checkpoints: Sequence[Path | None]) -> tuple[list[Result], float]:
    began = time.perf_counter()

    def on_chunk(done: int) -> None:
        _epochs.value = done * len(runs)

    if _compiled:
        _compiled.take()
    results = _trainer.run(runs, checkpoints, on_chunk)
    if _compiled:
        _compiled.share()
    return results, time.perf_counter() - began


@dataclass(frozen=True)
class Population:
    """Units that one program trains at once. `program` names the compiled program."""

    program: str
    runs: Sequence[Run]


class Schedule:
    """Which population an idle worker takes next, so that few programs are compiled twice.

    A worker takes what it has compiled; then what nobody has; and only then what others have, if
    the work that is left there takes longer than compiling once more. What goes on from a unit
    waits until that one is finished. Lives as long as the workers.
    """

    def __init__(self) -> None:
        self._waiting: list[Population] = []
        self._unfinished: set[str | None] = set()  # keys
        self._compiled: dict[int, set[str]] = defaultdict(set)  # worker → programs
        self._first: dict[str, float] = {}  # program → seconds of its first run, with compiling
        self._again: dict[str, float] = {}  # program → seconds of a later run

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, populations: Iterable[Population]) -> None:
        """Puts populations before those that wait, so that what was begun is finished first."""
        added = list(populations)
        self._waiting = added + self._waiting
        self._unfinished |= {run.key for population in added for run in population.runs}

    def next(self, worker: int) -> Population | None:
        """Takes a population off the schedule; None if the worker had better stay idle."""
        own = self._compiled[worker]
        others = set().union(*self._compiled.values()) - own
        left = Counter(population.program for population in self._waiting)
        for wanted in (own, left.keys() - own - others, others):
            for population in filter(self._ready, self._waiting):
                if population.program in wanted and (
                    population.program not in others or self._worth_compiling(population, left)
                ):
                    self._waiting.remove(population)
                    own.add(population.program)
                    return population
        return None

    def _ready(self, population: Population) -> bool:
        return all(run.goes_on_from not in self._unfinished for run in population.runs)

    def _worth_compiling(self, population: Population, left: Counter[str]) -> bool:
        again = self._again.get(population.program)
        if again is None:
            return True
        return left[population.program] * again > self._first[population.program] - again

    def finished(self, population: Population) -> None:
        """What goes on from these units need not wait any more."""
        self._unfinished -= {run.key for run in population.runs}

    def took(self, population: Population, seconds: float) -> None:
        """Learns what compiling and what training takes."""
        if population.program in self._first:
            self._again[population.program] = seconds
        else:
            self._first[population.program] = seconds


Busy = dict[Future[tuple[list[Result], float]], tuple[int, Population]]  # who trains what


class Workers:
    """Worker processes for the units of one prepared data set; a context manager."""

    def __init__(self, prepared: Path, engine: Engine, journal: Journal) -> None:
        self._journal = journal
        self.busy = 0.0  # seconds that workers compiled, trained and evaluated, added up
        given = devices(None if engine.workers == "auto" else engine.workers)
        method = "forkserver" if processes.begin_preload() else "spawn"
        context = multiprocessing.get_context(method)
        # Each has one writer; a lock would stay taken by a worker that is killed.
        self._epochs = [context.Value("q", 0, lock=False) for _ in given]
        self._own = [journal.folder / f"programs-{number}" for number in range(len(given))]
        self._schedule = Schedule()
        self._added: list[Run] = []  # since a population was last made
        self._present: list[Run] = []  # of those added, what the journal has
        self._before: dict[str, str | None] = {}  # unit → the one that it goes on from
        self._programs: dict[object, tuple[str, int]] = {}
        self._pools = [
            ProcessPoolExecutor(
                1,
                mp_context=context,
                initializer=_start,
                initargs=(prepared, engine, device, epochs, journal.programs, own),
            )
            for device, epochs, own in zip(given, self._epochs, self._own, strict=True)
        ]
        others = multiprocessing.active_children()
        try:
            for pool in self._pools:
                pool.submit(time.time)  # a pool starts its process with its first task
        except (EOFError, OSError):  # what they would be forks of
            raise UserError(DIED) from None
        for pool in self._pools:
            # While this end is open here too, who reads a result waits for ever for the rest of it
            # if the worker dies amid it.
            pool._result_queue._writer.close()  # type: ignore[attr-defined]
        started = multiprocessing.active_children()
        self._processes = [process for process in started if process not in others]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        # Asked to end, a worker would finish its population, and then take down TensorFlow.
        for process in self._processes:
            process.terminate()
        for pool in self._pools:
            pool.shutdown(cancel_futures=True)
        for folder in self._own:
            shutil.rmtree(folder, ignore_errors=True)

    def share(self, seconds: float) -> str:
        """How much of this time the workers were at work on runs, in words."""
        return f"{self.busy / len(self._pools) / seconds:.0%} of them training and evaluating"

    def run(self, runs: Sequence[Run], title: str) -> Iterator[Result]:
        """Results of these units; see `results`."""
        self.add(runs)
        return self.results(title)

    def add(self, runs: Sequence[Run], instead_of: Collection[Run] = ()) -> None:
        """Gives the workers units that they train before those that wait.

        `instead_of`: finished ones, whose checkpoints serve none but these.
        """
        before = {run.key: run.goes_on_from for run in runs}
        for key in {run.key for run in instead_of} - set(before.values()):
            self._journal.drop_checkpoint(key)
        self._before |= before
        self._added += runs
        self._present += [run for run in runs if run.key in self._journal]

    def results(self, title: str, runs: int = 0, epochs: int = 0) -> Iterator[Result]:
        """Results of the units that were added, as they finish, also of those added meanwhile.

        Those in the journal come first. `runs`, `epochs`: of all that will be added, for the line
        that shows progress.

        Raises UserError if a worker dies.
        """
        busy: Busy = {}
        with Progress(title, runs, epochs) as progress:
            try:
                yield from self._kept(progress)
                # Those to go on from, and those an interrupted call of these units has made.
                self._journal.keep_checkpoints(self._before.keys() | self._before.values())
                while self._added or self._present or self._schedule or busy:
                    yield from self._kept(progress)
                    self._hand_out(busy, progress)
                    yield from self._finished(busy, progress)
            except BrokenProcessPool:
                raise UserError(DIED) from None

    def _kept(self, progress: "Progress") -> Iterator[Result]:
        """What the journal has, also of units that are added meanwhile."""
        while self._present:
            present, self._present = self._present, []
            progress.spared(present)
            for run in present:
                yield self._journal.result(run.key)

    def _finished(self, busy: Busy, progress: "Progress") -> Iterator[Result]:
        """What some worker has finished, as soon as one has."""
        done, _ = wait(busy, progress.every, return_when=FIRST_COMPLETED)
        finished = []
        for future in done:
            if future.exception() is None:
                worker, population = busy.pop(future)
                results, seconds = future.result()
                self.busy += seconds
                self._schedule.took(population, seconds)
                self._epochs[worker].value = 0
                finished.append((population, results))
        self._hand_out(busy, progress)  # no worker waits until these results are worked with
        for population, results in finished:
            for result in results:  # all are kept before anybody works with one
                self._journal.add(result)
                self._journal.drop_checkpoint(self._before[result.key])
            self._schedule.finished(population)
            progress.finished(population.runs)
            yield from results
        for future in done:
            future.result()  # raises where a worker died, once what others finished is kept
        progress.show(sum(epochs.value for epochs in self._epochs))

    def _hand_out(self, busy: Busy, progress: "Progress") -> None:
        """Gives each idle worker the next population."""
        idle = sorted(set(range(len(self._pools))) - {worker for worker, _ in busy.values()})
        if idle and self._added:
            added, self._added = self._added, []
            populations = list(self._populations(added, idle))
            progress.add([run for population in populations for run in population.runs])
            self._schedule.add(populations)
        for worker in idle:
            if population := self._schedule.next(worker):
                files = [self._checkpoint(run) for run in population.runs]
                future = self._pools[worker].submit(_run, population.runs, files)
                busy[future] = worker, population

    def _checkpoint(self, run: Run) -> Path | None:
        """The file that the unit can go on from, if it is there."""
        if run.goes_on_from is None:
            return None
        path = self._journal.checkpoint_path(run.goes_on_from)
        return path if path.exists() else None

    def _populations(self, runs: Sequence[Run], idle: Sequence[int]) -> Iterator[Population]:
        """Units that can share a program, as many at a time as it trains at once.

        The finished ones leave their places empty: an interruption moves nobody else. `idle`:
        workers, which tell what program that is.
        """

        def shared(run: Run) -> tuple[object, ...]:
            batch_size = run.change.get(BatchSize)  # a hyperparameter, but also a program's shape
            what = run.model, run.technique, run.combine
            return *what, run.setting, run.training.epochs, batch_size

        groups = ((key, list(group)) for key, group in groupby(runs, key=shared))
        left = [
            (key, members)
            for key, members in groups
            if any(run.key not in self._journal for run in members)
        ]
        self._ask_programs({key: members[0] for key, members in left}, idle)
        for key, members in left:
            program, places = self._programs[key]
            for i in range(0, len(members), places):
                chunk = members[i : i + places]
                if waiting := [run for run in chunk if run.key not in self._journal]:
                    yield Population(program, waiting)

    def _ask_programs(self, runs: Mapping[object, Run], idle: Sequence[int]) -> None:
        """Has idle workers, in turn, tell what trains units that no program is known for."""
        new = [key for key in runs if key not in self._programs]
        asked = {
            key: self._pools[worker].submit(_program, runs[key])
            for key, worker in zip(new, cycle(idle))
        }
        self._programs |= {key: future.result() for key, future in asked.items()}


class Progress:
    """One line: what is trained, done / total, time left. Silent when not a terminal.

    Counts epochs, so that the line moves within long runs; `every`: seconds between looks.
    `runs`, `epochs`: of all that will come, if that is more than what was added.
    """

    def __init__(self, title: str, runs: int = 0, epochs: int = 0) -> None:
        self.every = 0.5 if sys.stderr.isatty() else None
        self._title, self._runs, self._epochs = title, runs, epochs
        self._added_runs = self._added_epochs = 0
        self._done_runs = self._done_epochs = 0
        self._bar = tqdm(
            desc=title,
            bar_format="{desc} {percentage:3.0f}%|{bar:20}| {elapsed}<{remaining}",
            leave=False,
            disable=self.every is None,
            total=epochs,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def spared(self, runs: Sequence[Run]) -> None:
        """These units need not be trained."""
        self._added_runs += len(runs)
        self._done_runs += len(runs)
        self._epochs -= _epochs_of(runs)

    def add(self, runs: Sequence[Run]) -> None:
        """These units will be trained."""
        self._added_runs += len(runs)
        self._added_epochs += _epochs_of(runs)
        self._bar.total = max(self._epochs, self._added_epochs)

    def finished(self, runs: Sequence[Run]) -> None:
        """These units are done."""
        self._done_runs += len(runs)
        self._done_epochs += _epochs_of(runs)
        done = f"{self._done_runs}/{max(self._runs, self._added_runs)} runs"
        self._bar.set_description_str(f"{self._title}: {done}, {runs[0].technique}")

    def show(self, running: int) -> None:
        """`running`: epochs done of runs that are not finished."""
        self._bar.update(max(0, self._done_epochs + running - self._bar.n))


def _epochs_of(runs: Sequence[Run]) -> int:
    return sum(run.training.epochs for run in runs)
