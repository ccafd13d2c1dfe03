"""The address of the MLflow store, names in it, and words for its errors."""

import logging
import os
import re
import tempfile
import textwrap
import time
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import unquote

from pipeline.errors import UserError, redacted
from pipeline.files import refused_write

LONGEST = "20"  # seconds of a request
# With MLflow's default limits, a server that is away would delay a stage for minutes.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": LONGEST,
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
for _name, _value in _ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)
# Requests that are retried have not failed yet; what fails is told once, in one line.
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
for _name in ("mlflow.store.db.utils", "mlflow.tracking.default_experiment"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)

DEFAULT_URI = "sqlite:///mlflow.db"
ARTIFACTS = "mlartifacts"  # the folder beside a SQLite file
EXPERIMENTS = Path(".dvc", "tmp", "exps")  # where DVC copies the project to
SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks")
PLACES = ("databricks",)  # addresses without a scheme
WRITER = "writer"  # the tag that says which checkout wrote a run


def project() -> Path:
    """The folder that keeps the runs: the current one, unless it is a copy that DVC will delete.

    DVC runs queued and temporary experiments in copies of the project, under its .dvc/tmp/exps.
    """
    root, folder = Path(os.environ.get("DVC_ROOT") or "").resolve(), Path.cwd()
    return root if folder.is_relative_to(root / EXPERIMENTS) else folder


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, or the SQLite file of the project; a file's path is absolute.

    Raises UserError if no store can have the address.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI
    _check_address(uri)
    file, (_, *options) = sqlite_file(uri), uri.split("?")
    return uri if file is None else "?".join((f"sqlite:///{project() / file}", *options))


def _check_address(uri: str) -> None:
    scheme, separator, rest = uri.partition("://")
    known = {*SCHEMES, *(each.name for each in entry_points(group="mlflow.tracking_store"))}
    kind = scheme.partition("+")[0]
    if uri in PLACES or (separator and kind in known and (kind != "sqlite" or _names_file(rest))):
        return
    raise UserError(
        "MLFLOW_TRACKING_URI must be the address of a server (http://host:5000), a database file "
        "(sqlite:///mlflow.db, sqlite:////absolute/mlflow.db) or a database server "
        f"(postgresql://…), but got {shown(uri)!r}; without it runs go to {DEFAULT_URI}"
    )


def _names_file(rest: str) -> bool:
    """Whether what follows `sqlite://` is the path of a file: another database ends with MLflow."""
    path = rest.partition("?")[0]
    return path.startswith("/") and path.rpartition("/")[2] not in ("", ":memory:")


def sqlite_file(uri: str) -> Path | None:
    """The database that a SQLite URI names."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(uri.removeprefix("sqlite:///").split("?")[0])


def artifacts(uri: str, study: str) -> str | None:
    """The URI of an experiment's artifacts, beside a SQLite file; None: the server decides."""
    file = sqlite_file(uri)
    return None if file is None else (file.parent / ARTIFACTS / study).resolve().as_uri()


def check_place(location: str, uri: str, study: str) -> None:
    """Raises UserError if an experiment's files lie where the database was before it was moved.

    MLflow keeps their absolute place, so that runs would lead to files of another folder.
    """
    expected = artifacts(uri, study)
    if expected is None or location == expected or not location.endswith(f"/{ARTIFACTS}/{study}"):
        return
    before = unquote(location.removesuffix(f"/{ARTIFACTS}/{study}").removeprefix("file://"))
    raise UserError(
        f"has a store that was moved or copied from {before}, and its runs lead to files there; "
        f"{move_away(sqlite_file(uri))}"
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


class Away(Exception):  # noqa: N818  # a state, as `StopIteration` is
    """A server or database does not answer."""


def away(error: BaseException | None) -> bool:
    """Whether an error means that a server did not answer, rather than refused a request."""
    from requests import HTTPError, RequestException

    while error is not None:
        if isinstance(error, (Away, RequestException)):
            return not isinstance(error, HTTPError)
        error = error.__cause__ or error.__context__
    return False


def shown(uri: str) -> str:
    """An address without the password that it may have: up to the last @, whatever is in it."""
    return re.sub(r"(?<!/)//(?!/).*@", "//", uri, flags=re.DOTALL)


def move_away(file: Path | None) -> str:
    """What to do with a database that is of no use, as part of a sentence."""
    return f"move {file}* away, since result files have everything"


def describe(error: Exception) -> str:
    """What happened to MLflow and what mends it, in one line that continues `MLflow …`."""
    if isinstance(error, UserError):
        return str(error)
    uri = shown(tracking_uri())
    file = sqlite_file(uri)
    if away(error):
        happened = f"is away ({uri} does not answer)"
    elif refused := refused_write(error, _places(file)):
        happened = f"cannot go on: {refused}; {refused.remedy.lower()}"
    elif any(words in str(error) for words in _DAMAGED):
        happened = f"cannot read {file or uri}, which is damaged; {move_away(file)}"
    else:
        told = redacted(str(error)).strip() or type(error).__name__
        happened = textwrap.shorten(f"failed ({told.partition(_STATEMENT)[0]})", 200)
    return redacted(happened)


def _places(file: Path | None) -> list[Path]:
    """The folders that the store writes to."""
    folders = [] if file is None else [file.parent, file.parent / ARTIFACTS]
    return [*folders, Path(tempfile.gettempdir())]


_STATEMENT = "\n[SQL"  # from there on, an error of SQLAlchemy quotes what it tried
_DAMAGED = ("file is not a database", "database disk image is malformed")
