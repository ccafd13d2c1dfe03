"""The two halves of a study: the searches for hyperparameters, and the final runs.

Uses no files or servers: gives runs to a pool, and yields rows and results as they are finished.
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
    """Trains runs; `pipeline.execution.runner.Runner` is one."""

    def add(self, runs: Sequence[Run], instead_of: Collection[Run] = ()) -> None:
        """Adds runs to train; see `Runner.add`."""

    def results(self, title: str, runs: int, epochs: int) -> Iterator[Result]:
        """Results of the added runs as they finish; runs may be added meanwhile."""


def searches(plan: Plan) -> dict[str, Search]:
    """A search for each tuned technique of the study, all with the same budget."""
    tuning = plan.study.tuning
    budget = (tuning.trials, tuning.round)
    return {
        name: Search(name, plan.study.search(name), *budget, plan.study_seed, plan.task)
        for name in plan.study.tuned
    }


def tune(plan: Plan, searching: Mapping[str, Search], pool: Pool) -> Iterator[Row]:
    """Runs the searches to their end; yields a row of trials.csv for each finished trial.

    Searches advance independently, so no worker waits for another technique. The results of a
    round's trials reach Optuna in the order in which it proposed them, whatever finished first.
    """
    steps = {name: _steps(plan, search) for name, search in searching.items()}
    needed = {name: next(step)[1] for name, step in steps.items()}
    technique_of = {run.key: name for name, runs in needed.items() for run in runs}
    finished: dict[str, dict[str, Result]] = defaultdict(dict)
    pool.add([run for runs in needed.values() for run in runs])
    for result in pool.results(f"tune {plan.name}", *budget(plan, searching)):
        name = technique_of[result.key]
        finished[name][result.key] = result
        if len(finished[name]) == len(needed[name]):
            previous = needed[name]
            rows, needed[name] = steps[name].send(finished.pop(name))
            technique_of |= {run.key: name for run in needed[name]}
            pool.add(needed[name], instead_of=previous)
            yield from rows


def budget(plan: Plan, searching: Mapping[str, Search]) -> tuple[int, int]:
    """The number of runs of all trials, and of their epochs.

    A trial that continues after a rung counts as a further run, with all its epochs.
    """
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
    """The steps of a search: yields the rows of ended trials, and the runs that it needs next.

    It is sent their results, by key. After the last trial it needs no runs.
    """
    tuning = plan.study.tuning
    ended: list[Row] = []
    while trials := search.ask():
        seconds: dict[int, float] = {}  # taken so far, by the trial's number
        for rung, epochs in enumerate(tuning.rungs):
            runs = {
                trial.number: [
                    plan.trial(search.name, trial.params, seed, rung)
                    for seed in range(tuning.seeds)
                ]
                for trial in trials
            }
            by_key = {run.key: run for of_trial in runs.values() for run in of_trial}
            results = yield ended, [*by_key.values()]  # trials may be equal
            rows = {
                number: _trial_row(of_trial, number, results, seconds.get(number, 0.0))
                for number, of_trial in runs.items()
            }
            seconds = {number: row["seconds"] for number, row in rows.items()}
            trials = _tell(plan, search, trials, rows, epochs)
            continuing = {trial.number for trial in trials}
            ended = [
                row | {"state": _state(row, tuning, epochs)}
                for number, row in rows.items()
                if number not in continuing
            ]
    yield ended, []


def _state(row: Row, tuning: Tuning, epochs: int) -> str:
    """The state of a trial that ended after `epochs`; failed if every seed diverged."""
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
    """Tells a search the scores of its trials after `epochs`; returns those that continue."""
    trial_rows = [rows[trial.number] for trial in trials]
    outcomes = [
        Outcome(trial.params, row[search.task.val.name], row["val_loss"])
        for trial, row in zip(trials, trial_rows, strict=True)
    ]
    pruning = plan.study.tuning.pruning
    if pruning is not None and epochs < plan.study.tuning.epochs:
        return search.prune(trials, outcomes, epochs, pruning.factor)
    search.tell(trials, outcomes)
    return []


def _trial_row(
    runs: Sequence[Run], number: int, results: Mapping[str, Result], seconds: float
) -> Row:
    """The row of a trial: means over its seeds. A diverged run has the worst score and loss.

    If a run failed, all runs of the trial count as diverged, since its score is unknown.

    `seconds`: the time that the trial had taken before.
    """
    run_results = [results[run.key] for run in runs]
    task = runs[0].task
    failed = [result.failed for result in run_results if result.failed]
    measures = [LOST if failed else result.measures for result in run_results]

    def mean(name: str) -> float:
        return float(np.mean([measure.get(name, np.nan) for measure in measures]))

    def mean_with(worst: float, name: str) -> float:
        return float(
            np.mean([worst if measure["diverged"] else measure[name] for measure in measures])
        )

    names = (str(number), *(run.key for run in runs))  # two trials may have equal runs
    return {
        "key": hashlib.sha256("".join(names).encode()).hexdigest()[:20],
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
        + (0.0 if runs[0].goes_on_from else seconds),  # continued runs include earlier seconds
        **({"failed": failed[0]} if failed else {}),
    }


def tuned(plan: Plan, searching: Mapping[str, Search]) -> dict[str, Any]:
    """The content of tuned.json: the chosen values, their ranges, and the budget."""
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
            name: {
                "low": search_range.low,
                "high": search_range.high,
                "log": search_range.log,
                "integer": search_range.integer,
            }
            for name, search_range in search.ranges.items()
        },
    }


def _stops_early(plan: Plan, technique: str, values: Mapping[str, float]) -> bool:
    """Whether final runs of the technique with these values are scored at their best epoch."""
    return plan.tuned(technique, values, 0).stops_early


def _finite(number: float) -> float | None:
    """The number, or None if it is not finite, since JSON has no infinity."""
    return number if np.isfinite(number) else None


def final_runs(plan: Plan, chosen: Mapping[str, Mapping[str, float]]) -> list[Run]:
    """The final runs of each technique in the article setting, if it has one, and the tuned one.

    Raises UserError if `chosen` lacks a technique that is tuned.
    """
    if missing := [name for name in plan.study.tuned if name not in chosen]:
        raise UserError(
            f"tuned.json has no values for {', '.join(missing)};"
            f" run `python -m pipeline tune {plan.name}`"
        )
    seeds = range(plan.study.final.seeds)
    article = [plan.article(name, seed) for name in plan.study.techniques for seed in seeds]
    tuned = [plan.tuned(name, chosen[name], seed) for name in plan.study.tuned for seed in seeds]
    return chained([run for run in article if run is not None] + tuned)
