"""No password of an address reaches the terminal, a log, MLflow or an exception's text.

`FAULTS=all pytest tests/faults/test_passwords.py` publishes with every password, otherwise with a
few.
"""

import base64
import logging
import os
import random
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
import requests

from pipeline.__main__ import main
from pipeline.errors import UserError, redacted
from pipeline.stages import fetch
from pipeline.tracking.store import describe

PASSWORDS = (
    "s3cretword",
    "se@cretword",
    "secretword@",
    "@@secretword",
    "secr/etword",
    "/secretword",
    "secretword/",
    "sec/ret@wor/d@",
    "secret:word",
    "secret word",
    "secret\tword",
    "secret?wo#rd",
    "secret%40word",
    "secret%2Fword",
    "secret&<word>",
    "secret'\"word",
    "secret\\word",
    "gehe\N{LATIN SMALL LETTER I WITH DIAERESIS}mwort",
    "SecretWORD",
    "[secretword]",
    "secret+word*(.",
    "secret\nword",
)
PIECES = re.compile(r"[/@?#:\\\[\]\s]+")
SCHEMES = ("http", "https", "postgresql", "mysql+pymysql", "mssql", "databricks", "nonsense")


def forms(password: str) -> Iterator[str]:
    """What must stand nowhere."""
    for word in (password, unquote(password)):
        yield from (word, quote(word, safe=""), repr(word)[1:-1])
        yield from (piece for piece in PIECES.split(word) if len(piece) > 3)
        yield base64.b64encode(f"somebody:{word}".encode()).decode()


def check(text: str, password: str) -> None:
    for form in forms(password):
        assert form.lower() not in text.lower(), (form, text)


@pytest.fixture(params=PASSWORDS)
def password(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    word: str = request.param
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://somebody:{word}@127.0.0.1:1/api")
    return word


def test_no_message_or_traceback_has_a_password(
    password: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of our logs and the libraries', however they quote it."""
    uri = os.environ["MLFLOW_TRACKING_URI"]

    def fail(argv: list[str]) -> None:
        for form in forms(password):
            logging.getLogger("mlflow.store").warning("no %s at %r", form, uri)
            logging.getLogger("pipeline.tracking").warning("no %s", {"uri": uri, "word": form})
        try:
            raise requests.ConnectionError(f"HTTPConnectionPool(host='{password.upper()}')")
        except requests.ConnectionError as error:
            raise RuntimeError(f"{uri}: {list(forms(password))}") from error

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fetch, "main", fail)
    assert main(["fetch", "digits"]) == 1
    told = capsys.readouterr()
    log = Path("logs/fetch-digits.log").read_text(encoding="utf-8")
    check(told.out + told.err + log, password)
    assert "RuntimeError" in told.err
    assert "127.0.0.1:1/api" in log


def test_no_error_that_a_user_sees_has_a_password(password: str) -> None:
    uri = os.environ["MLFLOW_TRACKING_URI"]
    for scheme in SCHEMES:
        error: Exception = UserError(f"{uri.replace('http', scheme, 1)} is no store: {uri!r}")
        check(str(error), password)
        check(repr(error), password)
        assert "127.0.0.1:1/api" in str(error)
    for cause in (requests.ConnectionError(uri), OSError(uri), ValueError(quote(uri))):
        check(describe(cause), password)


@pytest.mark.parametrize("name", ["DATA_MIRROR", "MLFLOW_TRACKING_PASSWORD"])
def test_other_secrets_of_the_environment_are_hidden_too(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = "s3cret/word" if name.endswith("PASSWORD") else "http://somebody:s3cret/word@host"
    monkeypatch.setenv(name, value)
    check(redacted(f"got {value!r} and s3cret%2Fword"), "s3cret/word")


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:///home/x@y/mlflow.db",
        "file:///a@b",
        "mail somebody@example.org",
        "http://127.0.0.1:5000/#/experiments/1?x=2",
        "https://example.org/page, then me@example.org",
    ],
)
def test_what_is_no_password_stays(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///home/x@y/mlflow.db")
    assert redacted(text) == text


def sampled() -> list[tuple[str, str]]:
    every = [(scheme, word) for scheme in SCHEMES for word in PASSWORDS if "\n" not in word]
    return every if os.environ.get("FAULTS") == "all" else random.Random(27).sample(every, 6)


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "word"), sampled())
def test_a_stage_whose_store_fails_writes_no_password(
    scheme: str,
    word: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """`publish`, for real; and whatever it leaves in its folder."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{scheme}://somebody:{word}@127.0.0.1:1/api")
    (tmp_path / "params.yaml").write_bytes(Path("params.yaml").read_bytes())
    results = tmp_path / "results/circles"
    results.mkdir(parents=True)
    (results / "trials.csv").write_text("key\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert main(["publish", "circles"]) != 0
    told = capfd.readouterr()
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "params.yaml"]
    written = "".join(path.read_text(encoding="utf-8", errors="replace") for path in files)
    assert "mlflow" in told.err.lower()
    assert "mlflow" in written.lower()
    check(told.out + told.err + written, word)


@pytest.mark.slow
def test_the_run_of_mlflow_run_keeps_no_password(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    from pipeline.tracking.project import ProjectRun

    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    for word in PASSWORDS[:6]:
        run_id = client.create_run("0").info.run_id
        monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
        mirror = f"http://somebody:{word}@host"
        monkeypatch.setenv("DATA_MIRROR", mirror)

        def study(mirror: str = mirror) -> None:
            with ProjectRun():
                raise OSError(f"no answer from {mirror}")

        with pytest.raises(OSError, match="no answer"):
            study()
        tags = client.get_run(run_id).data.tags
        assert "no answer from" in tags["error"]
        check(str(tags), word)
