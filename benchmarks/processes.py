"""Runs a measurement in fresh processes, alone or several at the same time.

Threads are set once a process: `fit` gets TensorFlow's defaults, the engine one thread a worker.
"""

import multiprocessing
import os
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
T = TypeVar("T")
PEAK = 2048  # rows and columns of the product that shows the machine's peak
_barrier: Any = None  # shared by processes that measure at the same time


def together(count: int, function: Callable[..., T], *arguments: object) -> list[T]:
    """The function's results in `count` fresh processes that run it at the same time."""
    # A process imports TensorFlow before it knows what it will measure, so this must be decided
    # here: the engine asks for oneDNN, `fit` has what TensorFlow chooses by itself.
    os.environ.pop(ONEDNN, None)
    if function is not fit:
        os.environ[ONEDNN] = "1"
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(count)
    with ProcessPoolExecutor(
        count, mp_context=context, initializer=_join, initargs=(barrier,)
    ) as pool:
        return [each.result() for each in [pool.submit(function, *arguments) for _ in range(count)]]


def _join(barrier: Any) -> None:
    global _barrier
    _barrier = barrier


def seconds(work: Callable[[], object]) -> float:
    """Wall time of a call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def fit(name: str, epochs: int, repeats: int) -> float:
    """Seconds an epoch of `model.fit` with default arguments: the median of the repeats.

    So its progress bar is counted, which nobody sees here.
    """
    from benchmarks.work import WORKS

    work = WORKS[name]
    (x, y), model = work.data(), work.compiled()
    val = x[work.train :], y[work.train :]
    x, y = x[: work.train], y[: work.train]
    few = 2 * work.batch_size

    def train() -> None:
        model.fit(x, y, work.batch_size, epochs=epochs, validation_data=val)

    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        first = x[:few], y[:few]
        model.fit(*first, work.batch_size, validation_data=(val[0][:few], val[1][:few]))
        return median(seconds(train) for _ in range(repeats)) / epochs


@dataclass(frozen=True)
class Timing:
    """What one worker measured. `first`: seconds of its first call, with tracing and compiling."""

    first: float
    again: float  # seconds of the same call once compiled, the median of the repeats
    models: int
    epochs: int
    traces: int
    memory: float  # peak resident memory of the process, MiB


def engine(
    names: tuple[str, ...], members: int, epochs: int, repeats: int, population: Any = "auto"
) -> Timing:
    """Trains `members` of each work in one worker."""
    from pipeline.engine import Engine, backend

    backend.set_up(deterministic=True)
    from benchmarks.work import WORKS

    trainer = Engine(population=population)
    data = WORKS[names[0]].data()
    groups = []
    for name in names:
        model = WORKS[name].model()
        groups.append([WORKS[name].member(model, seed) for seed in range(members)])

    def train() -> None:
        for name, group in zip(names, groups, strict=True):
            trainer.train(group, WORKS[name].training(epochs), *data)

    _barrier.wait()
    first = seconds(train)
    _barrier.wait()
    again = median([seconds(train) for _ in range(repeats)] or [first])
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Timing(first, again, members * len(names), epochs, trainer.traces, memory)


def peak(duration: float) -> float:
    """GFLOP/s of float32 products of two 2048 x 2048 matrices on one thread."""
    from pipeline.engine import backend

    backend.set_up(deterministic=True)
    import keras

    rows = keras.random.normal((PEAK, PEAK))
    product = backend.compiled(lambda a: keras.ops.matmul(a, a), "graph")
    product(rows)
    _barrier.wait()
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < duration:
        product(rows).numpy()
        count += 1
    return count * 2 * PEAK**3 / (time.perf_counter() - began) / 1e9
