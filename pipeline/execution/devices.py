"""The device of each worker process, and the memory that it may use.

The only module that chooses devices: a worker per GPU if there are any, else one per core. Does not
import TensorFlow, which must be imported after CUDA_VISIBLE_DEVICES is set.
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

SHARE = 0.5  # of all memory; the rest is for data, the system and other processes


@dataclass(frozen=True)
class Device:
    """What one worker trains on. `memory`: bytes that its populations may use."""

    gpu: str | None  # as in CUDA_VISIBLE_DEVICES; None: a CPU core
    memory: int


def devices(workers: int | None) -> list[Device]:
    """The devices of `workers` processes; None: one process per GPU, or else per core.

    Raises UserError if nvidia-smi does not report the memory of a GPU.
    """
    gpu_numbers = gpus()
    count = workers or len(gpu_numbers) or cores()
    # The size of a population must depend neither on the memory that is free at the moment nor on
    # the number of workers: another size rounds differently, which changes the bits of results.
    if gpu_numbers:
        memory = int(min(_gpu_memory(gpu) for gpu in gpu_numbers) * SHARE)
    else:
        memory = int(psutil.virtual_memory().total * SHARE / cores())
    return [
        Device(gpu_numbers[index % len(gpu_numbers)] if gpu_numbers else None, memory)
        for index in range(count)
    ]


def forked() -> bool:
    """Whether workers can be forks of a process that has imported TensorFlow.

    GPU drivers and the libraries of macOS are not known to survive a fork.
    """
    return sys.platform == "linux" and not gpus()


def cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """The number of cores that this process may use; `quota` has the limit of a container."""
    has_affinity = hasattr(os, "sched_getaffinity")
    count = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    try:
        used, period = quota.read_text(encoding="ascii").split()
        return min(count, ceil(int(used) / int(period)))
    except (OSError, ValueError):  # no such file, or its limit is `max`
        return count


def gpus(nodes: Path = Path("/dev")) -> list[str]:
    """The numbers of the NVIDIA GPUs that this process may use; CUDA_VISIBLE_DEVICES hides others.

    Empty if TensorFlow finds no CUDA libraries to use them with.
    """
    # CUDA numbers the visible GPUs from 0; a container may have only /dev/nvidia3.
    count = sum(bool(re.fullmatch(r"nvidia\d+", path.name)) for path in nodes.glob("nvidia*"))
    if not count and (nodes / "dxg").exists():  # WSL has one node for all GPUs
        count = _gpu_count()
    if not count or not _has_cuda():
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [str(number) for number in range(count)]
    return [name for name in visible.split(",") if name.strip() not in ("", "-1")]


def _has_cuda() -> bool:
    """Whether cuDNN is installed: by the extra `gpu`, by conda or in the system."""
    extra = find_spec("nvidia") is not None and find_spec("nvidia.cudnn") is not None
    conda = Path(sys.prefix, "lib").glob("libcudnn.so*")
    return extra or any(conda) or find_library("cudnn") is not None


def _gpu_count() -> int:
    """The number of GPUs that nvidia-smi lists; 0 without nvidia-smi or its driver."""
    try:
        return len(_query("index").split())
    except (OSError, subprocess.CalledProcessError):
        return 0


def _gpu_memory(gpu: str) -> int:
    """Bytes of a GPU, from nvidia-smi. Raises UserError if it does not report them."""
    try:
        return int(_query("memory.total", "-i", gpu)) * 2**20
    except (OSError, subprocess.CalledProcessError, ValueError):
        raise UserError(
            f"nvidia-smi does not report the memory of GPU {gpu}, which decides the population "
            "size; set CUDA_VISIBLE_DEVICES=-1 to train on the CPU"
        ) from None


def _query(name: str, *arguments: str) -> str:
    """nvidia-smi's answer to a query of one property of the GPUs, one line for each."""
    option = f"--query-gpu={name}"
    command = ["nvidia-smi", *arguments, option, "--format=csv,noheader,nounits"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
