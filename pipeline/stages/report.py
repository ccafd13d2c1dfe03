"""Summarise a study's runs in a table, figures and a page."""

import argparse
from pathlib import Path

from pipeline.config import loading
from pipeline.execution import devices
from pipeline.report import pages, sentences
from pipeline.results import read_advice, read_runs
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
        pages.write(folder, arguments.ui, devices.cores())
        show(folder)
    print("\n\n".join(sentences.told(folder)))
    print(f"report: {folder / pages.PAGE}")


def show(folder: Path) -> None:
    """Names the champion of a report in MLflow, and logs the report's figures."""
    study, runs, advised = folder.name, read_runs(folder), read_advice(folder)
    if crown(study, runs, advised["technique"], advised["text"]):
        log_figures(study, pages.drawings(folder), studies(runs))
