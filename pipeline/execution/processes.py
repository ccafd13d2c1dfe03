"""How processes start, of which the first seconds go into importing libraries, and how they end."""

import atexit
import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import forkserver
from pathlib import Path
from typing import NoReturn

from pipeline.logs import FOLDER

HOME = Path(__file__).parents[2]  # the folder of this package

LIBRARIES = FOLDER / "tensorflow.log"
LIMIT = 1 << 20  # bytes of that file, beyond which the next process begins it anew


@contextmanager
def importing() -> Iterator[None]:
    """For large imports: what they make stays for good, so no garbage is looked for in it."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def libraries_logged() -> Iterator[None]:
    """For now, what libraries write past Python's `sys.stderr` goes to logs/tensorflow.log.

    On import TensorFlow tells on that way which features the processor has and which libraries of
    CUDA it lacks. Python's own messages that are written meanwhile go there too.
    """
    terminal = os.dup(2)
    _log_libraries()
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)


def log_libraries() -> None:
    """As `libraries_logged`, for good, but Python's own messages still reach the terminal."""
    sys.stderr.flush()
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace")
    _log_libraries()


def _log_libraries() -> None:
    LIBRARIES.parent.mkdir(parents=True, exist_ok=True)
    with LIBRARIES.open("ab") as file:  # several processes append to it
        if file.tell() > LIMIT:
            file.truncate(0)
        os.dup2(file.fileno(), 2)


@contextmanager
def one_interruption() -> Iterator[None]:
    """SIGTERM and a lost terminal interrupt as Ctrl-C does, and not twice while it all ends.

    `mlflow run` passes Ctrl-C on as SIGTERM, though the terminal has sent SIGINT already.
    """

    def interrupt(*_: object) -> NoReturn:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        raise KeyboardInterrupt

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
        numbers.append(signal.SIGHUP)
    before = {each: signal.signal(each, interrupt) for each in numbers}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def begin_preload() -> bool:
    """Begins to import what workers need, in a process of which they will be forks.

    Once is enough; the first worker waits until it is done. That process ends with this one, but
    not before it has imported. False: workers have to be new processes.
    """
    from pipeline.execution.devices import forked  # which commands without workers need not load

    if not forked():
        return False
    multiprocessing.set_forkserver_preload(["pipeline.execution.preload"])
    # It looks for this package in the current folder, which a study changes, and there.
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(HOME), before)))
    try:
        forkserver.ensure_running()
    except OSError:  # such as a TMPDIR too long for the name of a socket
        return False
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before
    return True


def helpers(count: int, prepare: Callable[[], None]) -> ProcessPoolExecutor:
    """Up to `count` processes that help this one; the first begins at once, with `prepare`."""
    context = multiprocessing.get_context("spawn")  # libraries' threads survive no fork
    pool = ProcessPoolExecutor(count, context, attend)
    pool.submit(prepare)
    return pool


def attend() -> None:
    """Has a process that helps another end with it, and not before: Ctrl-C is the other's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    atexit.register(gc.freeze)  # or it would look for garbage once more, in all that was imported
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that is killed tells nobody; its helpers would wait for it for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
