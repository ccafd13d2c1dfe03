"""Train the settings that an article printed, and show them beside its numbers."""

import argparse
import sys

import pandas as pd

from pipeline import datasets, results
from pipeline.analysis import article
from pipeline.config import loading
from pipeline.errors import UserError
from pipeline.execution.journal import Journal, at_work
from pipeline.execution.on_demand import OnDemand
from pipeline.execution.runner import Runner
from pipeline.formatting import counted
from pipeline.training.rows import final_row
from pipeline.training.runs import Plan
from pipeline.tuning import rounds


def main(argv: list[str]) -> None:
    """Prints a table; the runs are kept in the journal, from which `train` takes them."""
    parser = argparse.ArgumentParser(prog="python -m pipeline article", description=__doc__)
    parser.add_argument("study", type=loading.named, help=loading.STUDY_HELP)
    study = parser.parse_args(argv).study
    with at_work(study):
        print(article.table(_runs(study)))


def _runs(study: str) -> pd.DataFrame:
    """The rows of the article's settings, as in runs.csv.

    Raises UserError if there are none, or if a run failed, since the table would lack it silently.
    """
    settings, journal = loading.load(), Journal(study)
    prepared = results.prepared(study)
    data = datasets.load(prepared)
    plan = Plan(
        study, data.digest, settings.study(study), settings.seed, settings.engine, data.task
    )
    plan.check_rows(data)
    runs = rounds.article_runs(plan)
    if not runs:
        raise UserError(f"{study}: no technique has an `article` setting in params.yaml")
    missing = journal.states(runs).count("missing")
    if missing:
        print(_announced(study, plan, len(runs), missing), file=sys.stderr)
    executor = OnDemand(prepared, settings.engine, journal)
    with Runner(executor, journal) as runner:
        found = {result.key: result for result in runner.run(runs, f"article {study}")}
    journal.keep_checkpoints(())
    if failed := [result.failed for result in found.values() if result.failed]:
        raise UserError(
            f"{study}: {len(failed)} of {len(runs)} runs failed ({failed[0]}); run this again"
        )
    return pd.DataFrame([final_row(run, found[run.key], data) for run in runs])


def _announced(study: str, plan: Plan, runs: int, missing: int) -> str:
    """What is trained before there is a table."""
    epochs = counted(plan.study.training.epochs, "epoch")
    kept = f" ({runs - missing:,} are kept)" if missing < runs else ""
    return (
        f"{study}: trains {missing:,} of {counted(runs, 'run')} of {epochs}{kept}; Ctrl-C stops it,"
        f" and what has finished is kept for the next time and for `dvc repro report@{study}`"
    )
