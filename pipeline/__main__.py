"""`python -m pipeline STAGE …` runs one stage; a user's mistake is shown without a traceback.

Exits with 0, with 2 for a mistake that the user can correct, with 1 for a failure of ours (a
traceback, or a stage that another one called), with 130 when interrupted.
"""
# ruff: noqa: E402

import os
import signal
import sys

TOLD = "interrupted; finished runs are kept; the same command goes on"
INTERRUPTED = 130  # the exit code


def _end_at_once(*_: object) -> None:
    """Ends a process that has nothing to close yet."""
    os.write(2, f"\n{' '.join(sys.argv[1:2]) or 'pipeline'}: {TOLD}\n".encode())
    os._exit(INTERRUPTED)


if __name__ == "__main__":  # before other imports, so that Ctrl-C ends them in a line, too
    signal.signal(signal.SIGINT, _end_at_once)
    PARENT = os.getppid()

import ast
import gc
import importlib
import logging
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType

from pipeline import logs, stages
from pipeline.errors import UserError
from pipeline.execution import ending, processes, scratch
from pipeline.files import check_writable, refused_write
from pipeline.stages import STAGES

_log = logging.getLogger("pipeline")


def usage() -> str:
    """The stages with the first lines of their docstrings, which are read without an import."""
    lines = ["usage: python -m pipeline STAGE [arguments]", ""]
    for name in STAGES:
        source = Path(stages.__path__[0], f"{_module(name)}.py").read_text(encoding="utf-8")
        summary = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
        lines.append(f"  {name:<11} {summary}")
    return "\n".join([*lines, "", "For more: python -m pipeline STAGE --help"])


def main(argv: list[str]) -> int:
    """Runs the stage that `argv` names and returns the exit code."""
    logs.prepare_terminal()
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        return 0 if argv else 2
    name, *rest = argv
    if name not in STAGES:
        print(f"unknown stage {name!r}; expected one of {', '.join(STAGES)}", file=sys.stderr)
        return 2
    of_study = STAGES[name].of_study and rest
    with logs.kept():
        try:
            check_writable(_folders(name, rest))
            with logs.stage_file(name, rest[0]) if of_study else nullcontext():
                return _run(name, rest)
        except UserError as error:
            _log.error("%s: %s", name, error)
            return error.code


def _folders(name: str, argv: list[str]) -> Iterator[Path]:
    """The folders that a stage is going to write to; none if it only shows its help.

    Raises UserError if there is none for temporary files.
    """
    if not {"-h", "--help"} & {*argv}:
        yield from STAGES[name].folders(argv[0] if argv else "")
        yield _temporary()


def _temporary() -> Path:
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise UserError(
            f"{error.strerror}: they are full or cannot be written to; nothing was begun. Set "
            "TMPDIR to a folder that can, then run the same command again"
        ) from None


def _module(name: str) -> str:
    """The module of a stage, such as new_study of new-study."""
    return name.replace("-", "_")


def _run(name: str, argv: list[str]) -> int:
    began = time.perf_counter()
    try:
        with ending.one_interruption(f"{name}: {TOLD}", STAGES[name].ends_in, INTERRUPTED):
            _imported(name, argv).main(argv)
    except UserError as error:
        _log.error("%s: %s", name, error)
        return error.code
    except KeyboardInterrupt:
        print(file=sys.stderr)  # the terminal shows ^C on the current line
        _log.error("%s: %s", name, TOLD)
        return INTERRUPTED
    except Exception as error:
        if isinstance(error, BrokenPipeError) and logs.reader_is_gone():
            return 0
        if refused := refused_write(error, _folders(name, argv)):
            _log.error(
                "%s: %s; finished runs are kept. %s, then run the same command again",
                *(name, refused, refused.remedy),
            )
        else:
            _log.exception("%s: failed", name)
        return 1
    _log.info("%s: finished in %.0f s", name, time.perf_counter() - began)
    logs.reader_is_gone()
    return 0


def _imported(name: str, argv: list[str]) -> ModuleType:
    """The stage's module. Raises UserError if a package is missing."""
    try:
        if STAGES[name].workers and not {"-h", "--help"} & {*argv}:
            processes.begin_preload()
        with processes.importing():
            return importlib.import_module(f"pipeline.stages.{_module(name)}")
    except ModuleNotFoundError as error:
        raise UserError(
            f"{error} in {sys.executable}; run `make setup` to create the environment and "
            "`. .venv/bin/activate` to activate it"
        ) from error


if __name__ == "__main__":
    ending.end_with_starter(PARENT)
    scratch.begin()
    code = main(sys.argv[1:])
    if code == INTERRUPTED:
        ending.end(code)
    gc.freeze()  # or Python would search everything imported for garbage at exit, for a second
    sys.exit(code)
