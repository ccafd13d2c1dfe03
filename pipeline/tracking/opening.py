"""Opens an MLflow store after one brief look, so that MLflow does not try for minutes.

A SQLite file is made, or migrated after a copy, before MLflow uses it.
"""

import fcntl
import logging
import os
import shutil
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pipeline.errors import UserError
from pipeline.files import refusal, replacing
from pipeline.tracking.store import (
    LONGEST,
    Away,
    check_place,
    describe,
    experiment_name,
    move_away,
    sqlite_file,
    tracking_uri,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

PATIENCE = 5.0  # seconds for a server or a database to answer at all
PORTS = {"postgresql": 5432, "mysql": 3306}  # of databases whose drivers know a time limit
LEFT = ("-wal", "-shm")  # what SQLite keeps beside a database

_log = logging.getLogger(__name__)


def client_of(uri: str) -> "MlflowClient":
    """A client of a store that answers.

    Raises Away if it does not, and UserError if it is a file that MLflow cannot use.
    """
    from mlflow import MlflowClient

    if uri.startswith("http"):
        _ask_server(uri)
    elif sqlite_file(uri) is None:
        _ask_database(uri)
    else:
        prepare_sqlite(uri)
    return MlflowClient(uri)


def visit(study: str, write: "Callable[[MlflowClient, str], object]") -> bool:
    """Calls `write` with a client and a study's experiment id, if the store has the study.

    Returns whether the store works; if not, a warning says what happened and what to do.
    """
    file = sqlite_file(tracking_uri())
    if file is not None and not file.exists():
        return True
    try:
        client = client_of(tracking_uri())
        experiment = client.get_experiment_by_name(experiment_name(study))
        if experiment is not None:
            check_place(experiment.artifact_location, tracking_uri(), study)
            write(client, experiment.experiment_id)
    except Exception as error:
        _log.warning(
            "%s: MLflow %s; the report is not affected, but MLflow lacks its champion or figures. "
            "Afterwards, run `python -m pipeline publish %s` (for a study with other values: the "
            "same command again)",
            study,
            describe(error),
            study,
        )
        return False
    return True


def patience() -> float:
    """Seconds to wait for an answer: `PATIENCE`, unless the user has set a limit for requests."""
    limit = os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"]
    return PATIENCE if limit == LONGEST else float(limit)


def _ask_server(uri: str) -> None:
    """Any answer will do, since MLflow's own requests are told if they are refused."""
    from mlflow.utils import credentials, rest_utils

    hosts: Any = credentials  # they have no types
    requests: Any = rest_utils
    limits = {"max_retries": 0, "timeout": patience(), "raise_on_status": False}
    requests.http_request(hosts.get_default_host_creds(uri), "/health", "GET", **limits)


def _ask_database(uri: str) -> None:
    from sqlalchemy import NullPool, create_engine
    from sqlalchemy.engine import make_url

    address = make_url(uri)
    kind, limit = address.get_backend_name(), patience()
    if kind not in PORTS:
        return
    if address.host:
        try:
            socket.create_connection((address.host, address.port or PORTS[kind]), limit).close()
        except OSError as error:
            raise Away from error
    began = time.monotonic()
    try:
        create_engine(
            address, poolclass=NullPool, connect_args={"connect_timeout": max(2, int(limit))}
        ).connect().close()
    except ModuleNotFoundError as error:
        raise UserError(
            f"needs a driver of {kind}, and Python has none: {error}; install it, or name one "
            f"that is installed, as in {kind}+psycopg2://…"
        ) from error
    except Exception as error:
        if time.monotonic() - began >= limit:
            raise Away from error
        raise


def prepare_sqlite(uri: str) -> None:
    """Creates the database if necessary, or migrates it; with write-ahead logging.

    This cuts the time of commits to a third, and lets the UI read during writes. Raises UserError
    if the file is damaged, of something else or of a later MLflow, or can only be read.
    """
    path = sqlite_file(uri)
    if path is None:
        return
    if refused := refusal(path.parent):
        raise UserError(f"has no store: {refused}; {refused.remedy.lower()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"has no store: {path.parent} cannot be made ({error.strerror})") from error
    with _alone(path.parent) as locked:
        if path.exists():
            _migrate(path, uri)
        else:
            _make(path, locked)
    # Only for speed, so a database that is locked is left as it is.
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Waits until no other process is in here for the same folder; False if that has no locks."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            locked = True
        except OSError:
            locked = False
        yield locked
    finally:
        os.close(descriptor)


def _make(path: Path, locked: bool) -> None:
    """Lets MLflow create its tables in another file, which is moved into place when complete.

    That takes seconds, table by table, and MLflow could not continue after an interruption.
    `locked`: no other process makes one, so that what such a one has left can be removed.
    """
    from mlflow import MlflowClient

    for left in path.parent.glob(f"{path.name}.*/{path.name}") if locked else ():
        shutil.rmtree(left.parent, ignore_errors=True)
    for ending in LEFT:  # of a database that was moved away: SQLite would write it into the new one
        with suppress(FileNotFoundError):
            Path(f"{path}{ending}").rename(f"{path}.old{ending}")
    with TemporaryDirectory(dir=path.parent, prefix=f"{path.name}.") as folder:
        scratch = Path(folder, path.name)
        MlflowClient(f"sqlite:///{scratch}").search_experiments(max_results=1)
        # Without locks another process may have been faster. Without hard links MLflow creates the
        # file in place.
        with suppress(OSError):
            os.link(scratch, path)


def _migrate(path: Path, uri: str) -> None:
    """Brings a database of an earlier MLflow to the present one, after keeping a copy of it."""
    found = _schema(path)
    if found is None:
        return
    from mlflow import __version__
    from mlflow.store.db import utils as functions

    utils: Any = functions  # they have no types
    latest = utils._get_latest_schema_revision()
    if found == latest:
        return
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    try:
        ScriptDirectory.from_config(utils._get_alembic_config(uri)).get_revision(found)
    except CommandError:
        raise UserError(
            f"{__version__} cannot use {path}, whose tables ({found}) are of a later version or "
            f"another program; update MLflow, or {move_away(path)}"
        ) from None
    copy = path.with_name(f"{path.name}.{found}")
    if not copy.exists():  # else of a migration that was interrupted
        with (
            replacing(copy) as scratch,
            closing(sqlite3.connect(path)) as old,
            closing(sqlite3.connect(scratch)) as new,
        ):
            old.backup(new)
    _log.warning(
        "%s is of an earlier MLflow and is migrated to %s (tables %s to %s); a copy of it as it "
        "was is kept: %s",
        *(path, __version__, found, latest, copy),
    )
    engine = utils.create_sqlalchemy_engine(uri)
    try:
        utils._upgrade_db(engine)
    except Exception as error:
        raise UserError(
            f"cannot migrate {path} ({describe(error)}); {copy} is as it was: {move_away(path)}"
        ) from error
    finally:
        engine.dispose()


def _schema(path: Path) -> str | None:
    """The version of a database's tables; None if it has no tables yet."""
    with closing(sqlite3.connect(path)) as connection:
        try:
            rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            tables = {name for (name,) in rows}
        except sqlite3.OperationalError:  # locked by a writer, which has migrated it
            return None
        if not tables:
            return None
        versions = []
        if "alembic_version" in tables:
            versions = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        if not versions:
            raise UserError(
                f"cannot use {path}: it is of another program, or its making was interrupted; set "
                f"MLFLOW_TRACKING_URI to another file, or {move_away(path)}"
            )
        return str(versions[0][0])
