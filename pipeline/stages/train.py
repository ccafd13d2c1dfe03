"""Train the article's and the tuned setting of each technique, on paired seeds."""

import argparse
import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from pipeline import datasets, params, results, study
from pipeline import tuned as tuned_file
from pipeline.errors import UserError
from pipeline.journal import Journal, at_work
from pipeline.objectives import CLASSIFICATION, of_columns
from pipeline.tracking.context import Context
from pipeline.tracking.records import STUDY, final_record
from pipeline.tracking.tracker import Tracker
from pipeline.units import INSPECTED, Plan, Unit
from pipeline.workers import Workers

_log = logging.getLogger(__name__)


def main(argv: list[str]) -> None:
    """Writes runs.csv, curves.parquet, predictions.npz, inspections.npz and the models."""
    parser = argparse.ArgumentParser(prog="python -m pipeline train", description=__doc__)
    parser.add_argument("dataset", choices=params.DATASET_NAMES)
    dataset = parser.parse_args(argv).dataset
    with at_work(dataset):
        _train(dataset)


def _train(dataset: str) -> None:
    settings, journal, began = params.load(), Journal(dataset), time.perf_counter()
    rows: dict[str, results.Row] = {}
    curves: dict[str, pd.DataFrame] = {}
    prepared = results.prepared(dataset)
    data = datasets.load(prepared)
    plan = Plan(dataset, data.digest, settings.study(dataset), settings.seed, settings.engine)
    example, _ = data.split("leak_free", "train", 0)
    table = results.RESULTS / dataset / "runs.csv"
    context = Context.of_study(dataset, settings, data.digest, example[:1])
    units = study.final_units(plan, _chosen(plan, context))
    by_key, left = {unit.key: unit for unit in units}, Counter(unit.technique for unit in units)
    leaks = {protocol: data.leaks(protocol) for protocol in datasets.PROTOCOLS}
    with Tracker(context, settings.tracking.system_metrics) as tracker:
        with Workers(prepared, settings.engine, journal) as workers:
            for result in workers.run(units, f"train {dataset}"):
                unit = by_key[result.key]
                row = results.final_row(unit, result, leaks[unit.protocol])
                row[STUDY] = context.study_digest(unit.technique, "train")
                rows[unit.key] = row
                curves[unit.key] = results.curve_table(result)
                tracker.log(final_record(row, curves[unit.key], journal.model_path(unit.key)))
                left[unit.technique] -= 1
                if not left[unit.technique]:
                    tracker.finish(unit.technique)
                    _log.info(_line(unit.technique, rows.values()))
        # While the tracker still has records to write.
        journal.keep_checkpoints(())
        table.unlink(missing_ok=True)  # older runs, which the files below would not be of
        _write(units, journal, data, {unit.key: curves[unit.key] for unit in units})
    # In the order of the units, whatever finished first.
    ordered = [rows[u.key] | {"mlflow_run_id": tracker.run_ids.get(u.key)} for u in units]
    results.write_rows(ordered, table)
    seconds = time.perf_counter() - began
    print(f"{dataset}: {len(units)} final runs in {seconds:.0f} s, {workers.share(seconds)}")


def _chosen(plan: Plan, context: Context) -> dict[str, dict[str, float]]:
    """Technique → its values. Raises UserError if they were chosen for other params or data."""
    folder = results.RESULTS / plan.dataset
    tuned = tuned_file.read(folder)["techniques"]
    older = [
        name
        for name in plan.study.tuned
        if name in tuned and tuned[name].get(STUDY) != context.study_digest(name, "tune")
    ]
    if older:
        raise UserError(
            f"{folder / tuned_file.FILE} is of other params or data "
            f"({', '.join(older)}); `python -m pipeline tune {plan.dataset}` makes it anew"
        )
    return {name: found["values"] for name, found in tuned.items()}


def _line(technique: str, rows: Iterable[results.Row]) -> str:
    """What the log tells of a technique whose final runs are done."""
    own = [row for row in rows if row["technique"] == technique]
    table = pd.DataFrame(own)
    measure = of_columns(table.columns).test
    found = table.groupby("setting")[measure.name].agg(["size", "mean"])
    means = [
        f"{size:.0f} {name} runs, mean {measure.title} {mean:.4f}"
        for name, (size, mean) in zip(found.index, found.to_numpy(), strict=True)
    ]
    return f"{technique}: {'; '.join(means)}"


def _write(
    units: Sequence[Unit],
    journal: Journal,
    data: datasets.Dataset,
    curves: Mapping[str, pd.DataFrame],
) -> None:
    """Writes the curves, and what else the journal has of the units, in their order."""
    folder = results.RESULTS / units[0].dataset
    results.place_models(
        ((journal.model_path(unit.key), results.model_path(unit)) for unit in units),
        results.MODELS / units[0].dataset,
    )
    results.write_inspections(
        ((unit, journal.inspection(unit.key)) for unit in units if unit.seed == INSPECTED),
        folder / "inspections.npz",
    )
    results.write_curves(curves, folder / "curves.parquet")
    results.write_predictions(
        (
            (unit, journal.probabilities(unit.key))
            for unit in units
            if unit.model.objective is CLASSIFICATION
        ),
        data,
        folder / "predictions.npz",
    )
