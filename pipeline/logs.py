"""A stage's log file, and warnings on the terminal.

`logs/<stage>-<study>.log` has a line per finished technique, warnings, and how the stage ended,
each with its time. A stage that runs again appends to the file, so an interrupted run continues
there. Worker processes write to the terminal only.
"""

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

FOLDER = Path("logs")
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")  # of a study, perhaps misspelt; not an option
LINE = "%(asctime)s %(levelname)s %(message)s"

_pipeline = logging.getLogger("pipeline")


@contextmanager
def kept(stage: str, study: str | None) -> Iterator[None]:
    """Shows warnings on the terminal and, for a stage of a study, writes its log file.

    There is no log file if `study` cannot be a study's name, as an option cannot.
    """
    with ExitStack() as stack:
        terminal = logging.StreamHandler(sys.stderr)
        terminal.setLevel(logging.WARNING)
        stack.enter_context(_handling(terminal))
        if study is not None and NAME.fullmatch(study):
            stack.enter_context(stage_file(stage, study))
        logging.captureWarnings(True)
        stack.callback(logging.captureWarnings, False)
        yield


@contextmanager
def stage_file(stage: str, study: str) -> Iterator[None]:
    """Appends the pipeline's messages and all warnings to a stage's log file."""
    FOLDER.mkdir(exist_ok=True)
    file = logging.FileHandler(FOLDER / f"{stage}-{study}.log", encoding="utf-8", delay=True)
    file.setFormatter(logging.Formatter(LINE))
    file.addFilter(_worth_keeping)
    level = _pipeline.level
    _pipeline.setLevel(logging.INFO)
    try:
        with closing(file), _handling(file):
            yield
    finally:
        _pipeline.setLevel(level)


def _worth_keeping(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or record.name.startswith("pipeline")


@contextmanager
def _handling(handler: logging.Handler) -> Iterator[None]:
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
