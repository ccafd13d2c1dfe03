"""Show the size of the journal of finished runs, or delete the results of other code."""

import argparse
from pathlib import Path

from pipeline.execution import journal
from pipeline.execution.journal import Journal, Usage, at_work


def main(argv: list[str]) -> None:
    """Prints a line for each study. Raises UserError if another process works on one."""
    parser = argparse.ArgumentParser(prog="python -m pipeline journal", description=__doc__)
    parser.add_argument("--prune", action="store_true", help="delete the results of other code")
    prune = parser.parse_args(argv).prune
    studies = _studies(journal.ROOT)
    for study in studies:
        with at_work(study):
            print(f"{study}: {_line(Journal(study), prune)}")
    if not studies:
        print(f"{journal.ROOT} has no finished runs")


def _studies(root: Path) -> list[str]:
    """The studies that have a journal, which has a lock; compiled programs have none."""
    folders = [path.name for path in root.glob("*") if path.is_dir()]
    return sorted(name for name in folders if (root / f"{name}.lock").exists())


def _line(study: Journal, prune: bool) -> str:
    usage = study.usage
    if prune:
        study.prune()
        return f"{_told(usage)}, deleted"
    return _told(usage)


def _told(usage: Usage) -> str:
    """Such as `120 runs (31.0 MB) of the current code, 80 (20.0 MB) of other code`."""
    current = f"{usage.current} runs ({_megabytes(usage.current_bytes)}) of the current code"
    return f"{current}, {usage.others} ({_megabytes(usage.others_bytes)}) of other code"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
