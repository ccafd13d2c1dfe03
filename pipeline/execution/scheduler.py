"""Which runs are trained together, and which come next; uses no processes, files or clocks.

Runs that can share a compiled program are trained together, as many at once as it takes.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from pipeline.techniques.training import BatchSize
from pipeline.training.runs import Run

Shared = tuple[object, ...]  # equal for runs that one program can train


@dataclass(frozen=True)
class Population:
    """Runs that one program trains at once. `program`: the name of the compiled program."""

    program: str
    runs: Sequence[Run]


def grouped(runs: Iterable[Run], missing: Collection[str]) -> list[tuple[Shared, list[Run]]]:
    """Groups of consecutive runs that can share a program, if any of their keys is missing.

    A group includes its finished runs.
    """
    groups = ((shared, list(group)) for shared, group in groupby(runs, key=_shared))
    return [
        (shared, members)
        for shared, members in groups
        if any(run.key in missing for run in members)
    ]


def _shared(run: Run) -> Shared:
    batch_size = run.change.get(BatchSize)  # a hyperparameter that also sets the program's shapes
    technique = run.technique, run.combine, run.setting
    return run.model, *technique, run.training.epochs, batch_size, run.train_rows


def populations(
    groups: Iterable[tuple[Shared, Sequence[Run]]],
    programs: Mapping[Shared, tuple[str, int]],
    missing: Collection[str],
) -> Iterator[Population]:
    """The missing runs of each group, as many at a time as its program trains at once.

    Places of finished runs stay empty, so that an interruption moves no run to another population.
    """
    for shared, members in groups:
        program, size = programs[shared]
        for start in range(0, len(members), size):
            if waiting := [run for run in members[start : start + size] if run.key in missing]:
                yield Population(program, waiting)


class Schedule:
    """Which population an idle slot takes next, so that few programs are compiled twice.

    A slot takes populations first of programs that it has compiled, then of programs that no slot
    has compiled, and last of those of other slots, if their remaining work takes longer than
    compiling the program again. A run that continues another one waits until that is finished.
    Lives as long as the executor.
    """

    def __init__(self) -> None:
        self._waiting: list[Population] = []
        self._unfinished: set[str | None] = set()  # keys
        self._compiled: dict[int, set[str]] = defaultdict(set)  # slot → programs
        # Program → seconds of its first population, with compiling, and of a later one.
        self._first: dict[str, float] = {}
        self._again: dict[str, float] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, populations: Iterable[Population]) -> None:
        """Adds populations before those that wait, so that searches under way end first."""
        added = list(populations)
        self._waiting = added + self._waiting
        self._unfinished |= {run.key for population in added for run in population.runs}

    def next(self, slot: int) -> Population | None:
        """Removes and returns a population; None if the slot should stay idle."""
        compiled_here = self._compiled[slot]
        compiled_elsewhere = set().union(*self._compiled.values()) - compiled_here
        remaining = Counter(population.program for population in self._waiting)
        for programs in (
            compiled_here,
            remaining.keys() - compiled_here - compiled_elsewhere,
            compiled_elsewhere,
        ):
            for population in filter(self._ready, self._waiting):
                if population.program in programs and (
                    population.program not in compiled_elsewhere
                    or self._worth_compiling(population, remaining)
                ):
                    self._waiting.remove(population)
                    compiled_here.add(population.program)
                    return population
        return None

    def _ready(self, population: Population) -> bool:
        return all(run.goes_on_from not in self._unfinished for run in population.runs)

    def _worth_compiling(self, population: Population, remaining: Counter[str]) -> bool:
        seconds = self._again.get(population.program)
        if seconds is None:
            return True
        return remaining[population.program] * seconds > self._first[population.program] - seconds

    def finished(self, runs: Iterable[Run]) -> None:
        """Runs that continue these need not wait any more."""
        self._unfinished -= {run.key for run in runs}

    def took(self, population: Population, seconds: float) -> None:
        """Records the seconds that a population took, with or without compiling."""
        if population.program in self._first:
            self._again[population.program] = seconds
        else:
            self._first[population.program] = seconds

    def keep(self, slots: Collection[int]) -> None:
        """Forgets what slots have compiled that are gone, so that none waits for them."""
        for slot in self._compiled.keys() - slots:
            self.lost(slot)

    def lost(self, slot: int) -> None:
        """Records that a slot has a new process, without compiled programs."""
        self._compiled[slot].clear()
