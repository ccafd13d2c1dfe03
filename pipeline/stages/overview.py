"""Join the data sets' results in reports/index.html."""

import argparse
from pathlib import Path

from pipeline import report

PAGE = Path("reports/index.html")


def main(argv: list[str]) -> None:
    """Write the page, and say which data sets have no results yet."""
    parser = argparse.ArgumentParser(prog="python -m pipeline overview", description=__doc__)
    parser.parse_args(argv)
    PAGE.unlink(missing_ok=True)  # DVC may have left a link to its cache, which must not change
    missing = report.write_overview(Path("results"), PAGE)
    for name in missing:
        print(f"no results yet: {name}; `dvc repro report@{name}` makes them")
    print(f"overview: {PAGE}")
