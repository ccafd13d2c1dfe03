"""The two halves of a study: the search for each technique's values, and the final runs.

Pure of files and servers: units go to a pool, rows and results come out as they are made.
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import optuna

from pipeline.config.sections import Tuning
from pipeline.errors import UserError
from pipeline.results import param_columns
from pipeline.training.runs import Plan, Result, Run, chained
from pipeline.tuning.search import Outcome, Search, survivors

Row = dict[str, Any]
LOST: Mapping[str, float] = {"diverged": True, "epochs_run": 0, "seconds": 0.0}
Steps = Generator[tuple[list[Row], list[Run]], Mapping[str, Result], None]


class Pool(Protocol):
    """What trains units: `pipeline.execution.runner.Runner`."""

    def add(self, runs: Sequence[Run], instead_of: Collection[Run] = ()) -> None:
        """Gives it units to train; see there."""

    def results(self, title: str, runs: int, epochs: int) -> Iterator[Result]:
        """Results of what was added, also while they come."""


def searches(plan: Plan) -> dict[str, Search]:
    """A search for each technique of the study that is tuned, all with the same budget."""
    tuning = plan.study.tuning
    budget = (tuning.trials, tuning.round)
    return {
        name: Search(name, plan.study.search(name), *budget, plan.study_seed, plan.task)
        for name in plan.study.tuned
    }


def tune(plan: Plan, searching: Mapping[str, Search], pool: Pool) -> Iterator[Row]:
    """Drives the searches to the end; yields a row of trials.csv for each finished trial.

    Each search goes its own way, so that no worker waits for another technique; a round's trials
    are told in the order in which they were asked, whatever finished first.
    """
    steps = {name: _steps(plan, search) for name, search in searching.items()}
    asked = {name: next(step)[1] for name, step in steps.items()}
    technique = {run.key: name for name, runs in asked.items() for run in runs}
    found: dict[str, dict[str, Result]] = defaultdict(dict)
    pool.add([run for runs in asked.values() for run in runs])
    for result in pool.results(f"tune {plan.name}", *budget(plan, searching)):
        name = technique[result.key]
        found[name][result.key] = result
        if len(found[name]) == len(asked[name]):
            before = asked[name]
            rows, asked[name] = steps[name].send(found.pop(name))
            technique |= {run.key: name for run in asked[name]}
            pool.add(asked[name], instead_of=before)
            yield from rows


def budget(plan: Plan, searching: Mapping[str, Search]) -> tuple[int, int]:
    """The runs of all trials, and their epochs; one that goes on is another, from its first."""
    tuning, runs, total = plan.study.tuning, 0, 0
    for search in searching.values():
        for first in range(0, search.trials, search.round):
            trials = min(search.round, search.trials - first)
            for epochs in tuning.rungs:
                runs += trials * tuning.seeds
                total += trials * tuning.seeds * epochs
                trials = survivors(trials, tuning.pruning.factor) if tuning.pruning else 0
    return runs, total


def _steps(plan: Plan, search: Search) -> Steps:
    """A search, step by step: rows of trials that are over, and the units that it asks for next.

    It is sent their results, by key. At its end it asks for nothing.
    """
    tuning = plan.study.tuning
    over: list[Row] = []
    while trials := search.ask():
        seconds: dict[int, float] = {}  # so far, by the trial's number
        for rung, epochs in enumerate(tuning.rungs):
            runs = {
                trial.number: [
                    plan.trial(search.name, trial.params, seed, rung)
                    for seed in range(tuning.seeds)
                ]
                for trial in trials
            }
            every = {run.key: run for group in runs.values() for run in group}
            results = yield over, [*every.values()]  # trials may be equal
            rows = {
                number: _trial_row(group, number, results, seconds.get(number, 0.0))
                for number, group in runs.items()
            }
            seconds = {number: row["seconds"] for number, row in rows.items()}
            trials = _tell(plan, search, trials, rows, epochs)
            going_on = {trial.number for trial in trials}
            over = [
                row | {"state": _state(row, tuning, epochs)}
                for number, row in rows.items()
                if number not in going_on
            ]
    yield over, []


def _state(row: Row, tuning: Tuning, epochs: int) -> str:
    """How a trial ended after `epochs`: failed where every seed diverged."""
    if row["diverged"] == tuning.seeds:
        return "failed"
    return "complete" if epochs == tuning.epochs else "pruned"


def _tell(
    plan: Plan,
    search: Search,
    trials: Sequence[optuna.Trial],
    rows: Mapping[int, Row],
    epochs: int,
) -> list[optuna.Trial]:
    """Tells a search what its trials gave after `epochs`; those that go on."""
    found = [rows[trial.number] for trial in trials]
    outcomes = [
        Outcome(trial.params, row[search.task.val.name], row["val_loss"])
        for trial, row in zip(trials, found, strict=True)
    ]
    pruning = plan.study.tuning.pruning
    if pruning is not None and epochs < plan.study.tuning.epochs:
        return search.prune(trials, outcomes, epochs, pruning.factor)
    search.tell(trials, outcomes)
    return []


def _trial_row(
    runs: Sequence[Run], number: int, results: Mapping[str, Result], seconds: float
) -> Row:
    """Means over the trial's seeds. A member that diverged has the worst of scores and losses.

    If a run failed, all of the trial's count as diverged: it has not shown what its values do.

    `seconds`: what the trial had taken before.
    """
    given = [results[run.key] for run in runs]
    task = runs[0].task
    failed = [result.failed for result in given if result.failed]
    measures = [LOST if failed else result.measures for result in given]

    def mean(name: str) -> float:
        return float(np.mean([measure.get(name, np.nan) for measure in measures]))

    def mean_with(lost: float, name: str) -> float:
        return float(np.mean([lost if m["diverged"] else m[name] for m in measures]))

    parts = (str(number), *(run.key for run in runs))  # trials may be equal but for the number
    return {
        "key": hashlib.sha256("".join(parts).encode()).hexdigest()[:20],
        "study": runs[0].study,
        "task": task.name,
        "technique": runs[0].technique,
        **runs[0].made_of,
        "trial": number,
        "state": "running",
        **param_columns(runs[0].hyperparameters),
        task.val.name: mean_with(task.worst, task.val.name),
        "val_loss": mean_with(np.inf, "val_loss"),
        task.train.name: mean(task.train.name),
        "diverged": sum(measure["diverged"] for measure in measures),
        "epochs_run": mean("epochs_run"),
        "seconds": sum(measure["seconds"] for measure in measures)
        + (0.0 if runs[0].goes_on_from else seconds),  # otherwise its own hold those before
        **({"failed": failed[0]} if failed else {}),
    }


def tuned(plan: Plan, searching: Mapping[str, Search]) -> dict[str, Any]:
    """The content of tuned.json: what was chosen, from which ranges, with which budget."""
    tuning = plan.study.tuning
    return {
        "study": plan.name,
        "task": plan.task.name,
        "epochs": tuning.epochs,
        "trials": tuning.trials,
        "seeds": tuning.seeds,
        "rungs": list(tuning.rungs),
        "techniques": {name: _choice(plan, search) for name, search in searching.items()},
    }


def _choice(plan: Plan, search: Search) -> dict[str, Any]:
    best = search.outcomes[search.best]
    values = {"learning_rate": plan.study.training.learning_rate} | dict(best.values)
    return {
        "values": values,
        search.task.val.name: _finite(best.score),
        "val_loss": _finite(best.val_loss),
        "trial": search.best,
        "at_edge": search.at_edge(),
        "stops_early": _stops_early(plan, search.name, best.values),
        "search": {
            name: {"low": r.low, "high": r.high, "log": r.log, "integer": r.integer}
            for name, r in search.ranges.items()
        },
    }


def _stops_early(plan: Plan, technique: str, values: Mapping[str, float]) -> bool:
    """Whether the technique's score at these values is that of its best epoch."""
    return plan.tuned(technique, values, 0).stops_early


def _finite(number: float) -> float | None:
    """None for a trial that diverged: JSON has no infinity."""
    return number if np.isfinite(number) else None


def final_runs(plan: Plan, chosen: Mapping[str, Mapping[str, float]]) -> list[Run]:
    """The final runs: each technique's article setting, where it has one, and its tuned one.

    Raises UserError where `chosen` lacks a technique that is tuned.
    """
    if missing := [name for name in plan.study.tuned if name not in chosen]:
        raise UserError(
            f"tuned.json has no values for {', '.join(missing)};"
            f" `python -m pipeline tune {plan.name}` finds them"
        )
    seeds = range(plan.study.final.seeds)
    article = [plan.article(name, seed) for name in plan.study.techniques for seed in seeds]
    tuned = [plan.tuned(name, chosen[name], seed) for name in plan.study.tuned for seed in seeds]
    return chained([run for run in article if run is not None] + tuned)
