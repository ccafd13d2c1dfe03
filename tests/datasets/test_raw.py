"""Fetching from a real HTTP server that misbehaves in every known way, and from a folder."""

import gzip
import hashlib
import json
import random
import re
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipeline.datasets import raw
from pipeline.datasets.download import Patience
from pipeline.datasets.origins import Origin
from pipeline.errors import UserError

QUICK = Patience(attempts=3, connect=1, read=0.3)
PLAIN = {
    "images.gz": random.Random(1).randbytes(300_000),
    "labels.gz": random.Random(2).randbytes(2_000),
}
PACKED = {name: gzip.compress(content, mtime=0) for name, content in PLAIN.items()}


class Handler(BaseHTTPRequestHandler):
    """Notes each request, then answers as the server's script says, or honestly."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_GET(self) -> None:
        self.close_connection = True
        self.server.requests.append(self.path)
        answers = self.server.script.get(self.path, [])
        # The last answer of a script is given for ever.
        answer = answers.pop(0) if len(answers) > 1 else (answers or [honest])[0]
        answer(self, PACKED[self.path.rpartition("/")[2]])

    def head(self, status: int, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the tests' output clean."""


class Server(ThreadingHTTPServer):
    """Serves `PACKED` under any folder."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[str] = []
        self.script: dict[str, list[Answer]] = {}
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has given up is no error."""


Answer = Callable[[Handler, bytes], None]


def honest(handler: Handler, content: bytes) -> None:
    handler.head(200, Content_Length=len(content))
    handler.wfile.write(content)


def truncated(handler: Handler, content: bytes) -> None:
    handler.head(200, Content_Length=len(content))
    handler.wfile.write(content[: len(content) // 2])


def truncated_unawares(handler: Handler, content: bytes) -> None:
    handler.head(200)
    handler.wfile.write(content[: len(content) // 2])


def corrupt(handler: Handler, content: bytes) -> None:
    honest(handler, content[:1000] + bytes([content[1000] ^ 1]) + content[1001:])


def web_page(handler: Handler, content: bytes) -> None:
    honest(handler, b"<html>Please sign in to the network</html>")


def stalled(handler: Handler, content: bytes) -> None:
    handler.head(200, Content_Length=len(content))
    handler.wfile.write(content[: len(content) // 2])
    handler.server.closing.wait()


def silent(handler: Handler, content: bytes) -> None:
    handler.server.closing.wait()


def marked_as_encoded(handler: Handler, content: bytes) -> None:
    handler.head(200, Content_Length=len(content), Content_Encoding="gzip")
    handler.wfile.write(content)


def encoded_if_allowed(handler: Handler, content: bytes) -> None:
    if "gzip" in handler.headers.get("Accept-Encoding", ""):
        content = gzip.compress(content)
    handler.head(200, Content_Length=len(content), Content_Encoding="gzip")
    handler.wfile.write(content)


def status(code: int) -> Answer:
    return lambda handler, content: handler.head(code, Content_Length=0)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds between attempts, which no test waits for."""
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    return waited


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.closing.set()
        running.shutdown()
        thread.join()


class Place:
    """A data set of two files on two mirrors of one server, and the folders it goes to."""

    def __init__(self, root: Path, server: Server) -> None:
        self.raw, self.partial = root / "raw" / "toy", root / ".partial" / "toy"
        self.origin = Origin(
            origin="a test",
            licence="none",
            citation="https://example.org",
            folder="toy-files",
            mirrors=(f"{server.url}/one", f"{server.url}/two"),
            files={name: hashlib.sha256(content).hexdigest() for name, content in PLAIN.items()},
        )

    def fetch(self, mirror: str | None = None, patience: Patience = QUICK) -> None:
        raw.fetch("toy", self.origin, self.raw, self.partial, mirror, patience=patience)

    def failure(self, mirror: str | None = None, patience: Patience = QUICK) -> str:
        """The message of a fetch that fails and leaves nothing."""
        with pytest.raises(UserError) as failure:
            self.fetch(mirror, patience)
        assert not self.raw.exists()
        return str(failure.value)

    def assert_complete(self) -> None:
        assert sorted(item.name for item in self.raw.iterdir()) == ["SOURCE.json", *PACKED]
        for name, content in PLAIN.items():
            assert gzip.decompress((self.raw / name).read_bytes()) == content
        assert not self.partial.exists()


@pytest.fixture
def place(tmp_path: Path, server: Server) -> Place:
    return Place(tmp_path, server)


def test_all_files_come_from_the_first_mirror(place: Place, server: Server) -> None:
    place.fetch()
    place.assert_complete()
    assert server.requests == ["/one/images.gz", "/one/labels.gz"]


def test_a_whole_file_is_not_fetched_again_by_the_next_run(place: Place, server: Server) -> None:
    server.script = {"/one/labels.gz": [status(404)], "/two/labels.gz": [status(404)]}
    place.failure()
    server.script.clear()
    place.fetch()
    place.assert_complete()
    assert server.requests.count("/one/images.gz") == 1


@pytest.mark.parametrize("packing", [marked_as_encoded, encoded_if_allowed])
def test_the_file_is_stored_as_it_is(place: Place, server: Server, packing: Answer) -> None:
    server.script["/one/images.gz"] = [packing]
    place.fetch()
    assert (place.raw / "images.gz").read_bytes() == PACKED["images.gz"]
    assert server.requests == ["/one/images.gz", "/one/labels.gz"]


BROKEN = [
    corrupt,
    web_page,
    truncated,
    truncated_unawares,
    stalled,
    silent,
    status(503),
    status(429),
]


@pytest.mark.parametrize("broken", BROKEN)
def test_what_may_pass_is_asked_for_again(place: Place, server: Server, broken: Answer) -> None:
    server.script["/one/images.gz"] = [broken, honest]
    place.fetch()
    place.assert_complete()
    assert server.requests == ["/one/images.gz", "/one/images.gz", "/one/labels.gz"]


def test_attempts_wait_longer_and_longer(place: Place, server: Server, pauses: list[float]) -> None:
    server.script["/one/images.gz"] = [status(503), status(503), honest]
    place.fetch()
    assert pauses == sorted({*pauses})
    assert len(pauses) == 2


@pytest.mark.parametrize(
    ("broken", "asked"), [(status(404), 1), (status(403), 1), *((each, 3) for each in BROKEN)]
)
def test_the_next_mirror_follows_when_one_gives_nothing(
    place: Place, server: Server, broken: Answer, asked: int
) -> None:
    server.script["/one/images.gz"] = [broken]
    place.fetch()
    place.assert_complete()
    assert server.requests.count("/one/images.gz") == asked
    assert server.requests.count("/two/images.gz") == 1


def test_mirrors_may_compress_the_same_data_otherwise(place: Place, server: Server) -> None:
    def other_compression(handler: Handler, content: bytes) -> None:
        honest(handler, gzip.compress(PLAIN["images.gz"], 1, mtime=9))

    server.script = {"/one/images.gz": [truncated], "/two/images.gz": [other_compression]}
    place.fetch(patience=Patience(attempts=1))
    place.assert_complete()


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (status(404), r"HTTP 404 Not Found \(1 attempt\)"),
        (status(503), r"HTTP 503 Service Unavailable \(3 attempts\)"),
        (silent, r"ReadTimeout: .* \(3 attempts\)"),
        (truncated, r"ChunkedEncodingError: .* \(3 attempts\)"),
        (corrupt, r"not a whole gzip file: .*|SHA-256 of the decompressed bytes must be"),
        (web_page, "not a whole gzip file: Not a gzipped file"),
    ],
)
def test_the_failure_names_every_source_its_reason_and_the_way_out(
    place: Place, server: Server, broken: Answer, reason: str
) -> None:
    server.script = {"/one/images.gz": [broken], "/two/images.gz": [status(404)]}
    message = place.failure()
    assert re.search(rf"/one/images.gz\n +({reason})", message), message
    assert f"{server.url}/two/images.gz\n    HTTP 404 Not Found" in message
    assert "<mirror>/toy-files/images.gz" in message
    assert "DATA_MIRROR=/path/to/mirror python -m pipeline fetch toy" in message


def test_a_failure_in_the_last_file_leaves_nothing_either(place: Place, server: Server) -> None:
    server.script = {"/one/labels.gz": [truncated], "/two/labels.gz": [corrupt]}
    assert "labels.gz of toy" in place.failure()


def test_nobody_listening_is_a_reason(place: Place, server: Server) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        message = place.failure(f"http://127.0.0.1:{closed.getsockname()[1]}")
    assert "ConnectionError" in message
    assert "Max retries" not in message
    assert "Connection refused" in message


def test_a_mirror_url_replaces_the_public_mirrors(place: Place, server: Server) -> None:
    place.fetch(f"{server.url}/mine/")
    place.assert_complete()
    assert server.requests == ["/mine/toy-files/images.gz", "/mine/toy-files/labels.gz"]


def test_a_failing_mirror_says_that_nothing_else_was_tried(place: Place, server: Server) -> None:
    server.script["/toy-files/images.gz"] = [status(404)]
    message = place.failure(server.url)
    assert "DATA_MIRROR is set, so no other source was tried" in message
    assert len(server.requests) == 1


@pytest.mark.parametrize("address", ["http://host:port", "https://a b"])
def test_an_address_that_is_none_is_a_reason(place: Place, address: str) -> None:
    assert address in place.failure(address)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A mirror on disk."""
    (tmp_path / "mirror" / "toy-files").mkdir(parents=True)
    for name, content in PACKED.items():
        (tmp_path / "mirror" / "toy-files" / name).write_bytes(content)
    return tmp_path / "mirror"


def test_a_folder_replaces_the_public_mirrors(place: Place, server: Server, folder: Path) -> None:
    place.fetch(str(folder))
    place.assert_complete()
    assert server.requests == []
    assert sorted(item.name for item in (folder / "toy-files").iterdir()) == sorted(PACKED)


def test_a_folder_may_be_relative(
    place: Place, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    place.fetch("../mirror/")
    place.assert_complete()


def test_a_file_that_the_folder_lacks_is_named(place: Place, folder: Path) -> None:
    (folder / "toy-files" / "labels.gz").unlink()
    message = place.failure(str(folder))
    assert f"{folder}/toy-files/labels.gz\n    No such file or directory" in message


def test_a_damaged_file_in_the_folder_is_refused(place: Place, folder: Path) -> None:
    (folder / "toy-files" / "labels.gz").write_bytes(gzip.compress(b"something else"))
    assert "SHA-256 of the decompressed bytes must be" in place.failure(str(folder))


@pytest.mark.parametrize(
    "mirror", ["/no/such/folder", __file__, "ftp://host", "file:///tmp", "http://"]
)
def test_a_mirror_that_does_not_exist_is_named(place: Place, mirror: str) -> None:
    message = place.failure(mirror)
    assert (
        f"`DATA_MIRROR` must be an existing folder or an http(s) URL, but got {mirror!r}" in message
    )


def test_files_that_are_there_are_kept_and_damaged_ones_replaced(
    place: Place, server: Server
) -> None:
    place.fetch()
    server.requests.clear()
    place.fetch()
    assert server.requests == []
    (place.raw / "labels.gz").write_bytes(b"damaged")
    place.fetch()
    place.assert_complete()
    assert server.requests == ["/one/labels.gz"]


def test_progress_is_for_a_terminal_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place.fetch()
    assert capsys.readouterr().err == ""
    shutil.rmtree(place.raw)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    place.fetch()
    assert "100%" in capsys.readouterr().err


def test_the_source_does_not_tell_which_mirror_was_used(place: Place, folder: Path) -> None:
    place.fetch()
    first = (place.raw / "SOURCE.json").read_bytes()
    place.fetch(str(folder))
    assert (place.raw / "SOURCE.json").read_bytes() == first
    content = json.loads(first)
    assert content["sha256_decompressed"] == place.origin.files
    assert (content["licence"], content["citation"]) == ("none", "https://example.org")


def test_nothing_is_printed_where_nobody_looks(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.fetch()
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_what_is_generated_has_a_source_and_no_files(tmp_path: Path) -> None:
    origin = Origin(origin="a generator", licence="none", citation="https://example.org")
    raw.fetch("dice", origin, tmp_path / "raw", tmp_path / "partial", "/no/such/folder")
    assert [item.name for item in (tmp_path / "raw").iterdir()] == ["SOURCE.json"]
    assert json.loads((tmp_path / "raw" / "SOURCE.json").read_text())["origin"] == "a generator"


def test_a_second_study_of_a_source_downloads_nothing(place: Place) -> None:
    place.fetch()
    other = place.raw.with_name("other")
    raw.fetch("other", place.origin, other, place.partial, "/no/such/folder")
    for name in PACKED:
        assert (other / name).read_bytes() == (place.raw / name).read_bytes()


def test_a_broken_file_of_another_study_is_not_copied(place: Place) -> None:
    place.fetch()
    (place.raw / "labels.gz").write_bytes(b"broken")
    with pytest.raises(UserError, match="`DATA_MIRROR` must be an existing folder"):
        raw.fetch(
            "other", place.origin, place.raw.with_name("other"), place.partial, "/no/such/folder"
        )


def test_a_folder_that_cannot_be_written_is_named(place: Place, folder: Path) -> None:
    place.raw.parent.write_text("a file where a folder must be")
    with pytest.raises(UserError, match=r"cannot write toy into .*raw"):
        place.fetch(str(folder))
