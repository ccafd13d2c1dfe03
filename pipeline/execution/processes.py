"""How processes start, which takes seconds of imports, and how they end."""

import atexit
import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import Any

from pipeline.execution import ending
from pipeline.logs import LIBRARIES

HOME = Path(__file__).parents[2]  # the folder that contains the package

LIMIT = 1 << 20  # bytes of that file, beyond which the next process empties it


@contextmanager
def importing() -> Iterator[None]:
    """For large imports: excludes their objects from garbage collection, since they stay."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def libraries_logged() -> Iterator[None]:
    """Within the block, all output to standard error goes to logs/tensorflow.log.

    On import, TensorFlow reports there the features of the processor and missing CUDA libraries,
    bypassing `sys.stderr`. Python's own messages in the block go there too.
    """
    terminal = os.dup(2)
    _log_libraries()
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)


def log_libraries() -> None:
    """As `libraries_logged`, but permanently, and Python's own messages reach the terminal."""
    sys.stderr.flush()
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace")
    _log_libraries()


def _log_libraries() -> None:
    LIBRARIES.parent.mkdir(parents=True, exist_ok=True)
    with LIBRARIES.open("ab") as file:  # several processes append to it
        if file.tell() > LIMIT:
            file.truncate(0)
        os.dup2(file.fileno(), 2)


def begin_preload() -> bool:
    """Starts a process that imports what workers need, and from which they will be forked.

    Further calls do nothing; the first worker waits for the imports. The process ends with this
    one, but not before its imports. Returns False if workers must be new processes instead.
    """
    from pipeline.execution.devices import forked  # here: commands without workers do not need it

    if not forked():
        return False
    multiprocessing.set_forkserver_preload(["pipeline.execution.preload"])
    # That process finds this package by PYTHONPATH, since `study` changes the current folder.
    python_path = os.pathsep.join(filter(None, (str(HOME), os.environ.get("PYTHONPATH"))))
    _track_resources()  # before the block: it would let Ctrl-C through again
    try:
        with _environment("PYTHONPATH", python_path), ending.uninterrupted_children():
            forkserver.ensure_running()
    except OSError:  # such as a TMPDIR too long for the name of a socket
        return False
    return True


def _track_resources() -> None:
    """Starts the process that removes what others leave; a stage ended by force leaves some.

    It does not say so, since a warning would read as a failure.
    """
    with _environment("PYTHONWARNINGS", "ignore:resource_tracker"):
        resource_tracker.ensure_running()


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Sets a variable for processes that the block starts."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


def helpers(count: int, prepare: Callable[[], None]) -> ProcessPoolExecutor:
    """A pool of up to `count` processes; the first one starts at once by calling `prepare`."""
    context = multiprocessing.get_context("spawn")  # threads of libraries do not survive a fork
    pool = _Helpers(count, context, attend)
    pool.submit(prepare)
    return pool


class _Helpers(ProcessPoolExecutor):
    """A pool whose processes never see Ctrl-C, which would end their imports with a traceback."""

    def submit(self, *given: Any, **named: Any) -> Future[Any]:
        """As that of all executors; it starts a process if none is idle."""
        _track_resources()
        with ending.uninterrupted_children():
            return super().submit(*given, **named)


def attend() -> None:
    """Makes this process end when its parent ends, and not before: it ignores Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    atexit.register(gc.freeze)  # or it would search everything imported for garbage at exit
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends this process when the parent does, which sends no message if it is killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
