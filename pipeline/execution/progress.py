"""The progress of a stage's runs, as a line on the terminal."""

import sys
from collections.abc import Sequence
from typing import Self

from tqdm import tqdm

from pipeline.training.runs import Run


class Progress:
    """One line: what is trained, done / total, time left. Nothing if there is no terminal.

    The bar counts epochs, so that it moves within long runs. `every`: seconds between updates, and
    between looks for machines that have joined a cluster.
    `runs`, `epochs`: the expected totals, if more runs than those added so far will come.
    """

    def __init__(self, title: str, runs: int = 0, epochs: int = 0) -> None:
        shown = sys.stderr.isatty()
        self.every = 0.5 if shown else 5.0
        self._title, self._runs, self._epochs = title, runs, epochs
        self._added_runs = self._added_epochs = 0
        self._done_runs = self._done_epochs = 0
        self._bar = tqdm(
            desc=title,
            bar_format="{desc} {percentage:3.0f}%|{bar:20}| {elapsed}<{remaining}",
            leave=False,
            disable=not shown,
            total=epochs,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def spared(self, runs: Sequence[Run]) -> None:
        """These runs need not be trained."""
        self._added_runs += len(runs)
        self._done_runs += len(runs)
        self._epochs -= _epochs_of(runs)

    def add(self, runs: Sequence[Run]) -> None:
        """These runs will be trained."""
        self._added_runs += len(runs)
        self._added_epochs += _epochs_of(runs)
        self._bar.total = max(self._epochs, self._added_epochs)

    def finished(self, runs: Sequence[Run]) -> None:
        """These runs are done."""
        self._done_runs += len(runs)
        self._done_epochs += _epochs_of(runs)
        done = f"{self._done_runs}/{max(self._runs, self._added_runs)} runs"
        self._bar.set_description_str(f"{self._title}: {done}, {runs[0].technique}")

    def show(self, running: int) -> None:
        """Updates the bar. `running`: epochs done in runs that are not finished."""
        self._bar.update(max(0, self._done_epochs + running - self._bar.n))


def _epochs_of(runs: Sequence[Run]) -> int:
    return sum(run.training.epochs for run in runs)
