"""The address of the MLflow store, names in it, and words for its errors."""

import logging
import os
import re
import sqlite3
import textwrap
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import unquote

from pipeline.errors import UserError, redacted

if TYPE_CHECKING:
    from mlflow import MlflowClient

# With MLflow's default limits, a server that is away would delay a stage for minutes.
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
# Requests that are retried have not failed yet.
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)

_log = logging.getLogger(__name__)

DEFAULT_URI = "sqlite:///mlflow.db"
EXPERIMENTS = Path(".dvc", "tmp", "exps")  # where DVC copies the project to
WRITER = "writer"  # the tag that says which checkout wrote a run


def project() -> Path:
    """The folder that keeps the runs: the current one, unless it is a copy that DVC will delete.

    DVC runs queued and temporary experiments in copies of the project, under its .dvc/tmp/exps.
    """
    root, folder = Path(os.environ.get("DVC_ROOT") or "").resolve(), Path.cwd()
    return root if folder.is_relative_to(root / EXPERIMENTS) else folder


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or the SQLite file of the project; a file's path is absolute."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI
    file, (_, *options) = sqlite_file(uri), uri.split("?")
    return uri if file is None else "?".join((f"sqlite:///{project() / file}", *options))


def sqlite_file(uri: str) -> Path | None:
    """The database that a SQLite URI names."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(uri.removeprefix("sqlite:///").split("?")[0])


def prepare_sqlite(uri: str) -> None:
    """Creates the database if necessary, with write-ahead logging.

    This cuts the time of commits to a third, and lets the UI read during writes.
    """
    path = sqlite_file(uri)
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        _make(path)
    # Only for speed, so a database that is locked is left as it is.
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")


def _make(path: Path) -> None:
    """Lets MLflow create its tables in another file, which is moved into place when complete.

    That takes seconds, table by table, and MLflow could not continue after an interruption.
    """
    from mlflow import MlflowClient

    with TemporaryDirectory(dir=path.parent, prefix=f"{path.name}.") as folder:
        scratch = Path(folder, path.name)
        MlflowClient(f"sqlite:///{scratch}").search_experiments(max_results=1)
        # Another process may have been faster. Without hard links MLflow creates the file in place.
        with suppress(OSError):
            os.link(scratch, path)


def artifacts(uri: str, study: str) -> str | None:
    """The URI of an experiment's artifacts, beside a SQLite file; None: the server decides."""
    file = sqlite_file(uri)
    return None if file is None else (file.parent / "mlartifacts" / study).resolve().as_uri()


def check_place(location: str, uri: str, study: str) -> None:
    """Raises UserError if an experiment's files lie where the database was before it was moved.

    MLflow keeps their absolute place, so that runs would lead to files of another folder.
    """
    expected = artifacts(uri, study)
    if expected is None or location == expected or not location.endswith(f"/mlartifacts/{study}"):
        return
    before = unquote(location.removesuffix(f"/mlartifacts/{study}").removeprefix("file://"))
    raise UserError(
        f"has a store that was moved or copied from {before}, and its runs lead to files there; "
        f"move {sqlite_file(uri)} away, since result files have everything"
    )


def experiment_name(study: str) -> str:
    """The name of the MLflow experiment with a study's runs."""
    return f"regularization/{study}"


def model_name(study: str) -> str:
    """The name of the registered model whose version `@champion` is the model to use."""
    return f"regularization-{study}"


def now() -> int:
    """The time in milliseconds, as MLflow counts it."""
    return time.time_ns() // 1_000_000


def away(error: BaseException | None) -> bool:
    """Whether an error means that a server did not answer, rather than refused a request."""
    from requests import HTTPError, RequestException

    while error is not None:
        if isinstance(error, RequestException):
            return not isinstance(error, HTTPError)
        error = error.__cause__ or error.__context__
    return False


def describe(error: Exception) -> str:
    """What happened to MLflow, in one line, without the password that a URI may have."""
    if isinstance(error, UserError):
        return str(error)
    if away(error):
        # Up to the last @, whatever a password has in it.
        address = re.sub(r"(?<!/)//(?!/).*@", "//", tracking_uri(), flags=re.DOTALL)
        happened = f"is away ({address} does not answer)"
    else:
        happened = f"failed ({str(error) or type(error).__name__})"
    return textwrap.shorten(redacted(happened), 200)


def visit(study: str, write: "Callable[[MlflowClient, str], object]") -> bool:
    """Calls `write` with a client and a study's experiment id, if the store has the study.

    Returns whether the store works; if not, a warning says what happened and what to do.
    """
    file = sqlite_file(tracking_uri())
    if file is not None and not file.exists():
        return True
    from mlflow import MlflowClient

    try:
        client = MlflowClient(tracking_uri())
        experiment = client.get_experiment_by_name(experiment_name(study))
        if experiment is not None:
            check_place(experiment.artifact_location, tracking_uri(), study)
            write(client, experiment.experiment_id)
    except Exception as error:
        _log.warning(
            "%s: MLflow %s; the report is not affected, but MLflow lacks its champion or figures. "
            "Later, run `python -m pipeline publish %s` (for a study with other values: the same "
            "command again)",
            study,
            describe(error),
            study,
        )
        return False
    return True
