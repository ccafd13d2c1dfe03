"""The two halves of a study: the searches for hyperparameters, and the final runs.

Uses no files or servers: gives runs to a pool, and yields rows and results as they are finished.
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
import optuna

from pipeline.datasets.task import Task
from pipeline.errors import UserError
from pipeline.results import FAILED, SIZE, param_columns, techniques_at
from pipeline.techniques.ranges import Range
from pipeline.techniques.registry import BASELINE
from pipeline.training.runs import BY_LOSS, Plan, Result, Run, chained
from pipeline.tuning import choice
from pipeline.tuning.search import Outcome, Search, survivors

Row = dict[str, Any]
LOST: Mapping[str, float] = {"diverged": True, "epochs_run": 0, "seconds": 0.0}
Runs = list[tuple[Run, Result]]


class Ended(NamedTuple):
    """A trial that has ended: its row of trials.csv, and its runs with their results."""

    row: Row
    runs: Runs

    def run_rows(self) -> list[Row]:
        """The rows of trial_runs.csv: the validation scores of each run."""
        task = self.runs[0][0].task
        names = ("study", "task", "technique", SIZE, "search", "trial")
        named = {name: self.row[name] for name in names if name in self.row}
        measures = (task.val.name, "val_loss", "diverged")
        return [
            {**named, "turn": turn, "key": run.key}
            | {name: result.measures.get(name) for name in measures}
            for turn, (run, result) in enumerate(self.runs)
        ]


Steps = Generator[tuple[list[Ended], list[Run]], Mapping[str, Result], None]


class Pool(Protocol):
    """Trains runs; `pipeline.execution.runner.Runner` is one."""

    def add(self, runs: Sequence[Run], instead_of: Collection[Run] = ()) -> None:
        """Adds runs to train; see `Runner.add`."""

    def results(self, title: str, runs: int, epochs: int) -> Iterator[Result]:
        """Results of the added runs as they finish; runs may be added meanwhile."""


def searches(plan: Plan) -> list[Search]:
    """The searches of each tuned technique of the study, all with the same budget."""
    tuning = plan.study.tuning
    return [
        Search(
            name,
            index,
            at.study.search(name),
            tuning.trials,
            tuning.round,
            plan.study_seed,
            plan.task,
            at.size,
        )
        for at in plan.sizes
        for name in plan.study.searched
        for index in plan.study.final_of(name).turns
    ]


def tune(plan: Plan, searching: Sequence[Search], pool: Pool) -> Iterator[Ended]:
    """Runs the searches to their end; yields each trial that has ended.

    Searches advance independently, so no worker waits for another one. The results of a round's
    trials reach Optuna in the order in which it proposed them, whatever finished first.
    """
    plans = {at.size: at for at in plan.sizes}
    steps = {search.title: _steps(plans[search.size], search) for search in searching}
    needed = {title: next(step)[1] for title, step in steps.items()}
    title_of = {run.key: title for title, runs in needed.items() for run in runs}
    finished: dict[str, dict[str, Result]] = defaultdict(dict)
    pool.add([run for runs in needed.values() for run in runs])
    for result in pool.results(f"tune {plan.name}", *budget(plan, searching)):
        title = title_of[result.key]
        finished[title][result.key] = result
        if len(finished[title]) == len(needed[title]):
            previous = needed[title]
            ended, needed[title] = steps[title].send(finished.pop(title))
            title_of |= {run.key: title for run in needed[title]}
            pool.add(needed[title], instead_of=previous)
            yield from ended


def budget(plan: Plan, searching: Sequence[Search]) -> tuple[int, int]:
    """The number of runs of all trials, and of their epochs.

    A trial that continues after a rung counts as a further run, with all its epochs.
    """
    tuning, runs, total = plan.study.tuning, 0, 0
    for search in searching:
        complete = 0
        for first in range(0, search.trials, search.round):
            trials = min(search.round, search.trials - first)
            for epochs in tuning.rungs:
                runs += trials * tuning.seeds
                total += trials * tuning.seeds * epochs
                complete += trials if epochs == tuning.epochs else 0
                trials = survivors(trials, tuning.pruning.factor) if tuning.pruning else 0
        for before, heat in pairwise(tuning.heats):
            raced = min(heat.candidates, complete) * (heat.draws - before.draws)
            runs += raced
            total += raced * tuning.epochs
    return runs, total


def _steps(plan: Plan, search: Search) -> Steps:
    """The steps of a search: yields the trials that have ended, and the runs that it needs next.

    It is sent their results, by key. After the last trial it needs no runs.
    """
    tuning = plan.study.tuning
    ended: list[Ended] = []
    complete: dict[int, Runs] = {}  # trials trained to the end, by number
    seconds: dict[int, float] = {}  # taken in earlier rungs, by the trial's number
    while trials := search.ask():
        for rung, epochs in enumerate(tuning.rungs):
            needed = {
                trial.number: _runs(plan, search, trial.params, range(tuning.seeds), rung)
                for trial in trials
            }
            results = yield ended, _distinct(needed)
            done = {number: _with(results, runs) for number, runs in needed.items()}
            trials = _tell(plan, search, trials, done, epochs)
            continuing = {trial.number for trial in trials}
            last = epochs == tuning.epochs
            if last:
                complete |= done
                ended = []
                continue
            rows = {
                number: _trial_row(search, number, runs, seconds.get(number, 0.0))
                for number, runs in done.items()
            }
            ended = [Ended(rows[n], done[n]) for n in done if n not in continuing]
            seconds |= {number: row["seconds"] for number, row in rows.items()}

    def leave(numbers: Iterable[int]) -> list[Ended]:
        return [
            Ended(_trial_row(search, number, runs, seconds.get(number, 0.0)), runs)
            for number in numbers
            for runs in [complete[number]]
        ]

    for before, heat in pairwise(tuning.heats):
        racing = search.racing
        search.narrow(heat.candidates)
        ended += leave(number for number in racing if number not in search.racing)
        needed = {
            number: _runs(
                plan, search, search.outcomes[number].values, range(before.draws, heat.draws)
            )
            for number in search.racing
        }
        results = yield ended, _distinct(needed)
        for number, runs in needed.items():
            complete[number] += _with(results, runs)
            values = search.outcomes[number].values
            search.raced(number, _outcome(search, values, complete[number]))
        ended = []
    yield ended + leave(search.racing), []


def _runs(
    plan: Plan, search: Search, values: Mapping[str, float], turns: range, rung: int = -1
) -> list[Run]:
    return [plan.trial(search.name, values, search.index, turn, rung) for turn in turns]


def _distinct(needed: Mapping[int, Sequence[Run]]) -> list[Run]:
    """The runs of some trials, each once, since two trials may be equal."""
    return [*{run.key: run for runs in needed.values() for run in runs}.values()]


def _with(results: Mapping[str, Result], runs: Sequence[Run]) -> Runs:
    return [(run, results[run.key]) for run in runs]


def _outcome(search: Search, values: Mapping[str, float], runs: Runs) -> Outcome:
    """The scores and losses of a trial's runs.

    If a run failed, all runs of the trial count as diverged, since its score is unknown.
    """
    task, failed = search.task, any(result.failed for _, result in runs)
    lost = [failed or bool(result.measures["diverged"]) for _, result in runs]
    pairs = zip(runs, lost, strict=True)
    measured = [(task.worst, np.inf) if gone else _measured(task, run) for run, gone in pairs]
    scores, losses = zip(*measured, strict=True)
    return Outcome(values, scores, losses)


def _measured(task: Task, run: tuple[Run, Result]) -> tuple[float, float]:
    measures = run[1].measures
    return task.known(measures[task.val.name]), measures["val_loss"]


def _tell(
    plan: Plan,
    search: Search,
    trials: Sequence[optuna.Trial],
    done: Mapping[int, Runs],
    epochs: int,
) -> list[optuna.Trial]:
    """Tells a search the scores of its trials after `epochs`; returns those that continue."""
    outcomes = [_outcome(search, trial.params, done[trial.number]) for trial in trials]
    pruning = plan.study.tuning.pruning
    if pruning is not None and epochs < plan.study.tuning.epochs:
        return search.prune(trials, outcomes, epochs, pruning.factor)
    search.tell(trials, outcomes)
    return []


def _trial_row(search: Search, number: int, runs: Runs, seconds: float) -> Row:
    """The row of a trial: means over its seeds.

    `seconds`: the time that the trial had taken before.
    """
    first, task = runs[0][0], search.task
    train = task.of("train", task.followed).name
    failed = [result.failed for _, result in runs if result.failed]
    measures = [LOST if failed else result.measures for _, result in runs]
    outcome = _outcome(search, {}, runs)

    def mean(name: str) -> float:
        return float(np.mean([measure.get(name, np.nan) for measure in measures]))

    names = (str(number), *(run.key for run, _ in runs))  # two trials may have equal runs
    diverged = sum(bool(measure["diverged"]) for measure in measures)
    return {
        "key": hashlib.sha256("".join(names).encode()).hexdigest()[:20],
        "study": first.study,
        "task": task.name,
        "technique": first.technique,
        **first.made_of,
        **search.at,
        "search": search.index,
        "trial": number,
        "state": _state(search, number, diverged == len(runs)),
        "draws": len(runs),
        **param_columns(first.hyperparameters),
        task.val.name: outcome.score,
        "val_loss": outcome.val_loss,
        train: mean(train),
        "diverged": diverged,
        "epochs_run": mean("epochs_run"),
        "seconds": sum(measure["seconds"] for measure in measures)
        + (0.0 if first.goes_on_from else seconds),  # continued runs include earlier seconds
        **({"failed": failed[0]} if failed else {}),
    }


def _state(search: Search, number: int, all_diverged: bool) -> str:
    """The state of a trial that has ended; failed if every seed diverged."""
    if all_diverged:
        return "failed"
    return "complete" if number in search.outcomes else "pruned"


def tuned(plan: Plan, searching: Sequence[Search]) -> dict[str, Any]:
    """The content of tuned.json: the chosen values, their ranges, the budget, and how sure."""
    tuning = plan.study.tuning
    failed = failures(searching)
    if BASELINE in failed:
        raise UserError(
            f"studies.{plan.name}: {failed[BASELINE]}, so that there is nothing to compare with;"
            " expected finite losses: narrow tuning.learning_rate, or change model or training in"
            f" params.yaml, and run `python -m pipeline tune {plan.name}` again"
        )
    kept = [search for search in searching if search.name not in failed]
    by_size = {at.size: _techniques(at, kept) for at in plan.sizes}
    return {
        "study": plan.name,
        "task": plan.task.name,
        "epochs": tuning.epochs,
        "trials": tuning.trials,
        "race": [[heat.candidates, heat.draws] for heat in tuning.heats],
        "rungs": list(tuning.rungs),
        "crossed": plan.study.final.crossed,
        **({FAILED: {name: {"why": why} for name, why in failed.items()}} if failed else {}),
        **(
            {"techniques": by_size[None]}
            if None in by_size
            else {"sizes": {str(size): techniques for size, techniques in by_size.items()}}
        ),
    }


def failures(searching: Sequence[Search]) -> dict[str, str]:
    """Technique -> why it has no tuned setting, for those with a search that found nothing."""
    lost = [search for search in searching if search.failed]
    return {
        search.name: f"every trial of {_told(search, searching)} failed or diverged"
        for search in reversed(lost)  # the first one is told
    }


def _told(search: Search, searching: Sequence[Search]) -> str:
    """A search in words: its technique, and which one if there are several."""
    of_one = [each for each in searching if each.name == search.name]
    return search.name if len(of_one) == 1 else f"the search {search.title!r}"


def _techniques(plan: Plan, searching: Sequence[Search]) -> dict[str, Any]:
    """The entries of all techniques that were searched, at the plan's size."""
    by_name = {
        name: [search for search in searching if (search.name, search.size) == (name, plan.size)]
        for name in plan.study.searched
    }
    return {name: _technique(plan, own, by_name[BASELINE]) for name, own in by_name.items() if own}


def _technique(
    plan: Plan, searching: Sequence[Search], baselines: Sequence[Search]
) -> dict[str, Any]:
    """The entry of one technique; `baselines`: the searches of the baseline."""
    first = searching[0]
    values = first.outcomes[first.best].values
    return {
        "stops_early": plan.tuned(first.name, values, 0)[0].stops_early,
        "search": {name: _range(search_range) for name, search_range in first.ranges.items()},
        "searches": [
            _choice(plan, search, off) for search, off in zip(searching, baselines, strict=False)
        ],
    }


def _range(searched: Range) -> dict[str, Any]:
    return {name: getattr(searched, name) for name in ("low", "high", "log", "integer")}


def _choice(plan: Plan, search: Search, baseline: Search) -> dict[str, Any]:
    """What one search chose, and how sure the choice is."""
    best, by_loss = search.best, search.lowest_loss(plan.study.tuning.seeds)
    chosen, off = search.outcomes[best], baseline.outcomes[baseline.best]
    error = choice.choice_error(_scores(search))
    draws = len(chosen.scores)
    return {
        "values": _values(plan, chosen),
        search.task.val.name: _finite(chosen.score),
        "val_loss": _finite(chosen.val_loss),
        "trial": best,
        "at_edge": search.at_edge(),
        "draws": draws,
        "error": _finite(error.on(draws)),
        "df": error.df,
        "as_good_as_off": search is not baseline
        and choice.as_good_as_off(
            search.task.val.sign * np.array(chosen.scores),
            search.task.val.sign * np.array(off.scores),
            error.on(draws),
        ),
        "by_loss": {
            "values": _values(plan, search.outcomes[by_loss]),
            "trial": by_loss,
            "val_loss": _finite(search.outcomes[by_loss].after(plan.study.tuning.seeds).val_loss),
        },
    }


def _values(plan: Plan, outcome: Outcome) -> dict[str, float]:
    return {"learning_rate": plan.study.training.learning_rate} | dict(outcome.values)


def _scores(search: Search) -> np.ndarray:
    """Scores of the candidates that did not diverge, (candidates, draws); nan: not trained."""
    kept = [
        each for each in search.outcomes.values() if np.isfinite([each.losses, each.scores]).all()
    ]
    table = np.full(
        (max(len(kept), 1), max(map(len, (each.scores for each in kept)), default=1)), np.nan
    )
    for row, outcome in zip(table, kept, strict=False):
        row[: len(outcome.scores)] = outcome.scores
    return table


def _finite(number: float) -> float | None:
    """The number, or None if it is not finite, since JSON has no infinity."""
    return number if np.isfinite(number) else None


def final_runs(plan: Plan, tuned: Mapping[str, Any]) -> list[Run]:
    """The final runs of each technique: of the article's values, and of those that were chosen.

    `tuned`: the content of tuned.json. Values with the lowest loss are trained for the first search
    alone if every setting meets every draw, and not where sizes vary. Raises UserError if `tuned`
    lacks a size, a technique or a search.
    """
    runs = article_runs(plan)
    for at in plan.sizes:
        runs += _chosen_runs(at, tuned)
    return chained(runs)


def _chosen_runs(plan: Plan, tuned: Mapping[str, Any]) -> list[Run]:
    """The final runs of what the searches chose, at the plan's size; none of those that failed."""
    techniques = techniques_at(tuned, plan.size)
    failed = tuned.get(FAILED, {})
    searched = [name for name in plan.study.searched if name not in failed]
    missing = [
        name
        for name in searched
        if name not in techniques
        or len(techniques[name]["searches"]) < len(plan.study.final_of(name).turns)
    ]
    if missing:
        raise UserError(
            f"tuned.json has no values for {', '.join(missing)};"
            f" run `python -m pipeline tune {plan.name}`"
        )
    runs = []
    for name in plan.study.tuned:
        source = plan.study.techniques[name].values_of or name
        for index in plan.study.final_of(name).turns if source not in failed else ():
            runs += plan.tuned(name, techniques[source]["searches"][index]["values"], index)
    searches = any(map(plan.study.search, plan.study.searched))  # else there is nothing to choose
    also_by_loss = searches and plan.study.outcomes and plan.size is None and not plan.task.by_loss
    for name in searched if also_by_loss else ():
        turns = plan.study.final_of(name).turns
        for index in turns[:1] if plan.study.final.crossed else turns:
            values = techniques[name]["searches"][index]["by_loss"]["values"]
            runs += plan.tuned(name, values, index, BY_LOSS)
    return runs


def article_runs(plan: Plan) -> list[Run]:
    """The final runs of the article's values, on its own examples and beyond them."""
    return [
        run
        for setting in plan.settings
        for name in plan.study.techniques
        for run in plan.article(name, setting)
    ]
