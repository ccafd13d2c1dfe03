"""A tracking server with PostgreSQL and an S3 store behind it shows what SQLite and a folder show.

Needs Debian's package postgresql. The S3 store is moto's server, over HTTP.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from mlflow import MlflowClient

from pipeline.stages import publish

from .store import Server, answers, free_port, runs, view, wait_until
from .test_tracking import FINALS, TRIALS, write_results

# Debian keeps the programs of each version apart, and out of PATH.
FOUND = Path("/usr/lib/postgresql").glob("*/bin/initdb")
PROGRAMS = max((path.parent for path in FOUND), key=lambda home: int(home.parts[-2]), default=None)
# PostgreSQL refuses to run as root; the package makes a user for it.
USER: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": ["postgres"]}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        PROGRAMS is None and not os.environ.get("CI"),
        reason="needs PostgreSQL: apt-get install postgresql",
    ),
]


@contextmanager
def postgresql() -> Iterator[str]:
    """A new database server on a Unix socket; gives the URI of an empty database."""
    assert PROGRAMS, "CI needs postgresql; .ci/run installs it"
    with tempfile.TemporaryDirectory() as home:  # pytest's folders are closed to other users
        kept: dict[str, Any] = {"cwd": home, "stdout": subprocess.DEVNULL}
        if os.getuid() == 0:
            shutil.chown(home, "postgres", "postgres")
            kept |= USER
        data = f"{home}/data"
        make = [f"{PROGRAMS}/initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync"]
        subprocess.run(make, check=True, **kept)
        run = [f"{PROGRAMS}/postgres", "-D", data, "-k", home, "-c", "listen_addresses=", "-F"]
        with open(f"{home}/log", "w", encoding="utf-8") as log:
            server = subprocess.Popen(run, stderr=log, **kept)
        try:
            asked = [f"{PROGRAMS}/pg_isready", "-h", home, "-q"]
            wait_until(lambda: subprocess.run(asked, check=False).returncode == 0, seconds=60)
            # A plain postgresql:// is psycopg 3 to SQLAlchemy 2.1.
            yield f"postgresql+psycopg2://postgres@/postgres?host={home}"
        finally:
            server.terminate()
            server.wait()


@contextmanager
def s3(folder: Path) -> Iterator[Any]:
    """An S3 store with a bucket `studies`, for servers that are started in the block; a client."""
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    with pytest.MonkeyPatch.context() as patch, (folder / "s3.log").open("wb") as log:
        patch.setenv("MLFLOW_S3_ENDPOINT_URL", uri)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "anything")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        store = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_until(lambda: answers(uri), seconds=120)
            client = boto3.client("s3", endpoint_url=uri)
            client.create_bucket(Bucket="studies")
            yield client
        finally:
            store.terminate()
            store.wait()


def files(uri: str) -> dict[str, int]:
    """Path → size of the files of all runs in the store, by the names of the runs."""
    client = MlflowClient(uri)

    def below(run: Any, folder: str | None = None) -> Iterator[tuple[str, int]]:
        for each in client.list_artifacts(run.info.run_id, folder):
            if each.is_dir:
                yield from below(run, each.path)
            else:
                yield f"{run.info.run_name}/{each.path}", each.file_size or 0

    return dict(pair for run in runs() for pair in below(run))


def test_publishing_gives_the_same_runs_with_postgresql_and_s3_as_with_sqlite_and_a_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_results(FINALS, TRIALS)
    publish.main(["circles"])
    local, kept = view(), files(os.environ["MLFLOW_TRACKING_URI"])
    with postgresql() as database, s3(folder) as bucket:
        server = Server(folder, database, "s3://studies/mlflow")
        try:
            server.start()
            monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
            publish.main(["circles"])
            assert view() == local
            assert files(server.uri).keys() == kept.keys()
            publish.main(["circles"])  # which adds nothing
            assert view() == local
            stored = bucket.list_objects_v2(Bucket="studies", Prefix="mlflow/")["Contents"]
            assert sum(each["Size"] for each in stored) >= sum(files(server.uri).values()) > 0
        finally:
            server.kill()
