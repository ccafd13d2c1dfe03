"""Compiled XLA programs kept on disk, so that no stage compiles what an earlier one has.

TensorFlow reads and writes a folder of programs itself, but does not say that it writes a file
whole. Each worker therefore has a folder of its own, and only finished files are shared.
"""

import hashlib
import os
import platform
import shutil
from importlib.metadata import version
from pathlib import Path


class Compiled:
    """A worker's folder of programs, and the one that it shares with others. For CPU programs.

    A program serves the kind of processor and the TensorFlow that it was compiled for; TensorFlow
    checks that it is the same computation.
    """

    def __init__(self, root: Path, own: Path) -> None:
        self._shared = root / _machine()
        self._shared.mkdir(parents=True, exist_ok=True)
        self._own = own.absolute()
        shutil.rmtree(own, ignore_errors=True)  # a killed worker's, of which a file may be cut off
        own.mkdir(parents=True)

    def switch_on(self) -> None:
        """Tells TensorFlow, which must not have compiled anything yet."""
        flags = os.environ.get("TF_XLA_FLAGS", "")
        quote = "'" if "'" not in str(self._own) else '"'  # a value ends at a space otherwise
        value = f"{quote}{self._own}{quote}"
        os.environ["TF_XLA_FLAGS"] = f"{flags} --tf_xla_persistent_cache_directory={value}"

    def take(self) -> None:
        """Takes the programs that others have shared."""
        for path in self._missing(self._shared, self._own):
            shutil.copyfile(path, self._own / path.name)

    def share(self) -> None:
        """Shares own programs. None of them may be in the middle of being compiled."""
        for path in self._missing(self._own, self._shared):
            scratch = self._shared / f"{path.stem}.{os.getpid()}"  # others may share the same one
            shutil.copyfile(path, scratch)
            scratch.replace(self._shared / path.name)

    def _missing(self, source: Path, target: Path) -> list[Path]:
        return [path for path in source.glob("*.pb") if not (target / path.name).exists()]


def _machine() -> str:
    """A digest of the TensorFlow and of what the processor can do."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        processor = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:
        processor = platform.processor()
    text = f"{version('tensorflow')} {platform.machine()} {processor}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]
