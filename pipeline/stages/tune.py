"""Search the hyperparameters of each technique, on validation data only."""

import argparse
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline import datasets, results
from pipeline.config import loading
from pipeline.execution.journal import Journal, at_work
from pipeline.execution.on_demand import OnDemand
from pipeline.execution.runner import Runner
from pipeline.files import manifest, replacing_together
from pipeline.formatting import counted
from pipeline.tracking.context import Context
from pipeline.tracking.records import trial_record
from pipeline.tracking.tracker import Tracker
from pipeline.training.runs import Plan
from pipeline.tuning import rounds, search

_log = logging.getLogger(__name__)


def main(argv: list[str]) -> None:
    """Writes tuned.json, trials.csv, trial_runs.csv, their manifest and optuna.db of one study."""
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
    plan.check_rows(data)
    context = Context.of_study(study, settings, data.digest)
    searching = rounds.searches(plan)
    searches = {(search.name, search.size, search.index): search for search in searching}
    remaining = {key: search.trials for key, search in searches.items()}
    executor = OnDemand(prepared, settings.engine, journal)
    with Tracker(context, settings.tracking.system_metrics) as tracker:
        with (
            Runner(executor, journal) as runner,
            search.storing(folder / "optuna.db") as store,
        ):
            for ended in rounds.tune(plan, searching, runner):
                row = ended.row
                trial_runs += ended.run_rows()
                key = _search_of(row)
                row[results.STUDY] = context.study_digest(key[0], "tune", key[1])
                rows.append(row)
                tracker.log(trial_record(row, plan.study.model.architecture))
                remaining[key] -= 1
                if not remaining[key]:
                    finished = searches[key]
                    store(finished)
                    _log.info(_line(finished))
                    if not any(remaining[key] for key in remaining if key[0] == finished.name):
                        tracker.finish(finished.name)
        # Meanwhile, the tracker writes the remaining records.
        journal.keep_checkpoints(())
        order = list(searches)
        for written in (rows, trial_runs):
            written.sort(key=lambda row: (order.index(_search_of(row)), row["trial"]))
    content = rounds.tuned(plan, searching)
    for at in plan.sizes:
        for name, technique in results.techniques_at(content, at.size).items():
            technique[results.STUDY] = context.study_digest(name, "tune", at.size)
    for name, failed in content.get(results.FAILED, {}).items():
        failed[results.STUDY] = context.study_digest(name, "tune", plan.sizes[0].size)
        _log.warning("%s: %s; it has no tuned setting, the others go on", study, failed["why"])
    _write(folder, rows, trial_runs, content)
    seconds = time.perf_counter() - began
    summary = f"{counted(len(rows), 'trial')}{runner.origin(' runs')}"
    print(f"{study}: {summary} in {seconds:.0f} s, {runner.share(seconds)}")


def _write(
    folder: Path,
    rows: Sequence[results.Row],
    trial_runs: Sequence[results.Row],
    content: Mapping[str, Any],
) -> None:
    """Replaces the tables, their manifest and tuned.json, all of them or none."""
    names = (results.TRIALS, results.TRIAL_RUNS, results.TUNED)
    *tables, tuned = (folder / name for name in names)
    with replacing_together([*tables, manifest(folder, "tune"), tuned]) as scratch:
        for written, path in zip((rows, trial_runs), tables, strict=True):
            results.write_rows(written, scratch[path])
        results.write_json(content, scratch[tuned])
        results.seal(folder, "tune", names, scratch)


def _search_of(row: results.Row) -> tuple[str, int | None, int]:
    """The technique, size and index of the search that a row belongs to."""
    return row["technique"], row.get(results.SIZE), row["search"]


def _line(finished: search.Search) -> str:
    """The log's line of a technique whose search is finished."""
    if finished.failed:
        return f"{finished.title}: {finished.trials} trials, of which every one failed or diverged"
    best = finished.outcomes[finished.best]
    values = "".join(f", {name} {value:.3g}" for name, value in best.values.items())
    score = f"best {finished.task.val.title} {best.score:.4f}"
    trials = counted(finished.trials, "trial")
    return f"{finished.title}: {trials}, {score} (trial {finished.best}{values})"
