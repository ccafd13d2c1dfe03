"""What the choices were worth: trials scored on test examples, after the choice is written.

The rank correlation of validation and test over the trials says whether validation could tell them
apart at all. Where a draw's training sample has further points, it is also told what somebody who
has that one sample would have chosen by them, and what it would have lost.
"""

import logging
from collections.abc import Mapping
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd

from pipeline.datasets.task import Task
from pipeline.errors import UserError
from pipeline.execution.executor import Executor, NodeLost, WorkerDied
from pipeline.execution.jobs import Score
from pipeline.execution.journal import Journal
from pipeline.results import CHOICE_COLUMNS, PARAM, SIZE, params_of
from pipeline.training.runs import Plan, Result, Run
from pipeline.tuning.choice import rank_correlation

Row = dict[str, Any]
HELD_OUT = "held_out"
TRIAL = ["technique", "search", "trial"]

_log = logging.getLogger(__name__)


def of_size(table: pd.DataFrame, size: int | None) -> pd.DataFrame:
    """The rows of one size of what a study varies; all rows without a size."""
    return table if size is None else table[table[SIZE] == size]


def score_trials(
    plan: Plan,
    trials: pd.DataFrame,
    trial_runs: pd.DataFrame,
    journal: Journal,
    executor: Executor,
) -> pd.DataFrame:
    """The runs of `trial_runs` whose weights are kept, with their scores on test examples.

    Only the first round of the race, in which all trials are. Scores that the journal has are not
    computed again. Warns of trials that the journal has lost. Raises UserError if a worker dies.
    """
    first = trial_runs[trial_runs["turn"] < plan.study.tuning.seeds]
    complete = trials[trials["state"] == "complete"]
    params = [name for name in complete.columns if name.startswith(PARAM)]
    wanted = first.merge(complete[[*TRIAL, *params]], on=TRIAL).to_dict("records")
    rows = [{str(name): value for name, value in row.items()} for row in wanted]
    kept = [row for row in rows if journal.weights_path(row["key"])]
    if lost := sum(row["key"] not in journal for row in rows):
        _log.warning(
            "%s: %d of %d trials are not in %s, so choices.csv is without them; "
            "`python -m pipeline tune %s` trains them again, to the same values",
            *(plan.name, lost, len(rows), journal.folder, plan.name),
        )
    missing = {row["key"]: _run(plan, row) for row in kept if not journal.scores(row["key"])}
    _score(missing, journal, executor)
    columns = [*TRIAL, "turn", "key", plan.task.val.name]
    return pd.DataFrame(
        [
            {name: row[name] for name in columns} | dict(journal.scores(row["key"]) or {})
            for row in kept
        ]
    )


def _run(plan: Plan, row: Row) -> Run:
    """The run of a row, with the file's hyperparameters: a trained model needs only its layers."""
    given, ranges = params_of(row), plan.study.search(row["technique"])
    values = {
        name: int(given[name]) if searched.integer else float(given[name])
        for name, searched in ranges.items()
    }
    return plan.trial(row["technique"], values, int(row["search"]), int(row["turn"]))


def _score(runs: Mapping[str, Run], journal: Journal, executor: Executor) -> None:
    groups: dict[tuple[str, int], dict[str, Run]] = {}
    for key, run in runs.items():
        groups.setdefault((run.technique, run.search), {})[key] = run
    waiting = [*groups.values()]
    while waiting:
        slots = cycle(executor.slots)
        works = [(group, executor.submit(next(slots), _job(group, journal))) for group in waiting]
        waiting = []
        for group, work in works:
            try:
                pairs = zip(group, work.result(), strict=True)
            except NodeLost:
                waiting.append(group)
            except WorkerDied as error:
                raise UserError(
                    f"trials could not be scored: {error}; run the stage again"
                ) from error
            else:
                journal.measured([Result(key, {}, measured=scores) for key, scores in pairs])


def _job(runs: Mapping[str, Run], journal: Journal) -> Score:
    """The job that scores trials, by key, of one technique."""
    paths = [journal.weights_path(key) for key in runs]
    return Score([*runs.values()], [path.absolute() for path in paths if path])


def choices(
    scored: pd.DataFrame, tuned: Mapping[str, Any], task: Task, size: int | None = None
) -> pd.DataFrame:
    """A row of choices.csv for each search of `scored`, a result of `score_trials`.

    `tuned`: technique -> its entry of tuned.json, at the size of what the study varies, if it does.
    """
    at = {} if size is None else {SIZE: size}
    columns = ["task", *at, *CHOICE_COLUMNS]
    if scored.empty:
        return pd.DataFrame(columns=columns)
    rows = [
        {"task": task.name, **at, "technique": name, "search": search}
        | _choice(own, choice["trial"], task)
        for name, technique in tuned.items()
        for search, choice in enumerate(technique["searches"])
        for own in [scored[(scored["technique"] == name) & (scored["search"] == search)]]
        if len(own)
    ]
    return pd.DataFrame(rows, columns=columns)


def _choice(runs: pd.DataFrame, chosen: int, task: Task) -> Row:
    means = runs.groupby("trial")[[task.val.name, task.test.name]].mean()
    signed = task.test.sign * means
    correlation = rank_correlation(signed[task.val.name], signed[task.test.name])
    lost, error = _practitioner(runs, chosen, task)
    return {
        "trials": len(means),
        "rank_correlation": correlation.mean,
        "rank_low": correlation.low,
        "rank_high": correlation.high,
        "practitioner_lost": lost,
        "practitioner_lost_error": error,
    }


def _practitioner(runs: pd.DataFrame, chosen: int, task: Task) -> tuple[float, float]:
    """What the pick by the sample's own other points loses on test, and its standard error.

    Each draw is somebody with one sample, who takes the trial with the best score on the sample's
    other points and, among equal ones, the lowest loss there. nan without such points.
    """
    own = task.score.name
    if f"{HELD_OUT}_{own}" not in runs:
        return np.nan, np.nan
    losses = []
    for _, draw in runs.groupby("turn"):
        by_trial = draw.set_index("trial")
        order = by_trial[[f"{HELD_OUT}_{own}", f"{HELD_OUT}_loss"]].to_numpy(float)
        ranked = sorted(range(len(order)), key=lambda i: task.order(*order[i]))
        test = task.test.sign * by_trial[task.test.name]
        losses.append(float(test.get(chosen, np.nan) - test.iloc[ranked[0]]))
    error = np.std(losses, ddof=1) / np.sqrt(len(losses)) if len(losses) > 1 else np.nan
    return float(np.mean(losses)), float(error)
