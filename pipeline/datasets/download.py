"""One file over HTTP, by pooch: retried where that may help, written whole or not at all.

A file is complete if the SHA-256 of its decompressed bytes is the expected one. pooch itself checks
the bytes as sent, which differ between mirrors of the same data: gzip's header has a time.
"""

import gzip
import hashlib
import logging
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

import pooch
import requests

CHUNK = 1 << 20  # bytes
PASSING_STATUSES = {408, 425, 429}  # as well as all 5xx: another attempt may succeed


class DownloadError(Exception):
    """A source did not deliver a file; the message says why."""


class ChecksumError(ValueError):  # pooch retries after a ValueError
    """All bytes have arrived, but they are not the expected ones."""


class UnavailableError(ValueError):  # pooch retries after a ValueError
    """The source is temporarily unavailable."""


class RefusedError(Exception):
    """The source has refused the request, and would refuse it again."""


@dataclass(frozen=True)
class Patience:
    """Time-outs and number of attempts.

    pooch waits 1 s before the second attempt, 2 s before the third. A source that does not answer
    takes 18 s in all, one that answers and then sends nothing 33 s.
    """

    attempts: int = 3  # of each source, >= 1
    connect: float = 5.0  # seconds to reach one address
    read: float = 10.0  # seconds without a byte


class _CheckedDownloader:
    """Downloads for pooch and accepts only the expected bytes."""

    def __init__(self, sha256: str, patience: Patience) -> None:
        self.attempts = 0
        self._sha256 = sha256
        self._http = pooch.HTTPDownloader(
            progressbar=sys.stderr.isatty(),
            chunk_size=CHUNK,
            timeout=(patience.connect, patience.read),
            # The file itself is compressed: the server must neither compress nor unpack it.
            headers={"Accept-Encoding": "identity"},
            hooks={"response": _inspect},
        )

    def __call__(self, url: str, output_file: str, caller: pooch.Pooch) -> None:
        self.attempts += 1
        self._http(url, output_file, caller)
        check(Path(output_file), self._sha256)


def download(url: str, target: Path, sha256: str, patience: Patience) -> None:
    """Download `url` to `target`, whole and checked, or not at all.

    Args:
        url: http(s).
        target: must not exist; its folder is made if necessary.
        sha256: of the decompressed bytes, hexadecimal.
        patience: attempts and time-outs.

    Raises DownloadError with the reason and the number of attempts, and OSError if the file cannot
    be written.
    """
    pooch.get_logger().setLevel(logging.WARNING)  # it reports every download on the terminal
    downloader = _CheckedDownloader(sha256, patience)
    store = pooch.create(
        path=target.parent,
        base_url="",
        registry={target.name: None},  # the downloader checks the hash, not pooch
        urls={target.name: url},
        retry_if_failed=patience.attempts - 1,
    )
    try:
        store.fetch(target.name, downloader=downloader)
    except (requests.RequestException, ChecksumError, UnavailableError, RefusedError) as error:
        count = downloader.attempts
        attempts = f"{count} attempt{'s' if count > 1 else ''}"
        raise DownloadError(f"{_reason(error)} ({attempts})") from error


def _inspect(response: requests.Response, **_: object) -> None:
    """Raises RefusedError or UnavailableError for an HTTP status other than success.

    Some servers declare a .gz file as a compressed page, which requests would unpack. The header
    is removed, so the file is stored as it is.
    """
    response.raw.headers.pop("Content-Encoding", None)
    if response.ok:
        return
    answer = f"HTTP {response.status_code} {response.reason}"
    if response.status_code >= 500 or response.status_code in PASSING_STATUSES:
        raise UnavailableError(answer)
    raise RefusedError(answer)


def _reason(error: Exception) -> str:
    """The message of an error, without the layers that requests wraps around its cause."""
    if not isinstance(error, requests.RequestException):
        return str(error)
    cause = getattr(error.args[0], "reason", None) if error.args else None
    return f"{type(error).__name__}: {cause or error}"


def check(path: Path, sha256: str) -> None:
    """Raises ChecksumError unless the gzip file `path` holds the bytes with this SHA-256."""
    digest = hashlib.sha256()
    try:
        with gzip.open(path) as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ChecksumError(f"not a whole gzip file: {error}") from None
    if digest.hexdigest() != sha256:
        raise ChecksumError(
            f"SHA-256 of the decompressed bytes must be {sha256}, but is {digest.hexdigest()}"
        )
