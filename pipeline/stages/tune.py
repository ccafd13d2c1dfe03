"""Search each technique's hyperparameters, on validation data only."""

import argparse
import time

from pipeline import datasets, params, results, search, study
from pipeline.journal import Journal
from pipeline.tracking import Context, Tracker, trial_record
from pipeline.units import Plan
from pipeline.workers import Workers


def main(argv: list[str]) -> None:
    """Writes tuned.json, trials.csv and optuna.db of one data set."""
    parser = argparse.ArgumentParser(prog="python -m pipeline tune", description=__doc__)
    parser.add_argument("dataset", choices=params.DATASET_NAMES)
    dataset = parser.parse_args(argv).dataset
    settings, began = params.load(), time.perf_counter()
    prepared = results.prepared(dataset)
    digest = datasets.load(prepared).digest
    plan = Plan(dataset, digest, settings.study(dataset), settings.seed, settings.engine)
    searching, rows, journal = study.searches(plan), [], Journal(dataset)
    with (
        Tracker(Context.of_study(dataset, settings, digest)) as tracker,
        Workers(prepared, settings.engine, journal) as workers,
    ):
        for row in study.tune(plan, searching, workers.run):
            rows.append(row)
            tracker.log(trial_record(row, plan.study.model.architecture))
    journal.keep_checkpoints(())
    folder = results.RESULTS / dataset
    rows.sort(key=lambda row: (list(searching).index(row["technique"]), row["trial"]))
    results.write_rows(rows, folder / "trials.csv")
    search.store(list(searching.values()), folder / "optuna.db")
    results.write_json(study.tuned(plan, searching), folder / "tuned.json")
    seconds = time.perf_counter() - began
    print(f"{dataset}: {len(rows)} trials in {seconds:.0f} s, {workers.share(seconds)}")
