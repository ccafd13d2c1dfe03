"""Compiled XLA programs on disk, so that each program is compiled only once.

TensorFlow reads and writes a folder of programs itself, but does not promise to write files whole,
and runs whatever it reads. So each worker has its own folder, shares only finished files, and takes
only those whose content is as their name says.
"""

import hashlib
import logging
import os
import platform
import shutil
from importlib.metadata import version
from pathlib import Path

from pipeline.execution.host import processor_features

PROGRAM = ".pb"  # as TensorFlow names them
SHARED = ".program"  # after TensorFlow's name and a digest of the content

_log = logging.getLogger(__name__)


class Compiled:
    """A worker's folder of CPU programs, and the folder that all workers share.

    A program is valid for the kind of processor and the TensorFlow that it was compiled for;
    TensorFlow checks that it is the same computation.
    """

    def __init__(self, root: Path, own: Path) -> None:
        self._shared = root / _machine()
        self._shared.mkdir(parents=True, exist_ok=True)
        self._own = own.absolute()
        shutil.rmtree(own, ignore_errors=True)  # of a killed worker; a file may be incomplete
        own.mkdir(parents=True)

    def switch_on(self) -> None:
        """Makes TensorFlow use the folder; must be called before it compiles anything."""
        flags = os.environ.get("TF_XLA_FLAGS", "")
        quote = "'" if "'" not in str(self._own) else '"'  # an unquoted value would end at a space
        value = f"{quote}{self._own}{quote}"
        os.environ["TF_XLA_FLAGS"] = f"{flags} --tf_xla_persistent_cache_directory={value}"

    def take(self) -> None:
        """Copies the programs that other workers have shared.

        A damaged one is deleted, with a warning from the worker that did so, and compiled again.
        """
        for path in self._shared.glob(f"*{SHARED}"):
            target = self._own / Path(path.stem).with_suffix(PROGRAM).name
            if target.exists():
                continue
            try:
                content = path.read_bytes()
                if path.name == _shared_name(target.stem, content):
                    target.write_bytes(content)
                    continue
                path.unlink()
            except FileNotFoundError:  # another worker has deleted it
                continue
            _log.warning("%s is damaged; it is deleted, and the program compiled again", path)

    def share(self) -> None:
        """Shares this worker's programs, while none of them is being compiled."""
        shared = {Path(path.stem).stem for path in self._shared.glob(f"*{SHARED}")}
        for path in self._own.glob(f"*{PROGRAM}"):
            if path.stem in shared:
                continue
            content = path.read_bytes()
            scratch = self._shared / f"{path.stem}.{os.getpid()}"  # others may share the same one
            scratch.write_bytes(content)
            scratch.replace(self._shared / _shared_name(path.stem, content))


def _shared_name(stem: str, content: bytes) -> str:
    """A shared program's file, such as xla_compile_cache__1__2__XLA_CPU_JIT.0f3a….program."""
    return f"{stem}.{hashlib.sha256(content).hexdigest()[:32]}{SHARED}"


def _machine() -> str:
    """A digest of the version of TensorFlow and the features of the processor."""
    text = f"{version('tensorflow')} {platform.machine()} {processor_features()}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]
