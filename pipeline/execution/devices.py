"""The device of each worker process, and the memory that it may use.

The only module that chooses devices: a worker per GPU if there are any, else one per core. Does not
import TensorFlow, which must be imported after CUDA_VISIBLE_DEVICES is set.
"""

import logging
import os
import re
import subprocess
import sys
from ctypes.util import find_library
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from math import ceil
from pathlib import Path

import psutil

from pipeline.logs import LIBRARIES

_log = logging.getLogger(__name__)

SHARE = 0.5  # of all memory; the rest is for data, the system and other processes
VISIBLE = "CUDA_VISIBLE_DEVICES"
ON_PURPOSE = frozenset(
    ("", "-1", "none", "nodevfiles", "void")
)  # hides all; the last ones by Slurm


@dataclass(frozen=True)
class Device:
    """What one worker trains on. `memory`: bytes that its populations may use."""

    gpu: str | None  # as in CUDA_VISIBLE_DEVICES; None: a CPU core
    memory: int


def devices(workers: int | None) -> list[Device]:
    """The devices of `workers` processes; None: one process per GPU, or else per core.

    GPUs that are there and cannot be used are told, in one warning.
    """
    known = {gpu: _gpu_memory(gpu) for gpu in gpus()}
    if unknown := [gpu for gpu, memory in known.items() if memory is None]:
        _tell_once(
            f"nvidia-smi does not report the memory of GPU {', '.join(unknown)}, which decides the "
            f"population size, so training is on the other GPUs or on cores; {VISIBLE}=-1 hides it"
        )
    usable = {gpu: memory for gpu, memory in known.items() if memory is not None}
    gpu_numbers = _seen([*usable])
    count = workers or len(gpu_numbers) or cores()
    # The size of a population must depend neither on the memory that is free at the moment nor on
    # the number of workers: another size rounds differently, which changes the bits of results.
    if gpu_numbers:
        memory = int(min(usable[gpu] for gpu in gpu_numbers) * SHARE)
    else:
        memory = memory_of_core()
    return [
        Device(gpu_numbers[index % len(gpu_numbers)] if gpu_numbers else None, memory)
        for index in range(count)
    ]


def _seen(gpus: list[str]) -> list[str]:
    """Those of the GPUs that TensorFlow sees; others are told, in one warning."""
    if not gpus or _count_seen(*gpus) == len(gpus):
        return gpus
    seen = [gpu for gpu in gpus if len(gpus) > 1 and _count_seen(gpu)]
    if unseen := [gpu for gpu in gpus if gpu not in seen]:
        _tell_once(
            f"TensorFlow does not see GPU {', '.join(unseen)}; {LIBRARIES.absolute()} "
            f"says why (see docs/gpu.md). Training is on "
            f"{'GPU ' + ', '.join(seen) if seen else 'cores'}"
        )
    return seen


@cache
def _count_seen(*gpus: str) -> int:
    """How many of the GPUs TensorFlow sees, asked in a process that ends and so frees them."""
    count = "import tensorflow as tf; print(len(tf.config.list_physical_devices('GPU')))"
    LIBRARIES.parent.mkdir(parents=True, exist_ok=True)
    with LIBRARIES.open("ab") as log:
        told = subprocess.run(
            [sys.executable, "-c", count],
            env=os.environ | {VISIBLE: ",".join(gpus)},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            check=False,
        )
    return int(told.stdout or 0)


def memory_of_core() -> int:
    """Bytes that the populations of one worker on a core may use."""
    return int(psutil.virtual_memory().total * SHARE / cores())


def memory_of(count: int) -> int:
    """As the memory of `Device`, on a machine with this many GPUs, whatever this process sees.

    0 if nvidia-smi does not report the memory of each GPU.
    """
    if not count:
        return memory_of_core()
    return int(min(_gpu_memory(str(gpu)) or 0 for gpu in range(count)) * SHARE)


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
    """The NVIDIA GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them.

    Empty if TensorFlow finds no CUDA libraries to use them with.
    """
    # CUDA numbers the visible GPUs from 0; a container may have only /dev/nvidia3.
    count = sum(bool(re.fullmatch(r"nvidia\d+", path.name)) for path in nodes.glob("nvidia*"))
    if not count and (nodes / "dxg").exists():  # WSL has one node for all GPUs
        count = _gpu_count()
    if not count or not _has_cuda():
        return []
    text = os.environ.get(VISIBLE)
    if text is None:
        return [str(number) for number in range(count)]
    names, ignored = visible(text, count)
    if ignored and text.strip().lower() not in ON_PURPOSE:
        _tell_once(
            f"{VISIBLE}={text[:100]!r}: CUDA does not read on from {ignored[:50]!r}, which is no "
            f"GPU of the {count} here, or stands twice; training is on "
            f"{'GPU ' + ', '.join(names) if names else 'cores'}"
        )
    return names


def visible(text: str, count: int) -> tuple[list[str], str]:
    """The GPUs of a text of CUDA_VISIBLE_DEVICES, read as CUDA does, and what ended the list.

    The first word that is no GPU of `count` ends the list: -1, an index too large, another word, a
    UUID that no GPU or more than one begins with. A GPU that stands twice makes none visible.

    >>> visible("1, 0", 2), visible("0,-1,1", 2), visible("1,1", 2)
    ((['1', '0'], ''), (['0'], '-1'), ([], '1'))
    """
    names: list[str] = []
    for word in text.split(","):
        name = _named(word.strip(), count)
        if name is None:
            return names, word.strip() or "an empty word"
        if name in names:
            return [], word.strip()
        names.append(name)
    return names, ""


def _named(word: str, count: int) -> str | None:
    """The index or the whole UUID that a word names; None if that is no GPU."""
    if re.fullmatch(r"\+?\d{1,9}", word, re.ASCII):
        return str(int(word)) if int(word) < count else None
    if not word.startswith(("GPU-", "MIG-")):
        return None
    if "/" in word:  # the older form of MIG, which nvidia-smi does not list
        return word
    begun = [uuid for uuid in _listed() if uuid.startswith(word)]
    return begun[0] if len(begun) == 1 else None


@cache
def _tell_once(sentence: str) -> None:
    _log.warning(sentence)


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


def _listed() -> list[str]:
    """The UUIDs of GPUs and MIG devices that nvidia-smi lists; none without it or its driver."""
    try:
        told = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return re.findall(r"UUID: ([^\s)]+)", told.stdout)


def _gpu_memory(gpu: str) -> int | None:
    """Bytes of a GPU, from nvidia-smi; None if it does not report them."""
    try:
        return int(_query("memory.total", "-i", gpu)) * 2**20
    except (OSError, subprocess.CalledProcessError, ValueError):
        return None


def _query(name: str, *arguments: str) -> str:
    """nvidia-smi's answer to a query of one property of the GPUs, one line for each."""
    option = f"--query-gpu={name}"
    command = ["nvidia-smi", *arguments, option, "--format=csv,noheader,nounits"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
