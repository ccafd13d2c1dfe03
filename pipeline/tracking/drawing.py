"""Figures and tables of a parent run, drawn in a process beside the writer of records."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from pipeline.execution import processes
from pipeline.report import charts
from pipeline.techniques.ranges import Range
from pipeline.tracking.records import Record

TABLE = "curves.parquet"


@cache
def artists() -> ProcessPoolExecutor:
    """The process that draws for all experiments of this process; starts its imports at once.

    A thread would share Python's global lock with the writer, and drawing takes as long as writing.
    A second process would start only at the end of a stage, when several figures are due, and spend
    the rest of the time with imports.
    """
    return processes.helpers(1, charts.prepare)


def stop() -> None:
    """Cancels figures that are not drawn yet, so that this process can end."""
    if artists.cache_info().currsize:
        artists().shutdown(wait=False, cancel_futures=True)


class Drawing:
    """The artifacts of a parent with these records, while they are drawn.

    `ranges`: the ranges and scales of the technique's hyperparameters.
    """

    def __init__(self, records: Sequence[Record], ranges: Mapping[str, Range]) -> None:
        self._records, self._ranges = list(records), ranges
        self._folder = TemporaryDirectory(ignore_cleanup_errors=True)
        self._done = self._begin()

    def _begin(self) -> Future[None]:
        arguments = self._records, self._ranges, Path(self._folder.name)
        try:
            return artists().submit(draw, *arguments)
        except BrokenProcessPool:  # the process has died: start another one
            artists.cache_clear()
            return artists().submit(draw, *arguments)

    @property
    def ready(self) -> bool:
        """Whether `finished` would not wait."""
        return self._done.done()

    def finished(self) -> str:
        """Waits for the artifacts; their folder. If the drawing process died, draws them here."""
        try:
            self._done.result()
        except BrokenProcessPool:
            draw(self._records, self._ranges, Path(self._folder.name))
        return self._folder.name

    def close(self) -> None:
        """Removes the folder."""
        self._done.cancel()
        self._folder.cleanup()


def draw(records: Sequence[Record], ranges: Mapping[str, Range], folder: Path) -> None:
    """Writes a parent's artifacts: figures of its search, or its curves as figure and table."""
    charts.draw_search(_trials(records), ranges, folder, records[0].task)
    labelled = [
        record.curve.assign(
            key=record.key, setting=record.setting, search=record.search, seed=record.seed
        )
        for record in records
        if record.curve is not None
    ]
    if labelled:
        curves = pd.concat(labelled, ignore_index=True)
        curves = curves.astype({"key": "category", "setting": "category"})
        curves.to_parquet(folder / TABLE, index=False)
        charts.draw_curves(curves, folder / charts.CURVES)


def drawn(records: Sequence[Record]) -> set[str]:
    """The names of the files that `draw` writes."""
    curves = (TABLE, charts.CURVES) if any(each.curve is not None for each in records) else ()
    search = charts.SEARCH if charts.varied(_trials(records)) else ()
    return {*curves, *(f"{name}.png" for name in search)}


def _trials(records: Sequence[Record]) -> list[charts.Trial]:
    task = records[0].task
    return [
        charts.Trial(record.params, score, record.status == "KILLED")
        for record in records
        if record.phase == "tune" and record.status != "FAILED"
        if np.isfinite(score := record.metrics.get(task.val.name, task.worst))
    ]
