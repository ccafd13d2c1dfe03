"""Fetch a study's original files into data/raw/<study>, and check their SHA-256.

Downloads from public mirrors, or reads from DATA_MIRROR (a folder or an http(s) URL) if that is
set. Complete files are not fetched again, and files that another study has are copied.
"""

import argparse
import os
from pathlib import Path

from pipeline.config import loading
from pipeline.datasets import raw, sources

RAW = Path("data/raw")
PARTIAL = Path("data/.partial")  # outside the folders that DVC deletes before a run


def main(argv: list[str]) -> None:
    """Runs the stage. Raises UserError if a file cannot be fetched."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline fetch",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("study", type=loading.named, help=loading.STUDY_HELP)
    study = parser.parse_args(argv).study
    origin = sources.origin(study, loading.load().study(study).data)
    mirror = os.environ.get("DATA_MIRROR") or None
    raw.fetch(study, origin, RAW / study, PARTIAL / study, mirror)
    count = len(origin.files)
    summary = (
        f"{count} files in {RAW / study}, all checksums correct" if count else "nothing to fetch"
    )
    print(f"{study}: {summary}")
