"""A stage's log file, and warnings on the terminal.

`logs/<stage>-<study>.log` has a line per finished technique, warnings, and how the stage ended,
each with its time. A stage that runs again appends to the file, so an interrupted run continues
there. Worker processes write to the terminal only.
"""

import codecs
import io
import logging
import os
import re
import select
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from pipeline.errors import redacted

FOLDER = Path("logs")
LIBRARIES = FOLDER / "tensorflow.log"  # what TensorFlow and its drivers print
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")  # of a study, perhaps misspelt; not an option
LINE = "%(asctime)s %(levelname)s %(message)s"

PLAIN = {  # for a terminal that has no other letters than those of Latin-1 or ASCII
    "\N{MINUS SIGN}": "-",
    "\N{BOX DRAWINGS LIGHT HORIZONTAL}": "-",
    "\N{HORIZONTAL ELLIPSIS}": "...",
    "\N{NO-BREAK SPACE}": " ",
    "\N{MIDDLE DOT}": "-",
}

_pipeline = logging.getLogger("pipeline")


def prepare_terminal() -> None:
    """Lets the terminal show what it can of a letter that it lacks, instead of failing."""
    codecs.register_error("plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="plain")


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(PLAIN.get(letter, "?") for letter in letters), error.end


def reader_is_gone() -> bool:
    """Whether who read the output has closed the pipe, as `| head -1` does.

    Then nothing more is told, also not by Python at its end.
    """
    try:
        output = sys.stdout.fileno()
    except (OSError, ValueError):  # a test's stream
        return False
    pipe = select.poll()
    pipe.register(output, 0)
    if not any(event & select.POLLERR for _, event in pipe.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return True


@contextmanager
def kept() -> Iterator[None]:
    """Shows warnings on the terminal. No message of any logger in the block has a password."""
    with ExitStack() as stack:
        stack.callback(logging.setLogRecordFactory, logging.getLogRecordFactory())
        logging.setLogRecordFactory(_discreet)
        terminal = logging.StreamHandler(sys.stderr)
        terminal.setLevel(logging.WARNING)
        stack.enter_context(_handling(terminal))
        logging.captureWarnings(True)
        stack.callback(logging.captureWarnings, False)
        yield


def _discreet(*arguments: Any, **options: Any) -> logging.LogRecord:
    """A record whose message and traceback have no password, whichever handler writes them."""
    record = logging.LogRecord(*arguments, **options)
    with suppress(Exception):  # arguments that do not fit the message: logging tells that itself
        told = record.getMessage()
        if (shown := redacted(told)) != told:
            record.msg, record.args = shown, None
    if record.exc_info:
        record.exc_text = redacted(logging.Formatter().formatException(record.exc_info))
    return record


@contextmanager
def stage_file(stage: str, study: str) -> Iterator[None]:
    """Appends the pipeline's messages and all warnings to a stage's log file.

    There is none if `study` cannot be a study's name, as an option cannot.
    """
    if not NAME.fullmatch(study):
        yield
        return
    FOLDER.mkdir(exist_ok=True)
    file = _File(FOLDER / f"{stage}-{study}.log", encoding="utf-8", delay=True)
    file.setFormatter(logging.Formatter(LINE))
    file.addFilter(_worth_keeping)
    level = _pipeline.level
    _pipeline.setLevel(logging.INFO)
    try:
        with closing(file), _handling(file):
            yield
    finally:
        _pipeline.setLevel(level)


class _File(logging.FileHandler):
    """A log file that a full disk may cut short: what matters is on the terminal too."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # as in the library
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def close(self) -> None:
        with suppress(OSError):
            super().close()


def _worth_keeping(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or record.name.startswith("pipeline")


@contextmanager
def _handling(handler: logging.Handler) -> Iterator[None]:
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
