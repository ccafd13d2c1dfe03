"""One file over HTTP: goes on where it was broken off, retries what may pass, never waits for ever.

A file counts as arrived when the SHA-256 of its decompressed bytes is the expected one.
"""

import gzip
import hashlib
import time
import zlib
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Self, TypeVar

import httpx
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    wait_exponential,
)
from tqdm import tqdm

T = TypeVar("T")
CHUNK = 1 << 20  # bytes
PASSING_STATUSES = {408, 425, 429}  # and all of 5xx: another attempt may be answered


class DownloadError(Exception):
    """A file could not be had from a source; the message says why."""


class RefusedError(Exception):
    """The source has answered, and will not answer otherwise."""


class UnavailableError(Exception):
    """The source cannot answer now."""


class ChecksumError(Exception):
    """All bytes have come, but they are not the expected ones."""


@dataclass(frozen=True)
class Patience:
    """How long to wait for a source, and how often to ask again.

    With nobody answering, three sources take about 80 s at the very most, and some 10 s if
    they are refused at once.
    """

    attempts: int = 3  # of each source, >= 1
    backoff: float = 1.0  # seconds before the second attempt; doubles with each further one
    connect: float = 5.0  # seconds to reach one address
    read: float = 10.0  # seconds without a byte
    answer: float = 15.0  # seconds from the look-up of the name to the head of the answer
    silence: float = 45.0  # seconds without a byte from any source, after which none is asked twice


class Downloader:
    """Downloads files; one object serves a whole fetch, so that all sources share its patience."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._last_byte = time.monotonic()
        self._client = httpx.Client(
            follow_redirects=True,
            timeout=httpx.Timeout(patience.read, connect=patience.connect),
            # The file itself is compressed: a server must not compress or unpack it on the way.
            headers={"Accept-Encoding": "identity"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._client.close()

    def download(self, url: str, part: Path, sha256: str) -> None:
        """Complete the file `part` from `url` until its content is the expected one.

        What has arrived stays in `part` for another call. Raises DownloadError.
        """
        retrying = Retrying(
            retry=retry_if_exception_type((httpx.TransportError, UnavailableError, TimeoutError)),
            stop=self._enough,
            wait=wait_exponential(multiplier=self._patience.backoff),
            reraise=True,
        )
        try:
            retrying(self._attempt, url, part, sha256)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            reason = f"{type(error).__name__}: {error}"
        except (RefusedError, UnavailableError, ChecksumError) as error:
            reason = str(error)
        else:
            return
        attempts = retrying.statistics["attempt_number"]
        raise DownloadError(f"{reason} ({attempts} attempt{'s' if attempts > 1 else ''})")

    def _enough(self, state: RetryCallState) -> bool:
        silent = time.monotonic() - self._last_byte > self._patience.silence
        return silent or state.attempt_number >= self._patience.attempts

    def _attempt(self, url: str, part: Path, sha256: str) -> None:
        try:
            self._complete(url, part, sha256)
        except ChecksumError:
            # The beginning may be of another version, or damaged: once more, from the first byte.
            self._complete(url, part, sha256)

    def _complete(self, url: str, part: Path, sha256: str) -> None:
        self._receive(url, part)
        try:
            check(part, sha256)
        except ChecksumError:
            part.unlink()
            raise

    def _receive(self, url: str, part: Path) -> None:
        """Append to `part` the bytes that it lacks."""
        have = part.stat().st_size if part.exists() else 0
        headers = {"Range": f"bytes={have}-"} if have else {}
        request = self._client.build_request("GET", url, headers=headers)
        response = within(self._patience.answer, lambda: self._client.send(request, stream=True))
        try:
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and have:
                return  # nothing lies beyond what we have; the checksum tells if that is right
            _check_status(response)
            self._write(response, part, _start(response, have))
        finally:
            response.close()

    def _write(self, response: httpx.Response, part: Path, start: int) -> None:
        left = response.headers.get("Content-Length", "")
        total = start + int(left) if left.isdigit() else None
        name = response.url.path.rpartition("/")[2]
        bar = tqdm(desc=name, initial=start, total=total, unit="B", unit_scale=True, disable=None)
        with bar, part.open("ab" if start else "wb") as file:
            # Chunks as they come: a chunk size would hold bytes back, and a break would lose them.
            for chunk in response.iter_raw():
                file.write(chunk)
                bar.update(len(chunk))
                self._last_byte = time.monotonic()


def within(seconds: float, call: Callable[[], T]) -> T:
    """The value of `call()`. Raises TimeoutError if that takes longer, and leaves it to itself.

    httpx bounds each single step, but the look-up of a name cannot be bounded, and a name may
    have many addresses, each with a time-out of its own.
    """
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except Exception as error:
            outcome.set_exception(error)

    # A daemon, because the program must be able to end while a look-up hangs.
    Thread(target=run, daemon=True).start()
    try:
        return outcome.result(timeout=seconds)
    except TimeoutError:
        raise TimeoutError(f"no answer within {seconds:g} s") from None


def _check_status(response: httpx.Response) -> None:
    if response.is_success:
        return
    answer = f"HTTP {response.status_code} {response.reason_phrase}"
    if response.is_server_error or response.status_code in PASSING_STATUSES:
        raise UnavailableError(answer)
    raise RefusedError(answer)


def _start(response: httpx.Response, have: int) -> int:
    """Where in the file the answer begins: after what we have, or at zero if Range was ignored."""
    if response.status_code != httpx.codes.PARTIAL_CONTENT:
        return 0
    sent = response.headers.get("Content-Range", "")
    if not sent.startswith(f"bytes {have}-"):
        raise RefusedError(f"asked for bytes from {have} on, but got Content-Range {sent!r}")
    return have


def check(path: Path, sha256: str) -> None:
    """Raises ChecksumError unless the gzip file `path` holds the bytes with this SHA-256."""
    found = hashlib.sha256()
    try:
        with gzip.open(path) as file:
            while chunk := file.read(CHUNK):
                found.update(chunk)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ChecksumError(f"not a whole gzip file: {error}") from None
    if found.hexdigest() != sha256:
        raise ChecksumError(
            f"SHA-256 of the decompressed bytes must be {sha256}, but is {found.hexdigest()}"
        )
