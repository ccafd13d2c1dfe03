"""Compiled XLA programs on disk, so that each program is compiled only once.

TensorFlow reads and writes a folder of programs itself, but does not promise to write files whole.
So each worker has its own folder, and shares only finished files.
"""

import hashlib
import os
import platform
import shutil
from importlib.metadata import version
from pathlib import Path


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
        """Copies the programs that other workers have shared."""
        for path in self._missing(self._shared, self._own):
            shutil.copyfile(path, self._own / path.name)

    def share(self) -> None:
        """Shares this worker's programs, while none of them is being compiled."""
        for path in self._missing(self._own, self._shared):
            scratch = self._shared / f"{path.stem}.{os.getpid()}"  # others may share the same one
            shutil.copyfile(path, scratch)
            scratch.replace(self._shared / path.name)

    def _missing(self, source: Path, target: Path) -> list[Path]:
        return [path for path in source.glob("*.pb") if not (target / path.name).exists()]


def _machine() -> str:
    """A digest of the version of TensorFlow and the features of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        processor = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:
        processor = platform.processor()
    text = f"{version('tensorflow')} {platform.machine()} {processor}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]
