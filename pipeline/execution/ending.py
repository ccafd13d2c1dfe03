"""How a stage ends before its time: soon, whole, and with whatever started it.

A stage can be killed at any moment; what is here spares the user to wait for its end, or to look
for what is left of it.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import psutil

EVERY = 0.5  # seconds between looks at what started this process
NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STARTERS = ("dvc", "make", "mlflow", "pipeline")
SHELLS = ("bash", "dash", "fish", "sh", "zsh")


@contextmanager
def one_interruption(told: str, limit: float, code: int) -> Iterator[None]:
    """SIGTERM and SIGHUP interrupt as Ctrl-C does; once interrupted, all are ignored.

    `mlflow run` passes Ctrl-C on as SIGTERM although the terminal has already sent SIGINT. A
    process that has not left the block `limit` seconds after it was interrupted says `told` and
    ends with `code` as one that is killed: the journal and MLflow are made for that.
    """

    def interrupt(*_: object) -> NoReturn:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        raise KeyboardInterrupt

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
        numbers.append(signal.SIGHUP)
    before = sys.unraisablehook

    def unraisable(unraised: "sys.UnraisableHookArgs") -> None:
        """Python drops what is raised in a callback, such as of an import; the limit remains."""
        if not issubclass(unraised.exc_type, KeyboardInterrupt):
            before(unraised)

    with _ended_in_time(told, limit, code):
        handlers = {number: signal.signal(number, interrupt) for number in numbers}
        sys.unraisablehook = unraisable
        try:
            yield
        finally:
            sys.unraisablehook = before
            for number, handler in handlers.items():
                signal.signal(number, handler)


@contextmanager
def _ended_in_time(text: str, limit: float, code: int) -> Iterator[None]:
    """Ends the process if the block lasts for `limit` seconds more after a signal.

    A thread is told of signals at once, also while the main thread is inside a library.
    """
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    left = threading.Event()

    def watch() -> None:
        while number := os.read(told, 1):
            if number[0] in NUMBERS:
                break
        if number and not left.wait(limit):
            with contextlib.suppress(OSError):
                os.write(2, f"\n{text}\n".encode())
            end(code)
        left.wait()
        os.close(told)

    before = signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    threading.Thread(target=watch, name="interruption", daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        left.set()
        os.close(tell)


def end(code: int) -> NoReturn:
    """Ends this process and all that it started, without waiting for threads."""
    from multiprocessing import active_children, forkserver

    from pipeline.execution import scratch

    for child in active_children():  # they would complain of the folder that is removed here
        with contextlib.suppress(OSError):
            child.kill()
    imported = getattr(forkserver._forkserver, "_forkserver_pid", None)
    if imported is not None:  # perhaps still importing, which it would do to the end
        with contextlib.suppress(OSError):
            os.kill(imported, signal.SIGKILL)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    scratch.remove()
    os._exit(code)


@contextmanager
def uninterrupted_children() -> Iterator[None]:
    """Processes that this thread starts in the block never see Ctrl-C, also before they begin.

    An interruption of this process waits for the end of the block.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_starter(parent: int) -> None:
    """Interrupts this process when DVC, MLflow, make or the stage that started it is gone.

    They may be killed alone, without a word to what they run. `parent`: the id of the process that
    started this one, asked when it began. Another starter, such as a shell that is closed, is none
    of these: what it started goes on.
    """
    threading.Thread(target=_follow, args=(parent,), name="starter", daemon=True).start()


def _follow(parent: int) -> None:
    try:
        import psutil
    except ImportError:  # outside the environment
        return
    try:
        followed = starters(psutil.Process().parents())
    except psutil.Error:  # where processes are hidden
        return
    # DVC may be gone already, and with it the way to it.
    orphaned = "DVC_STAGE" in os.environ and os.getppid() != parent
    if not followed and not orphaned:
        return
    while not orphaned and all(map(_lives, followed)):
        time.sleep(EVERY)
    os.kill(os.getpid(), signal.SIGTERM)


def starters(parents: "Sequence[psutil.Process]") -> "list[psutil.Process]":
    """Those of a process's parents, the nearest first, that it ends with."""
    followed: list[psutil.Process] = []
    shells: list[psutil.Process] = []
    for process in parents:
        words = [os.path.basename(word) for word in process.cmdline()[:3]]
        if {*words} & {*STARTERS}:
            followed += [*shells, process]
            shells = []
        elif words and words[0] in SHELLS and "-c" in process.cmdline():
            shells.append(process)
        else:
            break
    return followed


def _lives(process: "psutil.Process") -> bool:
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def die_with_parent() -> None:
    """Lets Linux kill this process when the thread that started it ends, even amid an import."""
    if sys.platform != "linux":
        return
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
