"""From runs to results: those in the journal at once, the others as the executor finishes them.

Only this process writes the journal. Results do not depend on the slots; a worker that dies loses
only its current job.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from itertools import cycle
from pathlib import Path
from typing import Self

from pipeline.execution.executor import Executor, NodeLost, Work, WorkerDied
from pipeline.execution.jobs import Measure, Program, Timed, Train
from pipeline.execution.journal import Journal
from pipeline.execution.progress import Progress
from pipeline.execution.scheduler import Population, Schedule, Shared, grouped, populations
from pipeline.training.runs import Result, Run

ATTEMPTS = 3  # a run fails when this many workers have died during it
TIMES = "three times"

Assignment = Population | Run  # to train, or to measure again


class Runner:
    """Trains the runs of one study; a context manager that closes its executor.

    A run whose worker dies is trained again, alone, up to `ATTEMPTS` times in all. After that its
    result says how it failed, and the other runs continue.
    """

    def __init__(self, executor: Executor, journal: Journal) -> None:
        self.busy = 0.0  # seconds of compiling, training and evaluating, summed over slots
        self.kept = 0  # runs whose results came from the journal
        self._executor, self._journal = executor, journal
        self._schedule = Schedule()
        self._added: list[Run] = []  # since populations were last made
        self._present: list[Run] = []  # added runs that the journal has
        self._to_measure: list[Run] = []  # runs in the journal to measure again
        self._failed: list[Result] = []  # not yielded yet
        self._missing: set[str] = set()  # keys of runs to train
        self._before: dict[str, str | None] = {}  # key → that of the run it continues from
        self._programs: dict[Shared, tuple[str, int]] = {}
        self._deaths: Counter[str] = Counter()  # of workers during a run, by its key
        self._in_work: dict[Work[Timed], tuple[int, Assignment]] = {}  # with its slot
        journal.trim()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._executor.close()

    def share(self, seconds: float) -> str:
        """The share of this time that the workers were busy with runs, in words."""
        slots = len(self._executor.slots) if self.busy else 1  # unless none was needed
        share = self.busy / slots / seconds
        return f"workers busy {share:.0%} of the time"

    def origin(self, noun: str = "") -> str:
        """How many runs came from the journal, as ` (80 from the journal)`; empty if none."""
        return f" ({self.kept}{noun} from the journal)" if self.kept else ""

    def run(self, runs: Sequence[Run], title: str) -> Iterator[Result]:
        """Results of these runs; see `results`."""
        self.add(runs)
        return self.results(title)

    def add(self, runs: Sequence[Run], instead_of: Collection[Run] = ()) -> None:
        """Adds runs, each of them once, to be trained before those that wait.

        `instead_of`: finished runs, whose checkpoints are deleted unless an added run needs one.
        """
        before = {run.key: run.goes_on_from for run in runs}
        for key in {run.key for run in instead_of} - set(before.values()):
            self._journal.drop_checkpoint(key)
        self._before |= before
        self._added += runs
        states = self._journal.states(runs)
        by_state = {
            state: [run for run, run_state in zip(runs, states, strict=True) if run_state == state]
            for state in ("kept", "to measure", "missing")
        }
        self._present += by_state["kept"]
        self._to_measure += by_state["to measure"]
        self._missing |= {run.key for run in by_state["missing"]}
        self.kept += len(runs) - len(by_state["missing"])

    def results(self, title: str, runs: int = 0, epochs: int = 0) -> Iterator[Result]:
        """Results of the added runs as they finish, including runs that are added meanwhile.

        Those in the journal come first. `runs`, `epochs`: the expected totals, for the progress
        line. Raises UserError if workers die before they are ready.
        """
        with Progress(title, runs, epochs) as progress:
            yield from self._without_training(progress)
            # Checkpoints to continue from, and those that an interrupted call of these runs made.
            self._journal.keep_checkpoints(self._before.keys() | self._before.values())
            while self._unfinished:
                yield from self._without_training(progress)
                self._hand_out(progress)
                yield from self._finished(progress)

    @property
    def _unfinished(self) -> bool:
        waiting = (self._added, self._present, self._to_measure, self._failed)
        return any(waiting) or bool(self._schedule) or bool(self._in_work)

    def _without_training(self, progress: Progress) -> Iterator[Result]:
        """Results from the journal, including runs added meanwhile, and those of failed runs."""
        while self._present or self._failed:
            present, self._present = self._present, []
            failed, self._failed = self._failed, []
            progress.spared(present)
            for run in present:
                yield self._journal.result(run.key)
            yield from failed

    def _hand_out(self, progress: Progress) -> None:
        """Gives each idle slot its next assignment."""
        if self._missing.isdisjoint(run.key for run in self._added):
            self._added = []
        if not (self._added or self._to_measure or self._schedule):
            return
        idle = self._idle()
        self._schedule.keep({*idle} | {slot for slot, _ in self._in_work.values()})
        if idle and self._added:
            self._plan(idle, progress)
        for slot in idle:
            if self._to_measure:
                run = self._to_measure.pop(0)
                job = Measure(run, self._journal.model_path(run.key).absolute())
                self._in_work[self._executor.submit(slot, job)] = slot, run
            elif population := self._schedule.next(slot):
                train = Train(population.runs, [*map(self._checkpoint, population.runs)])
                self._in_work[self._executor.submit(slot, train)] = slot, population

    def _idle(self) -> list[int]:
        return sorted({*self._executor.slots} - {slot for slot, _ in self._in_work.values()})

    def _plan(self, idle: Sequence[int], progress: Progress) -> None:
        """Makes populations of the added runs. `idle`: slots that can say how many fit."""
        added, self._added = self._added, []
        groups = grouped(added, self._missing)
        self._ask_programs(groups, idle)
        with_program = [(shared, runs) for shared, runs in groups if shared in self._programs]
        new = list(populations(with_program, self._programs, self._missing))
        progress.add([run for population in new for run in population.runs])
        self._schedule.add(new)

    def _ask_programs(
        self, groups: Sequence[tuple[Shared, Sequence[Run]]], idle: Sequence[int]
    ) -> None:
        """Asks idle slots, in turn, for the programs of runs whose program is not known yet."""
        unknown: dict[Shared, list[Run]] = {}  # two groups may need the same program
        for shared, runs in groups:
            if shared not in self._programs:
                missing = [run for run in runs if run.key in self._missing]
                unknown.setdefault(shared, []).extend(missing)
        answers = {
            shared: (slot, self._executor.submit(slot, Program(runs[0])))
            for (shared, runs), slot in zip(unknown.items(), cycle(idle), strict=False)
        }
        repeated: list[tuple[Shared, Sequence[Run]]] = []
        for shared, (slot, work) in answers.items():
            try:
                self._programs[shared] = work.result()
            except WorkerDied as error:
                self._schedule.lost(slot)
                repeated += [
                    (shared, runs) for runs in [self._survived(unknown[shared], error)] if runs
                ]
        if repeated:
            self._ask_programs(repeated, self._idle() or self._executor.slots)

    def _checkpoint(self, run: Run) -> Path | None:
        """The file that the run can continue from, if it exists."""
        path = self._journal.checkpoint(run.goes_on_from)
        return path and path.absolute()

    def _finished(self, progress: Progress) -> Iterator[Result]:
        """Waits until a slot has finished; yields its results."""
        done, _ = wait(self._in_work, progress.every, return_when=FIRST_COMPLETED)
        finished: list[tuple[Assignment, Timed]] = []
        errors: list[BaseException] = []
        for work in done:
            assert isinstance(work, Work), "only futures of the executor are waited for"
            slot, assignment = self._in_work.pop(work)
            error = work.exception()
            if isinstance(error, WorkerDied):
                self._lost(slot, assignment, error)
            elif error is not None:
                errors.append(error)
            else:
                finished.append((assignment, work.result()))
                self._note_time(*finished[-1])
        if not errors:
            try:
                self._hand_out(progress)  # so that no slot waits while these results are used
            except BaseException as error:  # an interruption too: what has finished is kept
                errors.append(error)
        for assignment, timed in finished:
            yield from self._keep(assignment, timed, progress)
        if errors:  # after the results of other slots are kept
            raise errors[0]
        progress.show(sum(work.epochs for work in self._in_work))

    def _note_time(self, assignment: Assignment, timed: Timed) -> None:
        self.busy += timed.seconds
        if isinstance(assignment, Population):
            self._schedule.took(assignment, timed.seconds)

    def _keep(self, assignment: Assignment, timed: Timed, progress: Progress) -> Iterator[Result]:
        """Adds results to the journal, all of them before any is yielded."""
        results = timed.results
        if isinstance(assignment, Run):
            self._journal.measured(results)
            progress.spared([assignment])
            yield self._journal.result(assignment.key)
            return
        self._journal.add(assignment.runs, results)
        self._journal.hosts.add([run.key for run in assignment.runs], timed.host)
        for run in assignment.runs:
            self._journal.drop_checkpoint(self._before[run.key])
        self._missing -= {run.key for run in assignment.runs}
        self._schedule.finished(assignment.runs)
        progress.finished(assignment.runs)
        yield from results

    def _lost(self, slot: int, assignment: Assignment, error: WorkerDied) -> None:
        """Repeats the runs of a worker that died, each alone, since one may be the cause.

        Those of a lost machine are repeated together.
        """
        self._schedule.lost(slot)
        if isinstance(assignment, Run):
            self._to_measure += self._survived([assignment], error)
            return
        repeated = self._survived(assignment.runs, error)
        self._schedule.finished(assignment.runs)  # runs that continue a failed one start afresh
        together = [repeated] if isinstance(error, NodeLost) else [[run] for run in repeated]
        self._schedule.add(Population(assignment.program, runs) for runs in together)

    def _survived(self, runs: Sequence[Run], error: WorkerDied) -> list[Run]:
        """The runs that may be tried again; the others have failed."""
        if isinstance(error, NodeLost):
            return [*runs]
        self._deaths.update(run.key for run in runs)
        failed = f"{error}, {TIMES}"
        self._failed += [Result(run.key, {}, failed=failed) for run in runs if self._given_up(run)]
        return [run for run in runs if not self._given_up(run)]

    def _given_up(self, run: Run) -> bool:
        return self._deaths[run.key] >= ATTEMPTS
