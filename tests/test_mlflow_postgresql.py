"""A tracking server with PostgreSQL behind it shows what one with SQLite shows.

Needs Debian's package postgresql.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline.stages import publish

from .store import Server, view, wait_until
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


def test_publishing_gives_the_same_runs_with_postgresql_as_with_sqlite(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_results(FINALS, TRIALS)
    publish.main(["circles"])
    local = view()
    with postgresql() as database:
        server = Server(folder, database)
        try:
            server.start()
            monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
            publish.main(["circles"])
            assert view() == local
            publish.main(["circles"])  # which adds nothing
            assert view() == local
        finally:
            server.kill()
