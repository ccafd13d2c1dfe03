"""Artifacts that were removed from a store, made again from the result files."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pipeline.techniques.ranges import Range
from pipeline.tracking.drawing import draw, drawn
from pipeline.tracking.packages import Packages
from pipeline.tracking.records import Record

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel


class Restoring:
    """Compares the artifacts of an experiment's runs with what they had, and logs what is missing.

    `runs`: of how many it has logged some. A model whose file is not there is left as it is.
    """

    def __init__(self, client: "MlflowClient", experiment_id: str, packages: Packages) -> None:
        self.runs = 0
        self._client, self._id, self._packages = client, experiment_id, packages
        self._expected: set[str] = set()  # files of a model, which all models of a study have

    def model(self, run_id: str, record: Record) -> None:
        """Logs the model of a final run again unless all its files are there."""
        logged = self._models.get(run_id)
        if logged is None or record.model is None or not record.model.exists():
            return
        present = dict(self._listed(logged.model_id))
        size = record.model.stat().st_size  # else cut short by a full disk
        if self._expected and self._expected <= present.keys() and size in present.values():
            return
        folder = self._packages.pack(record.model, logged, run_id, record.replicate, record.task)
        files = (path for path in folder.rglob("*") if path.is_file())
        self._expected = {path.relative_to(folder).as_posix() for path in files}
        if self._expected <= present.keys() and size in present.values():
            return
        self._client.log_model_artifacts(logged.model_id, str(folder))
        self.runs += 1

    @cached_property
    def _models(self) -> "Mapping[str, LoggedModel]":
        """By the run that they are of."""
        found: dict[str, LoggedModel] = {}
        token: str | None = ""
        while token is not None:
            page = self._client.search_logged_models(
                [self._id], max_results=100, page_token=token or None
            )
            found |= {str(each.source_run_id): each for each in page}
            token = page.token or None
        return found

    def _listed(self, model_id: str, folder: str | None = None) -> Iterator[tuple[str, int]]:
        """The path and size of each file of a model."""
        for each in self._client.list_logged_model_artifacts(model_id, folder):
            if each.is_dir:
                yield from self._listed(model_id, each.path)
            else:
                yield each.path, each.file_size or 0

    def drawings(self, run_id: str, records: Sequence[Record], ranges: Mapping[str, Range]) -> None:
        """Draws the artifacts of a parent with these records again unless all are there."""
        present = {each.path for each in self._client.list_artifacts(run_id) if each.file_size}
        if drawn(records) <= present:
            return
        with TemporaryDirectory() as folder:
            draw(records, ranges, Path(folder))
            self._client.log_artifacts(run_id, folder)
        self.runs += 1
