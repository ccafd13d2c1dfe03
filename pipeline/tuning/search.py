"""Optuna's part: one study per technique, asked and told in fixed rounds. Knows no MLflow.

A search is decided by its seed and what it is told. Interrupted, it is replayed from the start
with the journal's results, and asks for the same trials again, so no half-run trial is ever stored.
"""

import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from pipeline.config.sections import random_trials
from pipeline.datasets.task import CLASSIFICATION, Task
from pipeline.files import replacing
from pipeline.techniques.ranges import Range

EDGE = 0.05  # a best value within this share of its range from an end is flagged

optuna.logging.set_verbosity(optuna.logging.WARNING)  # it announces every study and trial

Values = Mapping[str, float]


@dataclass(frozen=True)
class Outcome:
    """A trial's means over its seeds, on validation data: the task's score, and the loss."""

    values: Values
    score: float
    val_loss: float


class Search:
    """The search for one technique's hyperparameters.

    The first `random_trials` are quasi-random (Halton, scrambled), the rest is TPE. With nothing
    to search there is one trial.

    Args:
        ranges: hyperparameter → its range. seed: decides every value asked. task: which
            scores are better. A small validation set ties often; then the loss decides.
    """

    def __init__(
        self,
        name: str,
        ranges: Mapping[str, Range],
        trials: int,
        round_size: int,
        seed: int,
        task: Task = CLASSIFICATION,
    ) -> None:
        self.name, self.ranges, self.task = name, dict(ranges), task
        self.trials = trials if ranges else 1
        self.round = round_size
        self._asked = 0
        self.outcomes: dict[int, Outcome] = {}  # of the trials trained to the end, by number
        first = random_trials(self.trials, round_size)
        seed = (seed + zlib.crc32(name.encode())) % 2**32
        self.study = optuna.create_study(
            study_name=name,
            direction=task.direction,
            sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=first),
        )
        self._distributions = {key: _distribution(found) for key, found in self.ranges.items()}
        for point in _quasi_random(self.ranges, first, seed):
            self.study.enqueue_trial(point)

    def ask(self) -> list[optuna.Trial]:
        """The next round's trials; empty when the budget is spent."""
        count = min(self.round, self.trials - self._asked)
        self._asked += count
        return [self.study.ask(self._distributions) for _ in range(count)]

    def tell(self, trials: Sequence[optuna.Trial], outcomes: Sequence[Outcome]) -> None:
        """What trials gave that were trained to the end, in the order in which they were asked."""
        for trial, outcome in zip(trials, outcomes, strict=True):
            trial.set_user_attr("val_loss", outcome.val_loss)
            self.study.tell(trial, outcome.score)
            self.outcomes[trial.number] = outcome

    def prune(
        self,
        trials: Sequence[optuna.Trial],
        outcomes: Sequence[Outcome],
        epochs: int,
        factor: int,
    ) -> list[optuna.Trial]:
        """The trials that go on after `epochs`: the best 1 / factor of them, at least one.

        Successive halving: Jamieson and Talwalkar 2016. In the order in which they were asked.
        """
        pairs = zip(outcomes, trials, strict=True)
        worst_first = sorted(pairs, key=lambda pair: self._order(pair[0]), reverse=True)
        lost = {trial.number for _, trial in worst_first[: -survivors(len(trials), factor)]}
        for trial, outcome in zip(trials, outcomes, strict=True):
            trial.report(outcome.score, epochs)
            if trial.number in lost:
                trial.set_user_attr("val_loss", outcome.val_loss)
                self.study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        return [trial for trial in trials if trial.number not in lost]

    @property
    def best(self) -> int:
        """The number of the best trial."""
        return min(self.outcomes, key=lambda number: self._order(self.outcomes[number]))

    def _order(self, outcome: Outcome) -> tuple[float, float]:
        return self.task.order(outcome.score, outcome.val_loss)

    def at_edge(self) -> list[str]:
        """The hyperparameters whose best value lies at an end of its range."""
        values = self.outcomes[self.best].values
        return [
            name
            for name, found in self.ranges.items()
            if not EDGE < _position(found, values[name]) < 1 - EDGE
        ]

    def store(self, storage: optuna.storages.BaseStorage) -> None:
        """Copies the finished study into another of Optuna's storages, for its dashboard."""
        optuna.copy_study(
            from_study_name=self.name,
            from_storage=self.study._storage,
            to_storage=storage,
        )


def survivors(trials: int, factor: int) -> int:
    """How many of the trials that are compared go on."""
    return max(1, trials // factor)


@contextmanager
def storing(path: Path) -> Iterator[Callable[[Search], None]]:
    """Takes searches, as they end, into one SQLite file, which is replaced whole at the end."""
    with replacing(path) as scratch, ExitStack() as stack:

        @cache  # with the first search: until then, workers start
        def storage() -> optuna.storages.RDBStorage:
            opened = optuna.storages.RDBStorage(f"sqlite:///{scratch}")
            stack.callback(opened.engine.dispose)
            return opened

        yield lambda search: search.store(storage())


def _distribution(found: Range) -> BaseDistribution:
    if found.integer:
        return IntDistribution(int(found.low), int(found.high), log=found.log)
    return FloatDistribution(found.low, found.high, log=found.log)


def _quasi_random(ranges: Mapping[str, Range], count: int, seed: int) -> list[dict[str, float]]:
    """`count` points that fill the ranges evenly, on their own scales."""
    if not ranges:
        return []
    from scipy.stats import qmc  # takes half a second, in which workers can start

    points = qmc.Halton(len(ranges), rng=seed).random(count)
    return [
        {
            name: _value(found, share)
            for (name, found), share in zip(ranges.items(), point, strict=True)
        }
        for point in points
    ]


def _value(found: Range, share: float) -> float:
    """The value that lies at this share of the range."""
    if found.log:
        value = found.low * (found.high / found.low) ** share
    else:
        value = found.low + (found.high - found.low) * share
    value = min(max(value, found.low), found.high)
    return round(value) if found.integer else float(value)


def _position(found: Range, value: float) -> float:
    """The share of the range at which the value lies: `_value`'s inverse."""
    if found.log:
        return math.log(value / found.low) / math.log(found.high / found.low)
    return (value - found.low) / (found.high - found.low)
