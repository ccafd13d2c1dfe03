"""Which processor each worker process gets, and how much memory it may fill.

The only place that chooses devices: a worker per GPU where there are any, else one per core. Does
not import TensorFlow, which must find CUDA_VISIBLE_DEVICES set.
"""

import os
import re
import subprocess
import sys
from ctypes.util import find_library
from dataclasses import dataclass
from importlib.util import find_spec
from math import ceil
from pathlib import Path

import psutil

from pipeline.errors import UserError

SHARE = 0.5  # of the memory there is; the rest is for data, the system and others


@dataclass(frozen=True)
class Device:
    """What one worker trains on. `memory`: bytes that its populations may take."""

    gpu: str | None  # as in CUDA_VISIBLE_DEVICES; None: one core
    memory: int


def devices(workers: int | None) -> list[Device]:
    """A device for each of `workers` processes, or for as many as there are GPUs or else cores."""
    found = gpus()
    count = workers or len(found) or cores()
    # Neither what is free just now nor the number of workers may change the size of a population:
    # another size rounds otherwise, and a seed's bits would depend on them.
    if found:
        memory = int(min(_gpu_memory(gpu) for gpu in found) * SHARE)
    else:
        memory = int(psutil.virtual_memory().total * SHARE / cores())
    return [Device(found[i % len(found)] if found else None, memory) for i in range(count)]


def forked() -> bool:
    """Whether workers can be forks of a process that has imported TensorFlow.

    A GPU's driver is not known to survive that, nor are macOS's libraries.
    """
    return sys.platform == "linux" and not gpus()


def cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """The cores that this process may use; `quota` says what a container may."""
    has_affinity = hasattr(os, "sched_getaffinity")
    count = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    try:
        used, period = quota.read_text(encoding="ascii").split()
        return min(count, ceil(int(used) / int(period)))
    except (OSError, ValueError):  # there is no such file, or it says max
        return count


def gpus(nodes: Path = Path("/dev")) -> list[str]:
    """The NVIDIA GPUs that this process may use, by number; CUDA_VISIBLE_DEVICES hides some.

    None where TensorFlow has no CUDA to use them with.
    """
    # CUDA counts from 0 what is there; a container may have /dev/nvidia3 alone.
    count = sum(bool(re.fullmatch(r"nvidia\d+", path.name)) for path in nodes.glob("nvidia*"))
    if not count and (nodes / "dxg").exists():  # Windows' Linux has one node for all
        count = _listed()
    if not count or not _has_cuda():
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [str(number) for number in range(count)]
    return [name for name in visible.split(",") if name.strip() not in ("", "-1")]


def _has_cuda() -> bool:
    """Whether there is CUDA's library for networks, of the extra `gpu` or of the system."""
    extra = find_spec("nvidia") is not None and find_spec("nvidia.cudnn") is not None
    conda = Path(sys.prefix, "lib").glob("libcudnn.so*")
    return extra or any(conda) or find_library("cudnn") is not None


def _listed() -> int:
    """How many GPUs nvidia-smi numbers; none without it or its driver."""
    try:
        return len(_asked("index").split())
    except (OSError, subprocess.CalledProcessError):
        return 0


def _gpu_memory(gpu: str) -> int:
    """Bytes of a GPU, as nvidia-smi tells. Raises UserError where it does not."""
    try:
        return int(_asked("memory.total", "-i", gpu)) * 2**20
    except (OSError, subprocess.CalledProcessError, ValueError):
        raise UserError(
            f"nvidia-smi does not tell the memory of GPU {gpu}, on which the size of populations "
            "depends; CUDA_VISIBLE_DEVICES=-1 trains on the processor's cores"
        ) from None


def _asked(what: str, *arguments: str) -> str:
    """What nvidia-smi says of this property of the GPUs, a line each."""
    query = f"--query-gpu={what}"
    command = ["nvidia-smi", *arguments, query, "--format=csv,noheader,nounits"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
