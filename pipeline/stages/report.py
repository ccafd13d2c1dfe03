"""Summarise a study's runs in a table, figures and a page."""

import argparse
from pathlib import Path

from pipeline.config import loading
from pipeline.execution import devices
from pipeline.report import pages, sentences, sizes_page
from pipeline.results import SIZE, read_advice, read_runs, read_tuned
from pipeline.tracking.attachments import log_figures, studies
from pipeline.tracking.champion import crown


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
        show(folder)
    print("\n\n".join(sentences.told(folder)))
    print(f"report: {folder / pages.PAGE}")


def _write(folder: Path, ui: str) -> None:
    if "sizes" in read_tuned(folder):
        sizes_page.write(folder, ui)
    else:
        pages.write(folder, ui, devices.cores())


def show(folder: Path) -> None:
    """Names the champion of a report in MLflow, and logs the report's figures.

    A study that varies a size has no champion.
    """
    study, runs, advised = folder.name, read_runs(folder), read_advice(folder)
    if SIZE not in runs and crown(study, runs, advised["technique"], advised["text"]):
        log_figures(study, pages.drawings(folder), studies(runs))
