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
    """Writes tuned.json, trials.csv, trial_runs.csv and optuna.db of one study."""
    parser = argparse.ArgumentParser(prog="python -m pipeline tune", description=__doc__)
    parser.add_argument("study", type=loading.named, help=loading.STUDY_HELP)
    study = parser.parse_args(argv).study
    with at_work(study):
        _tune(study)


def _tune(study: str) -> None:
    settings, journal, began = loading.load(), Journal(study), time.perf_counter()
    prepared, folder = results.prepared(study), results.RESULTS / study
    rows: list[results.Row] = []
    trial_runs: list[results.Row] = []
    data, section = datasets.load(prepared), settings.study(study)
    plan = Plan(study, data.digest, section, settings.seed, settings.engine, data.task)
    context = Context.of_study(study, settings, data.digest)
    searching = rounds.searches(plan)
    searches = {(search.name, search.index): search for search in searching}
    remaining = {key: search.trials for key, search in searches.items()}
    executor = OnDemand(LocalExecutor, prepared, settings.engine, journal)
    with Tracker(context, settings.tracking.system_metrics) as tracker:
        with (
            Runner(executor, journal) as runner,
            search.storing(folder / "optuna.db") as store,
        ):
            for ended in rounds.tune(plan, searching, runner):
                row = ended.row
                trial_runs += ended.run_rows()
                row[results.STUDY] = context.study_digest(row["technique"], "tune")
                rows.append(row)
                tracker.log(trial_record(row, plan.study.model.architecture))
                remaining[row["technique"], row["search"]] -= 1
                if not remaining[row["technique"], row["search"]]:
                    finished = searches[row["technique"], row["search"]]
                    store(finished)
                    _log.info(_line(finished))
                    if not any(remaining[key] for key in remaining if key[0] == finished.name):
                        tracker.finish(finished.name)
        # Meanwhile, the tracker writes the remaining records.
        journal.keep_checkpoints(())
        (folder / results.TUNED).unlink(missing_ok=True)  # of older trials
        order = list(searches)
        for written, name in ((rows, results.TRIALS), (trial_runs, results.TRIAL_RUNS)):
            written.sort(
                key=lambda row: (order.index((row["technique"], row["search"])), row["trial"])
            )
            results.write_rows(written, folder / name)
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
    return f"{finished.title}: {finished.trials} trials, {score} (trial {finished.best}{values})"
