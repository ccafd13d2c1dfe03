"""Summarise a data set's runs in a table, figures and a page."""

import argparse
from pathlib import Path

from pipeline import report, summary


def main(argv: list[str]) -> None:
    """Write a data set's summary and page, then print the table and what it shows."""
    parser = argparse.ArgumentParser(prog="python -m pipeline report", description=__doc__)
    parser.add_argument("dataset", help="a data set that `train` has finished, such as circles")
    parser.add_argument(
        "--table", action="store_true", help="only print the table of the summary that is there"
    )
    arguments = parser.parse_args(argv)
    folder = Path("results") / arguments.dataset
    rows = summary.read_summary(folder / "summary.csv") if arguments.table else report.write(folder)
    print(summary.table(rows))
    print()
    print(report.headline(summary.find(rows)))
    print(f"report: {folder / report.PAGE}")
