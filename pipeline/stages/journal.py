"""Tell how large the journal of finished runs is, or delete what other code has made."""

import argparse
from pathlib import Path

from pipeline.execution import journal
from pipeline.execution.journal import Journal, Usage, at_work


def main(argv: list[str]) -> None:
    """Prints a line for each study. Raises UserError where one is in work."""
    parser = argparse.ArgumentParser(prog="python -m pipeline journal", description=__doc__)
    parser.add_argument("--prune", action="store_true", help="delete what other code has made")
    prune = parser.parse_args(argv).prune
    studies = _studies(journal.ROOT)
    for study in studies:
        with at_work(study):
            print(f"{study}: {_line(Journal(study), prune)}")
    if not studies:
        print(f"{journal.ROOT} has no finished runs")


def _studies(root: Path) -> list[str]:
    """Those that have a journal; beside them are compiled programs, and a lock for each."""
    folders = [path.name for path in root.glob("*") if path.is_dir()]
    return sorted(name for name in folders if (root / f"{name}.lock").exists())


def _line(study: Journal, prune: bool) -> str:
    usage = study.usage
    if prune:
        study.prune()
        return f"{_told(usage)}, deleted"
    return _told(usage)


def _told(usage: Usage) -> str:
    """Such as `120 runs (31 MB) of today's code, 80 (20 MB) of other code`."""
    today = f"{usage.today} runs ({_megabytes(usage.today_bytes)}) of today's code"
    return f"{today}, {usage.others} ({_megabytes(usage.others_bytes)}) of other code"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
