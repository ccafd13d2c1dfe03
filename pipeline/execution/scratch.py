"""A process's own temporary folder, for itself, its workers and the libraries of both.

A process that is killed leaves its folder; the next process that makes one removes it.
"""

import fcntl
import multiprocessing
import os
import shutil
import tempfile
from contextlib import suppress
from multiprocessing.util import Finalize
from pathlib import Path

PREFIX = "regstudy-"  # short, since the name of a socket in it is limited to 108 bytes
LOCK = "regularization-study.lock"  # held while the process lives; no folder without it is removed
LAST = -1000  # priority at exit: after all that multiprocessing does there


def begin() -> None:
    """Lets everything temporary of this process and its children go to a new folder.

    The folder is removed at the end of the process. So are, now, those of killed processes. Where
    files cannot be locked, a killed process's folder stays.
    """
    home = Path(tempfile.gettempdir())
    if home.name.startswith(PREFIX) and (home / LOCK).exists():  # of a stage that started this one
        home = home.parent
    for folder in home.glob(f"{PREFIX}*"):
        _remove_abandoned(folder)
    own = Path(tempfile.mkdtemp(prefix=PREFIX, dir=home))
    with suppress(OSError):
        _hold(own)
    os.environ["TMPDIR"] = tempfile.tempdir = str(own)
    # Else multiprocessing would make a folder within, for whose sockets a name may be too long.
    multiprocessing.current_process()._config["tempdir"] = str(own)  # type: ignore[attr-defined]
    Finalize(None, remove, exitpriority=LAST)


def remove() -> None:
    """Removes this process's folder, if it has one."""
    own = Path(tempfile.gettempdir())
    if own.name.startswith(PREFIX) and (own / LOCK).exists():
        shutil.rmtree(own, ignore_errors=True)


def _hold(folder: Path) -> None:
    """Locks a folder for as long as this process lives; the file appears when it is locked."""
    unlocked = folder / f"{LOCK}.partial"
    descriptor = os.open(unlocked, os.O_CREAT | os.O_WRONLY, 0o600)  # stays open
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    unlocked.rename(folder / LOCK)


def _remove_abandoned(folder: Path) -> None:
    """Removes a folder whose process has ended; leaves those of others, and of other users."""
    try:
        descriptor = os.open(folder / LOCK, os.O_WRONLY)
    except OSError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except OSError:  # it lives
        return
    finally:
        os.close(descriptor)
