"""Fetch a data set's original files into data/raw/<dataset>, and check their SHA-256.

Downloads from public mirrors, or reads from DATA_MIRROR (a folder or an http(s) URL) if that
is set. Files that have arrived whole are not fetched again.
"""

import argparse
import os
from pathlib import Path

from pipeline.datasets import raw
from pipeline.datasets.origins import ORIGINS

RAW = Path("data/raw")
PARTIAL = Path("data/.partial")  # outside what DVC deletes before a run


def main(argv: list[str]) -> None:
    """Run the stage. Raises UserError."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline fetch",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dataset", choices=ORIGINS)
    dataset = parser.parse_args(argv).dataset
    mirror = os.environ.get("DATA_MIRROR") or None
    raw.fetch(dataset, RAW / dataset, PARTIAL / dataset, mirror)
    count = len(ORIGINS[dataset].files)
    what = f"{count} files, all checked, in {RAW / dataset}" if count else "nothing to fetch"
    print(f"{dataset}: {what}")
