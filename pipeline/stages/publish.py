"""Add runs that are missing in MLflow, from the result files; name the champion, log figures.

Artifacts that were removed from the store are logged again.
"""

import argparse
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline import datasets
from pipeline.config import loading
from pipeline.config.sections import Params
from pipeline.errors import CommandError, UserError
from pipeline.execution.journal import at_work
from pipeline.formatting import counted
from pipeline.results import (
    ADVICE,
    RESULTS,
    RUNS,
    TRIALS,
    check_model,
    check_stage,
    prepared,
    read_each_curve,
    read_rows,
)
from pipeline.stages import report
from pipeline.tracking.context import Context
from pipeline.tracking.packages import Inputs
from pipeline.tracking.records import Record, final_record, trial_record
from pipeline.tracking.tracker import Tracker

_log = logging.getLogger(__name__)


def main(argv: list[str]) -> None:
    """Publishes the studies that `argv` names, or every study with results."""
    parser = argparse.ArgumentParser(prog="python -m pipeline publish", description=__doc__)
    parser.add_argument(
        "study", nargs="*", type=loading.named, help="default: every study with results"
    )
    settings = loading.load()
    names = parser.parse_args(argv).study or _with_results(settings.studies)
    if not names:
        raise UserError(f"{RESULTS}/ has no results yet; run `dvc repro`")
    for name in names:
        publish(name, settings)


def publish(study: str, settings: Params) -> None:
    """Creates a study's missing runs in MLflow; if it has a report, names champion, logs figures.

    Raises UserError if the study has no results, or if MLflow fails.
    """
    architecture = settings.study(study).model.architecture
    if not _with_results((study,)):
        raise UserError(f"{RESULTS / study}/ has neither trials.csv nor runs.csv")
    reported = (RESULTS / study / ADVICE).is_file()
    if reported:
        check_stage(RESULTS / study, "report")
    context = Context.of_study(study, settings, *_data(study))
    changed, all_records = set(), list(records(study, architecture))
    remaining = Counter(record.technique for record in all_records)
    with at_work(study), Tracker(context, restores=True) as tracker:
        for record in all_records:
            tracker.log(record)
            remaining[record.technique] -= 1
            if not remaining[record.technique]:
                tracker.finish(record.technique)
            if not context.describes(record):
                changed.add(record.technique)
    if changed:
        _log.warning(
            "%s: %s has changed since the results of %s were made; new parent runs show no "
            "parameters",
            study,
            loading.FILE,
            ", ".join(sorted(changed)),
        )
    summary = f"{study}: {counted(tracker.added, 'run')} added, {tracker.present} already in MLflow"
    if tracker.restored:
        summary += f", lost artifacts of {counted(tracker.restored, 'run')} restored"
    _log.info(summary)
    print(summary)
    if tracker.failure:
        raise CommandError(
            f"{study} is incomplete in MLflow, for the reason above; then run publish again"
        )
    if reported:
        report.show(RESULTS / study)


def records(study: str, architecture: str, results: Path = RESULTS) -> Iterator[Record]:
    """The records of a study's trials and then of its final runs, from its result files.

    Raises UserError if one of them, or a model, is damaged.
    """
    folder = results / study
    for row in read_rows(folder / TRIALS):
        yield trial_record(row, architecture)
    curves = read_each_curve(folder)
    for row in read_rows(folder / RUNS):
        model = Path(row["model"]) if isinstance(row.get("model"), str) else None
        if model is not None:
            check_model(model)
        yield final_record(row, curves.get(row["key"]), model)


def _with_results(names: Iterable[str]) -> list[str]:
    return [
        name for name in names if any((RESULTS / name / file).exists() for file in (TRIALS, RUNS))
    ]


def _data(study: str) -> tuple[str, Inputs | None]:
    """The digest of the prepared data and what models take; without data, `unknown` and None."""
    path = prepared(study)
    if not path.exists():
        return "unknown", None
    data = datasets.load(path)
    return data.digest, Inputs.of(data)
