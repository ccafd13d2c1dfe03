"""What runs next, and with what: pure of processes, files and time.

Runs that can share a compiled program are trained together, as many at once as the program holds.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from pipeline.techniques.training import BatchSize
from pipeline.training.runs import Run

Shared = tuple[object, ...]  # equal for runs that one program trains


@dataclass(frozen=True)
class Population:
    """Runs that one program trains at once. `program` names the compiled program."""

    program: str
    runs: Sequence[Run]


def grouped(runs: Iterable[Run], missing: Collection[str]) -> list[tuple[Shared, list[Run]]]:
    """Neighbours that can share a program, finished ones too, where any key is missing."""
    groups = ((shared, list(group)) for shared, group in groupby(runs, key=_shared))
    return [
        (shared, members)
        for shared, members in groups
        if any(run.key in missing for run in members)
    ]


def _shared(run: Run) -> Shared:
    batch_size = run.change.get(BatchSize)  # a hyperparameter, but also a program's shape
    what = run.model, run.technique, run.combine
    return *what, run.setting, run.training.epochs, batch_size


def populations(
    groups: Iterable[tuple[Shared, Sequence[Run]]],
    programs: Mapping[Shared, tuple[str, int]],
    missing: Collection[str],
) -> Iterator[Population]:
    """The missing runs of each group, as many at a time as its program trains at once.

    The finished ones leave their places empty: an interruption moves nobody else.
    """
    for shared, members in groups:
        program, places = programs[shared]
        for i in range(0, len(members), places):
            if waiting := [run for run in members[i : i + places] if run.key in missing]:
                yield Population(program, waiting)


class Schedule:
    """Which population an idle slot takes next, so that few programs are compiled twice.

    A slot takes what it has compiled; then what nobody has; and only then what others have, if the
    work that is left there takes longer than compiling once more. What goes on from a run waits
    until that one is finished. Lives as long as the executor.
    """

    def __init__(self) -> None:
        self._waiting: list[Population] = []
        self._unfinished: set[str | None] = set()  # keys
        self._compiled: dict[int, set[str]] = defaultdict(set)  # slot → programs
        self._first: dict[str, float] = {}  # program → seconds of its first run, with compiling
        self._again: dict[str, float] = {}  # program → seconds of a later run

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, populations: Iterable[Population]) -> None:
        """Puts populations before those that wait, so that what was begun is finished first."""
        added = list(populations)
        self._waiting = added + self._waiting
        self._unfinished |= {run.key for population in added for run in population.runs}

    def next(self, slot: int) -> Population | None:
        """Takes a population off the schedule; None if the slot had better stay idle."""
        own = self._compiled[slot]
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

    def finished(self, runs: Iterable[Run]) -> None:
        """What goes on from these runs need not wait any more."""
        self._unfinished -= {run.key for run in runs}

    def took(self, population: Population, seconds: float) -> None:
        """Learns what compiling and what training takes."""
        if population.program in self._first:
            self._again[population.program] = seconds
        else:
            self._first[population.program] = seconds

    def lost(self, slot: int) -> None:
        """A slot has a fresh process, which has compiled nothing."""
        self._compiled[slot].clear()
