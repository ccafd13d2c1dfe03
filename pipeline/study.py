"""The two halves of a study: the search for each technique's values, and the final runs.

Pure of files and servers: units go to `run`, rows and results come out as they are made.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import optuna

from pipeline.errors import UserError
from pipeline.params import Tuning
from pipeline.search import Outcome, Search
from pipeline.units import Plan, Result, Unit, chained

Run = Callable[[Sequence[Unit], str], Iterable[Result]]
Row = dict[str, Any]


def searches(plan: Plan) -> dict[str, Search]:
    """A search for each technique of the study that is tuned, all with the same budget."""
    tuning, objective = plan.study.tuning, plan.study.model.objective
    budget = (tuning.trials, tuning.round)
    return {
        name: Search(name, plan.study.search(name), *budget, plan.study_seed, objective)
        for name in plan.study.tuned
    }


def tune(plan: Plan, searching: Mapping[str, Search], run: Run) -> Iterator[Row]:
    """Drives the searches to the end; yields a row of trials.csv for each finished trial.

    All techniques go through a round together, so that every core has work; a round's trials are
    told in the order in which they were asked, whatever finished first.
    """
    while asked := {name: trials for name, s in searching.items() if (trials := s.ask())}:
        seconds: dict[tuple[str, int], float] = {}  # so far
        for rung, epochs in enumerate(plan.study.tuning.rungs):
            rows = _rung(plan, asked, rung, run, seconds)
            seconds |= {place: row["seconds"] for place, row in rows.items()}
            asked = {
                name: _tell(plan, searching[name], trials, rows, epochs)
                for name, trials in asked.items()
            }
            going_on = {(name, trial.number) for name in asked for trial in asked[name]}
            yield from (
                row | {"state": _state(row, plan.study.tuning, epochs)}
                for place, row in rows.items()
                if place not in going_on
            )


def _state(row: Row, tuning: Tuning, epochs: int) -> str:
    """How a trial ended after `epochs`: failed where every seed diverged."""
    if row["diverged"] == tuning.seeds:
        return "failed"
    return "complete" if epochs == tuning.epochs else "pruned"


def _rung(
    plan: Plan,
    asked: Mapping[str, Sequence[optuna.Trial]],
    rung: int,
    run: Run,
    seconds: Mapping[tuple[str, int], float],
) -> dict[tuple[str, int], Row]:
    """The rows, so far, of trials that are trained up to a rung: (technique, number) → row.

    `seconds`: what trials have taken up to the rung before.
    """
    seeds = range(plan.study.tuning.seeds)
    units = {
        (name, trial.number): [plan.trial(name, trial.params, seed, rung) for seed in seeds]
        for name, trials in asked.items()
        for trial in trials
    }
    every = {unit.key: unit for group in units.values() for unit in group}  # trials may be equal
    results = {result.key: result for result in run([*every.values()], f"tune {plan.dataset}")}
    rows = {
        (technique, number): _trial_row(group, number, results)
        for (technique, number), group in units.items()
    }
    for place, group in units.items():
        if group[0].goes_on_from is None:  # otherwise its seconds hold those before
            rows[place]["seconds"] += seconds.get(place, 0.0)
    return rows


def _tell(
    plan: Plan,
    search: Search,
    trials: Sequence[optuna.Trial],
    rows: Mapping[tuple[str, int], Row],
    epochs: int,
) -> list[optuna.Trial]:
    """Tells a search what its trials gave after `epochs`; those that go on."""
    found = [rows[search.name, trial.number] for trial in trials]
    outcomes = [
        Outcome(trial.params, row[search.objective.val.name], row["val_loss"])
        for trial, row in zip(trials, found, strict=True)
    ]
    pruning = plan.study.tuning.pruning
    if pruning is not None and epochs < plan.study.tuning.epochs:
        return search.prune(trials, outcomes, epochs, pruning.factor)
    search.tell(trials, outcomes)
    return []


def _trial_row(units: Sequence[Unit], number: int, results: Mapping[str, Result]) -> Row:
    """Means over the trial's seeds. A member that diverged has the worst of scores and losses."""
    measures = [results[unit.key].measures for unit in units]
    objective = units[0].model.objective

    def mean(name: str) -> float:
        return float(np.mean([measure[name] for measure in measures]))

    def mean_with(lost: float, name: str) -> float:
        return float(np.mean([lost if m["diverged"] else m[name] for m in measures]))

    parts = (str(number), *(unit.key for unit in units))  # trials may be equal but for the number
    return {
        "key": hashlib.sha256("".join(parts).encode()).hexdigest()[:20],
        "dataset": units[0].dataset,
        "technique": units[0].technique,
        **units[0].made_of,
        "trial": number,
        "state": "running",
        **units[0].hyperparameters,
        objective.val.name: mean_with(objective.worst, objective.val.name),
        "val_loss": mean_with(np.inf, "val_loss"),
        objective.train.name: mean(objective.train.name),
        "diverged": sum(measure["diverged"] for measure in measures),
        "epochs_run": mean("epochs_run"),
        "seconds": sum(measure["seconds"] for measure in measures),
    }


def tuned(plan: Plan, searching: Mapping[str, Search]) -> dict[str, Any]:
    """The content of tuned.json: what was chosen, from which ranges, with which budget."""
    tuning = plan.study.tuning
    return {
        "dataset": plan.dataset,
        "objective": plan.study.model.objective.val.name,
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
        search.objective.val.name: _finite(best.score),
        "val_loss": _finite(best.val_loss),
        "trial": search.best,
        "at_edge": search.at_edge(),
        "search": {
            name: {"low": r.low, "high": r.high, "log": r.log, "integer": r.integer}
            for name, r in search.ranges.items()
        },
    }


def _finite(number: float) -> float | None:
    """None for a trial that diverged: JSON has no infinity."""
    return number if np.isfinite(number) else None


def final_units(plan: Plan, chosen: Mapping[str, Mapping[str, float]]) -> list[Unit]:
    """The final runs: each technique's article setting, where it has one, and its tuned one.

    Raises UserError where `chosen` lacks a technique that is tuned.
    """
    if missing := [name for name in plan.study.tuned if name not in chosen]:
        raise UserError(
            f"tuned.json has no values for {', '.join(missing)};"
            f" `python -m pipeline tune {plan.dataset}` finds them"
        )
    seeds = range(plan.study.final.seeds)
    article = [plan.article(name, seed) for name in plan.study.techniques for seed in seeds]
    tuned = [plan.tuned(name, chosen[name], seed) for name in plan.study.tuned for seed in seeds]
    return chained([unit for unit in article if unit is not None] + tuned)
