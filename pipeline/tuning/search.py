"""Searches by Optuna: one of its studies per technique, asked and told in fixed rounds.

A search depends only on its seed and on the scores that it is told. After an interruption it is
replayed from the start with the journal's results, and proposes the same trials again.
"""

import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from pipeline.config.sections import random_trials
from pipeline.datasets.task import CLASSIFICATION, Task
from pipeline.files import replacing
from pipeline.results import SIZE
from pipeline.techniques.ranges import Range

EDGE = 0.05  # best values within this share of their range from an end are flagged

optuna.logging.set_verbosity(optuna.logging.WARNING)  # or it reports every study and trial

Values = Mapping[str, float]


@dataclass(frozen=True)
class Outcome:
    """A trial's scores and losses on validation data, one of each for every seed it was trained on.

    A run that diverged has the worst score and an infinite loss.
    """

    values: Values
    scores: tuple[float, ...]
    losses: tuple[float, ...]

    @property
    def score(self) -> float:
        """The mean score."""
        return float(np.mean(self.scores))

    @property
    def val_loss(self) -> float:
        """The mean loss."""
        return float(np.mean(self.losses))

    def after(self, draws: int) -> "Outcome":
        """The outcome on the first `draws` seeds."""
        return Outcome(self.values, self.scores[:draws], self.losses[:draws])


class Search:
    """The search for one technique's hyperparameters.

    The first `random_trials` are quasi-random (scrambled Halton), the others are proposed by TPE.
    With nothing to search there is one trial.

    Args:
        name: the technique.
        index: which of the technique's searches.
        ranges: hyperparameter → its range.
        trials: the budget.
        round_size: trials proposed at a time.
        seed: determines the proposals, together with the scores told.
        task: says which scores are better. Between equal scores, which are common on a small
            validation set, the loss decides.
        size: of what the study varies, if it does.

    >>> ranges = {"strength": Range(1e-6, 1e-1, log=True)}
    >>> search = Search("l2", 0, ranges, 2, round_size=2, seed=0)
    >>> trials = search.ask()
    >>> found = [Outcome(t.params, (score,), (0.5,)) for t, score in zip(trials, (0.8, 0.9))]
    >>> search.tell(trials, found)
    >>> search.best, search.ask()
    (1, [])
    """

    def __init__(
        self,
        name: str,
        index: int,
        ranges: Mapping[str, Range],
        trials: int,
        round_size: int,
        seed: int,
        task: Task = CLASSIFICATION,
        size: int | None = None,
    ) -> None:
        self.name, self.index, self.ranges, self.task = name, index, dict(ranges), task
        self.size = size
        self.trials = trials if ranges else 1
        self.round = round_size
        self._asked = 0
        self.outcomes: dict[int, Outcome] = {}  # of the trials trained to the end, by number
        self.racing: list[int] = []  # the trials that are still in the race
        n_random = random_trials(self.trials, round_size)
        self.title = f"{name} {index}" if size is None else f"{name} {size} {index}"
        seed = (seed + zlib.crc32(self.title.encode())) % 2**32
        self.study = optuna.create_study(
            study_name=self.title,
            direction=task.direction,
            sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=n_random),
        )
        self._distributions = {
            parameter: _distribution(search_range)
            for parameter, search_range in self.ranges.items()
        }
        for point in _quasi_random(self.ranges, n_random, seed):
            self.study.enqueue_trial(point)

    @property
    def at(self) -> dict[str, int]:
        """The size as a column of tables; empty without one."""
        return {} if self.size is None else {SIZE: self.size}

    def ask(self) -> list[optuna.Trial]:
        """The next round's trials; none when the budget is used up."""
        count = min(self.round, self.trials - self._asked)
        self._asked += count
        return [self.study.ask(self._distributions) for _ in range(count)]

    def tell(self, trials: Sequence[optuna.Trial], outcomes: Sequence[Outcome]) -> None:
        """Tells the outcomes of trials that were trained to the end, in the order of `ask`."""
        for trial, outcome in zip(trials, outcomes, strict=True):
            trial.set_user_attr("val_loss", outcome.val_loss)
            self.study.tell(trial, outcome.score)
            self.outcomes[trial.number] = outcome
            self.racing.append(trial.number)

    def prune(
        self,
        trials: Sequence[optuna.Trial],
        outcomes: Sequence[Outcome],
        epochs: int,
        factor: int,
    ) -> list[optuna.Trial]:
        """The trials that continue after `epochs`: the best 1 / factor of them, at least one.

        Successive halving, Jamieson and Talwalkar 2016. Keeps the order of `ask`; Optuna is told
        that the other trials are pruned.
        """
        pairs = zip(outcomes, trials, strict=True)
        worst_first = sorted(pairs, key=lambda pair: self._order(pair[0]), reverse=True)
        pruned = {trial.number for _, trial in worst_first[: -survivors(len(trials), factor)]}
        for trial, outcome in zip(trials, outcomes, strict=True):
            trial.report(outcome.score, epochs)
            if trial.number in pruned:
                trial.set_user_attr("val_loss", outcome.val_loss)
                self.study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        return [trial for trial in trials if trial.number not in pruned]

    def narrow(self, candidates: int) -> None:
        """Leaves the best `candidates` of the trials in the race; equal ones in their order."""
        ordered = sorted(self.racing, key=lambda number: self._order(self.outcomes[number]))
        self.racing = sorted(ordered[:candidates])

    def raced(self, number: int, outcome: Outcome) -> None:
        """Replaces the outcome of a trial in the race, which was trained on more seeds."""
        self.outcomes[number] = outcome

    @property
    def best(self) -> int:
        """The number of the best trial that is still in the race."""
        return min(self.racing, key=lambda number: self._order(self.outcomes[number]))

    @property
    def failed(self) -> bool:
        """Whether no run of any trial was trained to the end with finite numbers."""
        losses = [loss for outcome in self.outcomes.values() for loss in outcome.losses]
        return not np.isfinite(losses).any()

    def lowest_loss(self, draws: int) -> int:
        """The number of the trial with the lowest loss on the first `draws` seeds, raced or not."""

        def loss(number: int) -> tuple[float, float]:
            outcome = self.outcomes[number].after(draws)
            return outcome.val_loss, self._order(outcome)[0]

        return min(self.outcomes, key=loss)

    def _order(self, outcome: Outcome) -> tuple[float, float]:
        return self.task.order(outcome.score, outcome.val_loss)

    def at_edge(self) -> list[str]:
        """The hyperparameters whose best value lies at an end of its range; see `EDGE`."""
        values = self.outcomes[self.best].values
        return [
            name
            for name, search_range in self.ranges.items()
            if not EDGE < _position(search_range, values[name]) < 1 - EDGE
        ]

    def store(self, storage: optuna.storages.BaseStorage) -> None:
        """Copies the finished study into another Optuna storage, for its dashboard."""
        optuna.copy_study(
            from_study_name=self.title,
            from_storage=self.study._storage,
            to_storage=storage,
        )


def survivors(trials: int, factor: int) -> int:
    """How many of the compared trials continue.

    >>> survivors(8, factor=3)
    2
    """
    return max(1, trials // factor)


@contextmanager
def storing(path: Path) -> Iterator[Callable[[Search], None]]:
    """A function that stores searches in one SQLite file, which is replaced whole at the end."""
    with replacing(path) as scratch, ExitStack() as stack:

        @cache  # opened for the first search, so that it does not delay the start of workers
        def storage() -> optuna.storages.RDBStorage:
            database = optuna.storages.RDBStorage(f"sqlite:///{scratch}")
            stack.callback(database.engine.dispose)
            return database

        yield lambda search: search.store(storage())


def _distribution(search_range: Range) -> BaseDistribution:
    if search_range.integer:
        return IntDistribution(int(search_range.low), int(search_range.high), log=search_range.log)
    return FloatDistribution(search_range.low, search_range.high, log=search_range.log)


def _quasi_random(ranges: Mapping[str, Range], count: int, seed: int) -> list[dict[str, float]]:
    """`count` points that cover the ranges evenly, each on its own scale."""
    if not ranges:
        return []
    from scipy.stats import qmc  # here: the import takes half a second, while workers start

    points = qmc.Halton(len(ranges), rng=seed).random(count)
    return [
        {
            name: _value(search_range, share)
            for (name, search_range), share in zip(ranges.items(), point, strict=True)
        }
        for point in points
    ]


def _value(search_range: Range, share: float) -> float:
    """The value at this share of the range, from 0 at the low end to 1 at the high end."""
    if search_range.log:
        value = search_range.low * (search_range.high / search_range.low) ** share
    else:
        value = search_range.low + (search_range.high - search_range.low) * share
    value = min(max(value, search_range.low), search_range.high)
    return round(value) if search_range.integer else float(value)


def _position(search_range: Range, value: float) -> float:
    """The share of the range at which a value lies: the inverse of `_value`."""
    if search_range.log:
        return math.log(value / search_range.low) / math.log(search_range.high / search_range.low)
    return (value - search_range.low) / (search_range.high - search_range.low)
