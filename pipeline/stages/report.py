"""Summarise a study's runs in a table, figures and a page."""

import argparse
from pathlib import Path

import pandas as pd

from pipeline.analysis import summary
from pipeline.config import loading
from pipeline.execution import devices
from pipeline.report import pages, sentences, sizes_page
from pipeline.results import (
    SIZE,
    read_advice,
    read_runs,
    read_summary,
    read_tuned,
    task_of,
)
from pipeline.tracking import comparison, view
from pipeline.tracking.attachments import log_figures, studies
from pipeline.tracking.champion import crown
from pipeline.tracking.comparison import Report
from pipeline.tracking.context import asked


def main(argv: list[str]) -> None:
    """Writes a study's summary and page, prints them as text, and shows them in MLflow."""
    parser = argparse.ArgumentParser(prog="python -m pipeline report", description=__doc__)
    parser.add_argument(
        "study",
        type=loading.named,
        help="a study whose `train` stage has finished, such as circles",
    )
    parser.add_argument(
        "--table", action="store_true", help="only print the table of the existing summary"
    )
    parser.add_argument(
        "--ui", default=pages.UI, help=f"MLflow's address for links; default: {pages.UI}"
    )
    arguments = parser.parse_args(argv)
    folder = Path("results") / arguments.study
    if not arguments.table:
        _write(folder, arguments.ui)
    shown = None if arguments.table else show(folder)
    print("\n\n".join(sentences.told(folder)))
    page = folder / pages.PAGE
    print(f"report: {page.resolve() if asked() else page}")
    if shown:
        print(f"MLflow, once `make ui` runs: {view.link(arguments.ui, shown, asked())}")


def _write(folder: Path, ui: str) -> None:
    if "sizes" in read_tuned(folder):
        sizes_page.write(folder, ui)
    else:
        pages.write(folder, ui, devices.cores())


def show(folder: Path) -> str | None:
    """Shows a report in MLflow: its finding, its champion, its figures.

    Returns the id of the study's experiment, None if it is not in the store. A study that varies a
    size is described only.
    """
    study, runs, advised = folder.name, read_runs(folder), read_advice(folder)
    table = read_summary(folder)
    task = task_of(table)
    finding = None if SIZE in runs else summary.find(table)
    _, told = sentences.told(folder)
    found = comparison.show(
        Report(
            study=study,
            finding=finding,
            task=task,
            told=told,
            curves=pd.read_csv(folder / "plots" / "curves.csv"),
            page=folder / pages.PAGE,
            digests=studies(runs),
            asked=asked(),
        )
    )
    if not found or SIZE in runs:
        return found
    if crown(study, runs, advised["technique"], advised["text"], asked()):
        log_figures(study, pages.drawings(folder), studies(runs))
    return found
