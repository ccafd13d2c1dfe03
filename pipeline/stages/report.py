"""Summarise a data set's runs in a table, figures and a page."""

import argparse
from pathlib import Path

from pipeline.analysis import summary
from pipeline.config import params
from pipeline.execution import devices
from pipeline.report import pages
from pipeline.tracking.attachments import log_figures, studies


def main(argv: list[str]) -> None:
    """Write a data set's summary and page, print what they show, and give MLflow the figures."""
    parser = argparse.ArgumentParser(prog="python -m pipeline report", description=__doc__)
    parser.add_argument("dataset", help="a data set that `train` has finished, such as circles")
    parser.add_argument(
        "--table", action="store_true", help="only print the table of the summary that is there"
    )
    parser.add_argument(
        "--ui", default=pages.UI, help=f"MLflow's address, for the links; default: {pages.UI}"
    )
    arguments = parser.parse_args(argv)
    folder = Path("results") / arguments.dataset
    if not arguments.table:
        study = params.load().study(arguments.dataset)
        pages.write(folder, background(study), arguments.ui, devices.cores())
        runs = studies(summary.read_runs(folder / "runs.csv"))
        log_figures(arguments.dataset, pages.drawings(folder), runs)
    print("\n\n".join(pages.told(folder)))
    print(f"report: {folder / pages.PAGE}")


def background(study: params.Study) -> pages.Background:
    """What the page tells of a study beside its results."""
    random = params.random_trials(study.tuning.trials, study.tuning.round)
    return pages.Background(training_points(study.data), random)


def training_points(
    data: params.CirclesData | params.DigitsData | params.FeaturesData | params.ImagesData,
) -> int:
    """How many points the tuned setting trains on."""
    if isinstance(data, params.CirclesData | params.FeaturesData):
        return data.train
    if isinstance(data, params.DigitsData):
        return 1_797 - data.validation - data.test
    return 60_000 - data.validation
