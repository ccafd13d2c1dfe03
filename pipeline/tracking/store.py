"""Which MLflow store, what things are called in it, and what went wrong with it."""

import logging
import os
import re
import sqlite3
import textwrap
import time
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

# MLflow's own limits would hold up a stage for minutes when its server has gone away.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
for _name, _value in _ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)
# A request that is tried again has not failed yet.
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)

DEFAULT_URI = "sqlite:///mlflow.db"
WRITER = "writer"  # the tag that says which checkout wrote a run


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or the SQLite file in the current folder; a file's path is absolute."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI
    file, (_, *options) = sqlite_file(uri), uri.split("?")
    return uri if file is None else "?".join((f"sqlite:///{file.absolute()}", *options))


def sqlite_file(uri: str) -> Path | None:
    """The database that a SQLite URI names."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(uri.removeprefix("sqlite:///").split("?")[0])


def prepare_sqlite(uri: str) -> None:
    """Makes the database if need be, with write-ahead logging.

    With that commits cost a third, and the UI reads while we write.
    """
    path = sqlite_file(uri)
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        _make(path)
    # It is for speed alone, so a database that somebody holds locked is left as it is.
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")


def _make(path: Path) -> None:
    """Has MLflow make its tables in another file, which is put in place when it is whole.

    MLflow makes them one by one for seconds, and could not go on from what a kill would leave.
    """
    from mlflow import MlflowClient

    with TemporaryDirectory(dir=path.parent, prefix=f"{path.name}.") as folder:
        scratch = Path(folder, path.name)
        MlflowClient(f"sqlite:///{scratch}").search_experiments(max_results=1)
        # Another process may have been quicker. Without hard links MLflow makes the file in place.
        with suppress(OSError):
            os.link(scratch, path)


def artifacts(uri: str, study: str) -> str | None:
    """Where an experiment's artifacts go: beside a SQLite file; a server knows its own place."""
    file = sqlite_file(uri)
    return None if file is None else (file.parent / "mlartifacts" / study).resolve().as_uri()


def experiment_name(study: str) -> str:
    """The MLflow experiment that holds a data set's runs."""
    return f"regularization/{study}"


def model_name(study: str) -> str:
    """The registered model whose version `@champion` is a data set's best model."""
    return f"regularization-{study}"


def now() -> int:
    """Milliseconds, as MLflow counts time."""
    return time.time_ns() // 1_000_000


def away(error: BaseException | None) -> bool:
    """Whether a server gave no answer, as opposed to one that refuses something."""
    from requests import HTTPError, RequestException

    while error is not None:
        if isinstance(error, RequestException):
            return not isinstance(error, HTTPError)
        error = error.__cause__ or error.__context__
    return False


def describe(error: Exception) -> str:
    """What happened to MLflow in one line, without the password that a URI may hold."""
    if away(error):
        happened = f"is away ({tracking_uri()} does not answer)"
    else:
        happened = f"failed ({str(error) or type(error).__name__})"
    return textwrap.shorten(re.sub(r"//[^/@\s]*@", "//", happened), 200)
