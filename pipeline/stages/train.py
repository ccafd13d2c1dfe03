"""Train each technique on paired seeds, in the article setting and tuned."""

import argparse
import itertools
import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline import datasets, results
from pipeline.config import loading
from pipeline.config.sections import random_trials
from pipeline.datasets import about
from pipeline.datasets.own import OwnData
from pipeline.errors import UserError
from pipeline.execution import host
from pipeline.execution.executor import Executor
from pipeline.execution.journal import Journal, at_work
from pipeline.execution.on_demand import OnDemand
from pipeline.execution.runner import Runner
from pipeline.files import manifest, replace_csv, replacing_together
from pipeline.formatting import counted
from pipeline.tracking.context import Context
from pipeline.tracking.packages import Inputs
from pipeline.tracking.records import final_record
from pipeline.tracking.tracker import Tracker
from pipeline.training import yardsticks
from pipeline.training.rows import curve_table, final_row
from pipeline.training.runs import Plan, Run
from pipeline.training.yardsticks import Yardstick
from pipeline.tuning import choices, rounds

_log = logging.getLogger(__name__)


def main(argv: list[str]) -> None:
    """Writes about.json, runs.csv, curves, predictions, choices, yardsticks and the models."""
    parser = argparse.ArgumentParser(prog="python -m pipeline train", description=__doc__)
    parser.add_argument("study", type=loading.named, help=loading.STUDY_HELP)
    study = parser.parse_args(argv).study
    with at_work(study):
        _train(study)


def _train(study: str) -> None:
    settings, journal, began = loading.load(), Journal(study), time.perf_counter()
    rows: dict[str, results.Row] = {}
    curves: dict[str, pd.DataFrame] = {}
    prepared = results.prepared(study)
    data = datasets.load(prepared)
    section = settings.study(study)
    plan = Plan(study, data.digest, section, settings.seed, settings.engine, data.task)
    table = results.RESULTS / study / results.RUNS
    context = Context.of_study(study, settings, data.digest, Inputs.of(data))
    tuned = _tuned(plan, context)
    runs = rounds.final_runs(plan, tuned)
    by_key, remaining = {run.key: run for run in runs}, Counter(run.technique for run in runs)
    with replacing_together(_outputs(study)) as scratch:
        with Tracker(context, settings.tracking.system_metrics) as tracker:
            executor = OnDemand(prepared, settings.engine, journal)
            simple = _yardsticks(plan, data)  # while the workers' imports run
            with Runner(executor, journal) as runner:
                for result in runner.run(runs, f"train {study}"):
                    run = by_key[result.key]
                    row = final_row(run, result, data)
                    row["reference"] = section.is_reference(run.technique, run.setting)
                    row[results.STUDY] = context.study_digest(run.technique, "train", run.size)
                    rows[run.key] = row
                    model = None
                    if not result.failed:
                        curves[run.key] = curve_table(result)
                        model = journal.model_path(run.key) if run.keeps_model else None
                    tracker.log(final_record(row, curves.get(run.key), model))
                    remaining[run.technique] -= 1
                    if not remaining[run.technique]:
                        tracker.finish(run.technique)
                        _log.info(_line(run.technique, rows.values()))
                worth = _choices(plan, tuned, journal, executor)
            # Meanwhile, the tracker writes the remaining records.
            journal.keep_checkpoints(())
            if not curves:
                raise UserError(f"{study}: every final run failed: {rows[runs[0].key]['failed']}")
            trained = [run for run in runs if run.key in curves]
            own_curves = {run.key: curves[run.key] for run in trained}
            _write(trained, simple, journal, data, own_curves, scratch)
            hosts = _write_hosts(runs, journal, scratch[table.with_name(results.HOSTS)])
            described = replace(_about(plan, data), hosts=hosts)
            about.write(described, scratch[table.with_name(about.FILE)])
            replace_csv(scratch[table.with_name(results.CHOICES)], worth, digits=10)
        # In the order of the runs, whatever finished first.
        ordered = [rows[run.key] | {"mlflow_run_id": tracker.run_ids.get(run.key)} for run in runs]
        results.write_rows(ordered, scratch[table])
        _seal(study, scratch)
    seconds = time.perf_counter() - began
    summary = f"{counted(len(runs), 'final run')}{runner.origin()}"
    print(f"{study}: {summary} in {seconds:.0f} s, {runner.share(seconds)}")


def _tuned(plan: Plan, context: Context) -> dict[str, Any]:
    """What the searches chose: tuned.json. Raises UserError if other parameters were tuned."""
    folder = results.RESULTS / plan.name
    results.check_stage(folder, "tune")
    content = results.read_tuned(folder)
    other_draws = content.get("crossed") != plan.study.final.crossed
    changed = [
        name
        for size in (at.size for at in plan.sizes)
        for name, entry in (
            *results.techniques_at(content, size).items(),
            *(content.get(results.FAILED, {}).items() if size == plan.sizes[0].size else ()),
        )
        if other_draws or entry.get(results.STUDY) != context.study_digest(name, "tune", size)
    ]
    if changed:
        raise UserError(
            f"{folder / results.TUNED} was made with other parameters or data "
            f"({', '.join(dict.fromkeys(changed))}); run `python -m pipeline tune {plan.name}` "
            "again"
        )
    return content


def _yardsticks(plan: Plan, data: datasets.Dataset) -> list[Yardstick]:
    """What simple models reach on people's own data, for the page of a study of one size."""
    single = plan.study.final.vary is None
    if not (single and yardsticks.wanted(data)) or plan.task.target.of_input:
        return []
    return [*yardsticks.measure(data, plan.task, plan.study_seed, plan.study.replicates)]


def _choices(
    plan: Plan, tuned: Mapping[str, Any], journal: Journal, executor: Executor
) -> pd.DataFrame:
    """What the choices were worth, which is looked up only now that they are written."""
    folder = results.RESULTS / plan.name
    trials, trial_runs = results.read_trials(folder), results.read_trial_runs(folder)
    tables = []
    for at in plan.sizes:
        own, own_runs = (choices.of_size(table, at.size) for table in (trials, trial_runs))
        scored = choices.score_trials(at, own, own_runs, journal, executor)
        techniques = results.techniques_at(tuned, at.size)
        tables.append(choices.choices(scored, techniques, plan.task, at.size))
    return pd.concat(tables, ignore_index=True)


def _write_hosts(runs: Sequence[Run], journal: Journal, path: Path) -> str:
    """Writes where each run was trained, as far as it is known; what the page says of it."""
    hosts = journal.hosts.of(runs)
    unknown = dict.fromkeys(each.name for each in fields(host.Host))
    rows = [
        {"key": run.key} | (asdict(hosts[run.key]) if run.key in hosts else unknown) for run in runs
    ]
    results.write_rows(rows, path)
    return host.told(runs, hosts)


def _about(plan: Plan, data: datasets.Dataset) -> about.About:
    """What reports say about the study's data."""
    tuning = plan.study.tuning
    trials = random_trials(tuning.trials, tuning.round)
    section, columns = plan.study.data, data.columns
    numbers = () if columns is None or not section.predicted else columns.numbers
    return about.About.of(
        data,
        plan.task.name,
        trials,
        plan.study.outcomes,
        target=section.predicted,
        columns=(*section.told_columns, *((name, "number, scaled") for name in numbers)),
        origin=section.origin if isinstance(section, OwnData) else "",
        licence=section.licence if isinstance(section, OwnData) else "",
    )


def _line(technique: str, rows: Iterable[results.Row]) -> str:
    """The log's line of a technique whose final runs are finished."""
    own_rows = [row for row in rows if row["technique"] == technique]
    table = pd.DataFrame(own_rows)
    measure = results.task_of(table).test
    by_setting = table.groupby("setting")[measure.name].agg(["size", "mean"])
    means = [
        f"{counted(size, f'{name} run')}, mean {measure.title} {mean:.4f}"
        for name, (size, mean) in zip(by_setting.index, by_setting.to_numpy(), strict=True)
    ]
    return f"{technique}: {'; '.join(means)}"


def _outputs(study: str) -> list[Path]:
    """The outputs of the stage; the table of runs is the last one."""
    files = (
        *(about.FILE, results.INSPECTIONS, results.CURVES, results.PREDICTIONS),
        *(results.CHOICES, results.YARDSTICKS, results.HOSTS, results.RUNS),
    )
    *others, last = (results.RESULTS / study / name for name in files)
    listed = manifest(results.RESULTS / study, "train")
    return [results.MODELS / study, *others, listed, last]


def _seal(study: str, scratch: Mapping[Path, Path]) -> None:
    """Writes the manifests of the result files and of the models."""
    folder, models = results.RESULTS / study, results.MODELS / study
    written = [path for path in scratch if path.parent == folder]
    names = [path.name for path in written if path != manifest(folder, "train")]
    results.seal(folder, "train", names, scratch)
    kept = [path.relative_to(scratch[models]) for path in scratch[models].rglob("*.keras")]
    moved = {models / path: scratch[models] / path for path in kept}
    listed = manifest(models, "train")
    moved[listed] = scratch[models] / listed.name
    results.seal(models, "train", [path.as_posix() for path in kept], moved)


def _write(
    runs: Sequence[Run],
    simple: Sequence[Yardstick],
    journal: Journal,
    data: datasets.Dataset,
    curves: Mapping[str, pd.DataFrame],
    scratch: Mapping[Path, Path],
) -> None:
    """Writes curves, models, inspections and predictions in the order of the runs; yardsticks.

    `scratch`: output → the path to write to.
    """
    folder = results.RESULTS / runs[0].study
    models = results.MODELS / runs[0].study
    results.place_models(
        (
            (
                journal.model_path(run.key),
                scratch[models]
                / results.model_path(
                    run.study, run.technique, run.setting, run.search, run.seed
                ).relative_to(models),
            )
            for run in runs
            if run.keeps_model
        ),
    )
    results.write_inspections(
        ((run, journal.inspection(run.key)) for run in runs if run.inspected),
        scratch[folder / results.INSPECTIONS],
    )
    results.write_curves(curves, scratch[folder / results.CURVES])
    results.write_predictions(
        itertools.chain(
            ((run, journal.probabilities(run.key)) for run in runs if not run.task.target.of_input),
            ((each, each.outputs) for each in simple),
        ),
        data,
        scratch[folder / results.PREDICTIONS],
    )
    results.write_yardsticks(
        [each.row(data, runs[0].task) for each in simple], scratch[folder / results.YARDSTICKS]
    )
