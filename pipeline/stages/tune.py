"""Search the hyperparameters of each technique, on validation data only."""

import argparse
import logging
import time

from pipeline import datasets, results
from pipeline.config import loading
from pipeline.execution.executor import LocalExecutor, OnDemand
from pipeline.execution.journal import Journal, at_work
from pipeline.execution.runner import Runner
from pipeline.tracking.context import Context
from pipeline.tracking.records import trial_record
from pipeline.tracking.tracker import Tracker
from pipeline.training.runs import Plan
from pipeline.tuning import rounds, search

_log = logging.getLogger(__name__)


def main(argv: list[str]) -> None:
    """Writes tuned.json, trials.csv and optuna.db of one study."""
    parser = argparse.ArgumentParser(prog="python -m pipeline tune", description=__doc__)
    parser.add_argument("study", type=loading.named, help=loading.STUDY_HELP)
    study = parser.parse_args(argv).study
    with at_work(study):
        _tune(study)


def _tune(study: str) -> None:
    settings, journal, began = loading.load(), Journal(study), time.perf_counter()
    prepared, folder = results.prepared(study), results.RESULTS / study
    rows: list[results.Row] = []
    data, section = datasets.load(prepared), settings.study(study)
    plan = Plan(study, data.digest, section, settings.seed, settings.engine, data.task)
    context = Context.of_study(study, settings, data.digest)
    searching = rounds.searches(plan)
    executor = OnDemand(LocalExecutor, prepared, settings.engine, journal)
    with Tracker(context, settings.tracking.system_metrics) as tracker:
        with (
            Runner(executor, journal) as runner,
            search.storing(folder / "optuna.db") as store,
        ):
            for row in rounds.tune(plan, searching, runner):
                row[results.STUDY] = context.study_digest(row["technique"], "tune")
                rows.append(row)
                tracker.log(trial_record(row, plan.study.model.architecture))
                finished = searching[row["technique"]]
                if sum(trial["technique"] == finished.name for trial in rows) == finished.trials:
                    tracker.finish(finished.name)
                    store(finished)
                    _log.info(_line(finished))
        # Meanwhile, the tracker writes the remaining records.
        journal.keep_checkpoints(())
        (folder / results.TUNED).unlink(missing_ok=True)  # of older trials
        rows.sort(key=lambda row: (list(searching).index(row["technique"]), row["trial"]))
        results.write_rows(rows, folder / results.TRIALS)
    content = rounds.tuned(plan, searching)
    for name, technique in content["techniques"].items():
        technique[results.STUDY] = context.study_digest(name, "tune")
    results.write_json(content, folder / results.TUNED)
    seconds = time.perf_counter() - began
    summary = f"{len(rows)} trials{runner.origin(' runs')}"
    print(f"{study}: {summary} in {seconds:.0f} s, {runner.share(seconds)}")


def _line(finished: search.Search) -> str:
    """The log's line of a technique whose search is finished."""
    best = finished.outcomes[finished.best]
    values = "".join(f", {name} {value:.3g}" for name, value in best.values.items())
    score = f"best validation {finished.task.score.name} {best.score:.4f}"
    return f"{finished.name}: {finished.trials} trials, {score} (trial {finished.best}{values})"
