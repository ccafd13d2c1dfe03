"""Compare any two techniques, from existing runs."""

import argparse

from pipeline.analysis import comparison
from pipeline.config import loading
from pipeline.results import RESULTS, read_runs


def main(argv: list[str]) -> None:
    """Prints means, paired difference, p-value and a verdict in words."""
    parser = argparse.ArgumentParser(prog="python -m pipeline compare", description=__doc__)
    parser.add_argument("first", metavar="A", help="a technique, such as l2")
    parser.add_argument("second", metavar="B", help="another, such as dropout")
    parser.add_argument("--study", required=True, type=loading.named, help=loading.STUDY_HELP)
    parser.add_argument("--setting", default="tuned", help="tuned (the default) or article")
    parser.add_argument(
        "--measure",
        help="a column of runs.csv; default: test_accuracy, for an autoencoder test_loss",
    )
    arguments = parser.parse_args(argv)
    runs = read_runs(RESULTS / arguments.study)
    compared = comparison.compare(
        runs, arguments.first, arguments.second, arguments.setting, arguments.measure
    )
    print(comparison.text(compared))
