"""The audit fails for known holes alone, and says so where it could not look."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests import audit
from tests.store import free_port

HOLE = {"id": "GHSA-0000-0000-0000", "modified": "2026-01-01T00:00:00Z"}


@contextmanager
def database(holes: int) -> Iterator[str]:
    """A database, as that of osv.dev, of so many packages with a hole."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # as in the library
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))["queries"]
            self._answer(
                {"results": [{"vulns": [HOLE]} if i < holes else {} for i in range(len(asked))]}
            )

        def do_GET(self) -> None:
            self._answer(HOLE | {"summary": "a hole", "affected": []})

        def _answer(self, content: Any) -> None:
            body = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("holes", [0, 1])
def test_a_known_hole_fails_and_none_passes(holes: int, capfd: pytest.CaptureFixture[str]) -> None:
    with database(holes) as address:
        assert audit.main(["--service-url", address, "--no-cache"]) == holes
    assert (HOLE["id"] in capfd.readouterr().out) == bool(holes)


def test_a_database_that_is_away_is_told_and_passes(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    address = f"http://127.0.0.1:{free_port()}"
    assert audit.main(["--service-url", address, "--no-cache"]) == 0
    assert "known holes of packages were not looked up: " in capfd.readouterr().out


def test_without_uv_it_is_told_and_passes(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "COMMAND", ("uv-that-is-not-there",))
    assert audit.main() == 0
    assert "uv is not installed" in capfd.readouterr().out
