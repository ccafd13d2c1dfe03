"""Which processor each worker process gets, and how much memory it may fill.

The only place that chooses devices: a worker per GPU where there are any, else one per core. Does
not import TensorFlow, which must find CUDA_VISIBLE_DEVICES set.
"""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil

SHARE = 0.5  # of the memory that is free; the rest is for data, the system and others


@dataclass(frozen=True)
class Device:
    """What one worker trains on. `memory`: bytes that its populations may take."""

    gpu: str | None  # as in CUDA_VISIBLE_DEVICES; None: one core
    memory: int


def devices(workers: int | None) -> list[Device]:
    """A device for each of `workers` processes, or for as many as there are GPUs or else cores."""
    found = gpus()
    count = workers or len(found) or cores()
    if found:
        shared = -(-count // len(found))  # workers on one GPU
        memory = [int(_gpu_memory(gpu) * SHARE / shared) for gpu in found]
        return [Device(found[i % len(found)], memory[i % len(found)]) for i in range(count)]
    memory_each = int(psutil.virtual_memory().available * SHARE / count)
    return [Device(None, memory_each)] * count


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus(nodes: Path = Path("/dev")) -> list[str]:
    """The NVIDIA GPUs that this process may use, by number; CUDA_VISIBLE_DEVICES hides some."""
    present = sorted(
        (path.name.removeprefix("nvidia") for path in nodes.glob("nvidia*")
         if re.fullmatch(r"nvidia\d+", path.name)),
        key=int,
    )  # fmt: skip
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None or not present:
        return present
    return [name for name in visible.split(",") if name.strip() not in ("", "-1")]


def _gpu_memory(gpu: str) -> int:
    """Free bytes of a GPU, as nvidia-smi tells."""
    command = ["nvidia-smi", "-i", gpu, "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0]) * 2**20
