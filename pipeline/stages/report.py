"""Summarise a study's runs in a table, figures and a page."""

import argparse
import re
from pathlib import Path

from pipeline.analysis import summary
from pipeline.config import loading
from pipeline.errors import UserError, redacted
from pipeline.execution import devices
from pipeline.files import check_place
from pipeline.report import pages, sentences, sizes_page
from pipeline.results import (
    DRAWN,
    check_stage,
    read_advice,
    read_plotted_curves,
    read_runs,
    read_summary,
    read_tuned,
    seal_report,
    task_of,
    varies,
)
from pipeline.tracking import comparison, view
from pipeline.tracking.attachments import log_figures, studies
from pipeline.tracking.champion import crown
from pipeline.tracking.comparison import Report
from pipeline.tracking.context import asked, location
from pipeline.tracking.store import tracking_uri


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
        "--ui",
        type=address,
        default=pages.UI,
        help=f"MLflow's address for links; default: {pages.UI}",
    )
    arguments = parser.parse_args(argv)
    folder, shown = Path("results") / arguments.study, None
    if not arguments.table:
        tracking_uri()  # a mistake in it is told before the work
        _write(folder, arguments.ui)
        shown = show(folder)
    print("\n\n".join(sentences.told(folder)))
    page = folder / pages.PAGE
    print(f"report: {location(page)}")
    if shown:
        print(f"MLflow, once `make ui` runs: {view.link(arguments.ui, shown, asked())}")


def address(text: str) -> str:
    """An address that links can have, without its user. Raises UserError if not of http(s)."""
    shown = redacted(text)
    if not re.fullmatch(r"https?://[^\s\"'<>]+", shown):
        raise UserError(f"--ui must be an http(s) address, such as {pages.UI}, but got {shown!r}")
    return shown


def _write(folder: Path, ui: str) -> None:
    for stage in ("tune", "train"):  # before anything of an older report is replaced
        check_stage(folder, stage)
    for name in DRAWN:
        check_place(folder / name / pages.PAGE)
    if varies(read_tuned(folder)):
        sizes_page.write(folder, ui)
    else:
        pages.write(folder, ui, devices.cores())
    seal_report(folder)


def show(folder: Path) -> str | None:
    """Shows a report in MLflow: its finding, its champion, its figures.

    Returns the id of the study's experiment, None if it is not in the store. A study that varies a
    size is described only.
    """
    study, table, runs = folder.name, read_summary(folder), read_runs(folder)
    told, sized = sentences.told(folder)[1], varies(read_tuned(folder))
    finding = None if sized else summary.find(table)
    found = comparison.show(
        Report(
            study=study,
            finding=finding,
            task=task_of(table),
            told=told,
            curves=read_plotted_curves(folder),
            page=folder / pages.PAGE,
            digests=studies(runs),
            asked=asked(),
        )
    )
    if not found or finding is None:
        return found
    if crown(study, runs, finding.registered, read_advice(folder)["text"], asked()):
        log_figures(study, pages.drawings(folder), studies(runs), asked())
    return found
