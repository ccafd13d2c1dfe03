"""No choice depends on the test set: the stages choose the same when test labels are random.

Values, epochs and the run that would be a technique's champion follow from validation data. Which
technique is advised, and so whose run is the champion, does depend on test data: it is the outcome
of the comparison. Nothing here is asserted of it but that it is what the report found.
"""

import itertools
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pytest
import yaml

from pipeline import datasets, results
from pipeline.analysis import summary
from pipeline.config import loading, sections
from pipeline.datasets.sources import prepare
from pipeline.engine import Engine
from pipeline.execution.executor import Answer, Work
from pipeline.execution.journal import Journal
from pipeline.execution.worker import Job, Worker
from pipeline.results import STUDY
from pipeline.stages import report, train, tune
from pipeline.tracking.champion import ranked
from pipeline.tracking.records import Record
from pipeline.training.trainer import Trainer

from .clone import tiny

NAME = "digits"
TECHNIQUES = {
    "none": {"article": {}},
    "l2": {"article": {"strength": 1e-4}},
    "early_stopping": {"search": {"patience": {"low": 1, "high": 3, "integer": True}}},
}
ENGINE = Engine()  # of both studies, so that nothing is compiled twice


class InProcess:
    """An executor without processes: one slot, whose jobs are done at once."""

    slots = (0,)

    def __init__(self, prepared: Path, _: sections.Engine, __: Journal) -> None:
        trainer = Trainer(datasets.load(prepared), ENGINE)
        self._worker = Worker(trainer, compiled=None, unseen=None, tell=lambda epochs: None)

    def submit(self, slot: int, job: Job[Answer]) -> Work[Answer]:
        work: Work[Answer] = Work()
        work.set_result(job.run(self._worker))
        return work

    def close(self) -> None:
        pass


class Nowhere:
    """Stands for `Tracker`: MLflow's runs are no part of a choice."""

    def __init__(self, *context: object, **settings: bool) -> None:
        self.run_ids: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def log(self, record: Record) -> None:
        pass

    def finish(self, technique: str) -> None:
        pass


def write_params(path: Path) -> None:
    """A study of one data set with budgets of seconds, in which trials differ."""
    given = tiny(yaml.safe_load(Path(loading.FILE).read_text(encoding="utf-8")))
    study = given["studies"][NAME]
    study["techniques"] = TECHNIQUES
    study["training"]["epochs"] = 4
    study["tuning"] |= {"trials": 6, "round": 3, "epochs": 4, "pruning": {"first": 2, "factor": 2}}
    path.write_text(yaml.safe_dump(given | {"studies": {NAME: study}}), encoding="utf-8")


def one_split(data: datasets.Dataset) -> datasets.Dataset:
    """The data with their first split alone: in others its test examples train and validate."""
    splits: datasets.Splits = {
        protocol: {part: rows[:1] for part, rows in parts.items()}
        for protocol, parts in data.splits.items()
    }
    return replace(data, splits=splits)


def run_study(folder: Path, data: datasets.Dataset) -> dict[str, Any]:
    """Runs the stages in a folder on these data; everything that was chosen."""
    datasets.save(data, results.prepared(NAME))
    for stage in (tune, train, report):
        stage.main([NAME])
    home = folder / results.RESULTS / NAME
    finals, advised = results.read_runs(home), results.read_advice(home)
    kept = {name: ranked(finals, name) for name in TECHNIQUES}
    assert all(kept.values())
    assert advised["technique"] == summary.find(results.read_summary(home)).champion
    names = ["key", STUDY, "seconds"]  # the first two name the data too
    trials = pd.read_csv(home / "trials.csv").drop(columns=names)
    runs = pd.read_csv(home / "runs.csv").drop(columns=[*names, "model"])
    of_test = ("test_", "gap", "noise_", "kept_", "calibration_error", "collapsed")
    tuned = yaml.safe_load((home / "tuned.json").read_text(encoding="utf-8"))
    return {
        "trials": trials,
        "tuned": [each | {STUDY: ""} for each in tuned["techniques"].values()],
        "runs": runs.drop(columns=[c for c in runs.columns if c.startswith(of_test)]),
        "kept": {name: [(r["search"], r["seed"]) for r in own] for name, own in kept.items()},
        "by_validation": advised["by_validation"],
        "test": pd.read_csv(home / "runs.csv")["test_accuracy"],
    }


@pytest.mark.slow
def test_random_test_labels_change_nothing_that_is_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stage in (tune, train):
        monkeypatch.setattr("pipeline.execution.on_demand.LocalExecutor", InProcess)
        monkeypatch.setattr(stage, "Tracker", Nowhere)
    write_params(tmp_path / loading.FILE)
    shutil.copytree("data/sources", tmp_path / "data/sources")
    monkeypatch.chdir(tmp_path)
    settings = loading.load()
    data = one_split(prepare(NAME, settings.study(NAME).data, settings.seed, Path("nowhere")))
    labels, rows = data.y.copy(), data.splits["leak_free"]["test"]
    labels[rows] = np.random.default_rng(0).integers(data.n_classes, size=rows.shape)
    for protocol, part in itertools.product(datasets.PROTOCOLS, datasets.PARTS[:2]):
        assert not np.isin(data.splits[protocol][part], rows).any()
    found = []
    for name, given in (("true", data), ("random", replace(data, y=labels))):
        folder = tmp_path / name
        folder.mkdir()
        write = (tmp_path / loading.FILE).read_text(encoding="utf-8")
        (folder / loading.FILE).write_text(write, encoding="utf-8")
        monkeypatch.chdir(folder)
        found.append(run_study(folder, given))
    one, other = found
    assert one["test"].mean() > other["test"].mean() + 0.2  # what was tested did change
    pd.testing.assert_frame_equal(one["trials"], other["trials"], check_exact=True)
    pd.testing.assert_frame_equal(one["runs"], other["runs"], check_exact=True)
    for name in ("tuned", "kept", "by_validation"):
        assert one[name] == other[name]
