"""A store that is away, damaged, of another MLflow, or lost files: one try, the true remedy."""

import importlib
import logging
import shutil
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from pipeline.errors import UserError
from pipeline.tracking import opening
from pipeline.tracking.opening import client_of
from pipeline.tracking.store import tracking_uri
from pipeline.tracking.tracker import Tracker
from tests.faults import sampled
from tests.store import EXPERIMENT, free_port, parents, runs
from tests.test_tracking import CONTEXT, study

BRIEF = 12  # seconds on a busy machine for one try of `PATIENCE`; MLflow's own take 107


@pytest.fixture
def hanging() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def warned(caplog: pytest.LogCaptureFixture) -> str:
    """The one warning, which is one sentence of a line."""
    (record,) = [each for each in caplog.records if each.levelno >= logging.WARNING]
    message = record.getMessage()
    assert "\n" not in message
    assert len(message) < 400 + len(str(Path.cwd())) * 2
    assert "Traceback" not in caplog.text
    return message


def logged(restores: bool = False) -> Tracker:
    with Tracker(CONTEXT, restores=restores) as tracker:
        for record in study():
            tracker.log(record)
        for technique in sorted({record.technique for record in study()}):
            tracker.finish(technique)
    return tracker


@pytest.mark.parametrize("kind", ["http", "postgresql+psycopg2"])
@pytest.mark.parametrize("state", ["refuses", "hangs"])
def test_a_store_that_does_not_answer_is_tried_once_and_briefly(
    kind: str,
    state: str,
    hanging: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for module in ("mlflow.tracking", "psycopg2"):  # their imports take longer than the try
        importlib.import_module(module)
    monkeypatch.setattr(opening, "PATIENCE", 2.0)
    port = hanging if state == "hangs" else free_port()
    host = "127.0.0.1" if kind == "http" else "me:secret@127.0.0.1"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{kind}://{host}:{port}/db")
    began = time.monotonic()
    tracker = logged()
    assert time.monotonic() - began < BRIEF
    assert tracker.failure is not None
    message = warned(caplog)
    assert "MLflow is away" in message
    assert "does not answer" in message
    assert "`python -m pipeline publish circles`" in message
    assert "secret" not in message


@pytest.mark.parametrize(
    "uri",
    ["sqlite://", "sqlite:///", "sqlite:///:memory:", "nonsense://x", "./mlruns", "file:///tmp/m"],
)
def test_an_address_of_no_store_is_refused_before_any_work(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError, match="MLFLOW_TRACKING_URI must be the address of a") as error:
        Tracker(CONTEXT)
    assert uri in str(error.value)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    "uri", ["sqlite:///a.db", "sqlite:////tmp/a.db?timeout=3", "http://h:1", "https://h/mlflow",
            "postgresql+psycopg2://me@h/db", "mysql+pymysql://h/db", "databricks"],
)  # fmt: skip
def test_addresses_of_stores_are_taken(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert tracking_uri()


def overwrite(path: Path) -> None:
    path.write_bytes(b"hello")


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[20_000:600_000] = bytes(580_000)
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40_000])


def other(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE notes (text)")
        connection.commit()


def later(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
        connection.commit()


CHANGES = (overwrite, damage, cut, other, later)


@pytest.mark.parametrize("change", sampled(CHANGES, 2))
def test_a_file_that_is_no_store_is_told_with_what_mends_it(
    change: Any, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = folder / "mlflow.db"
    change(database)
    with Tracker(CONTEXT) as tracker:
        tracker.log(study()[0])
    assert tracker.failure is not None
    message = warned(caplog)
    assert f"move {database}* away" in message
    for path in folder.glob("mlflow.db*"):
        path.unlink()
    assert client_of(f"sqlite:///{database}").search_experiments()


def test_what_sqlite_left_of_a_database_that_was_moved_stays_out_of_the_new_one(
    folder: Path, empty_database: Path
) -> None:
    """SQLite writes the rest of a log that lies beside a database into it, whatever it is of."""
    database = folder / "mlflow.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE old (x)")
        connection.commit()
        shutil.copy(f"{database}-wal", folder / "wal")
    for path in folder.glob("mlflow.db*"):
        path.unlink()
    (folder / "wal").rename(f"{database}-wal")
    client_of(f"sqlite:///{database}").search_experiments()
    with closing(sqlite3.connect(database)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    assert "experiments" in tables
    assert "old" not in tables


def test_a_database_of_an_earlier_mlflow_is_migrated_by_name_after_a_copy(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from alembic import command
    from alembic.script import ScriptDirectory
    from mlflow.store.db import utils as functions
    from mlflow.store.tracking.dbmodels.initial_models import Base

    database, utils = tmp_path / "mlflow.db", functions
    uri = f"sqlite:///{database}"
    engine = utils.create_sqlalchemy_engine(uri)  # type: ignore[no-untyped-call]
    Base.metadata.create_all(engine)
    config = utils._get_alembic_config(uri)  # type: ignore[no-untyped-call]
    revisions = [each.revision for each in ScriptDirectory.from_config(config).walk_revisions()]
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revisions[3])
    engine.dispose()
    caplog.clear()
    client_of(uri).create_experiment("new")
    message = warned(caplog)
    copy = database.with_name(f"mlflow.db.{revisions[3]}")
    assert str(copy) in message
    assert f"tables {revisions[3]} to {revisions[0]}" in message
    for path, expected in ((copy, revisions[3]), (database, revisions[0])):
        with closing(sqlite3.connect(path)) as opened:
            found = opened.execute("SELECT version_num FROM alembic_version").fetchone()
        assert found == (expected,)
    caplog.clear()
    assert client_of(uri).get_experiment_by_name("new") is not None
    assert not caplog.records  # once


def test_publish_restores_artifacts_that_were_removed(folder: Path) -> None:
    logged()
    place = folder / "mlartifacts"
    before = {path.relative_to(folder) for path in place.rglob("*") if path.is_file()}
    assert before
    ends = {name: run.info.end_time for name, run in parents().items()}
    shutil.rmtree(place)
    tracker = logged(restores=True)
    assert (tracker.added, tracker.restored) == (0, len(parents()))
    assert {path.relative_to(folder) for path in place.rglob("*") if path.is_file()} == before
    assert {name: run.info.end_time for name, run in parents().items()} == ends
    assert logged(restores=True).restored == 0


def test_parents_end_although_their_artifacts_find_no_space(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", str(folder / "mlartifacts/circles/figure.png"))

    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "log_artifacts", full)
        assert logged().failure is not None
    message = warned(caplog)
    assert "mlartifacts/circles has no space left; free space there" in message
    assert {run.info.status for run in parents().values()} == {"FAILED"}
    logged()
    assert {run.info.status for run in parents().values()} == {"FINISHED"}
    assert len({run.info.run_id for run in runs(EXPERIMENT)}) == len(study()) + len(parents())
