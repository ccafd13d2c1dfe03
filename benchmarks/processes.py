"""Runs measurements in fresh processes: one, or several in turn.

Threads are set once per process: `fit` gets TensorFlow's defaults, the engine one thread per
worker.
"""

import multiprocessing
import os
import resource
import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
T = TypeVar("T")
PEAK = 2048  # rows and columns of the matrices whose product measures the machine's peak
PEAK_SECONDS = 1.0  # how long the product is repeated in each turn
_barrier: Any = None  # shared by the processes that measure in turn


@dataclass(frozen=True)
class Part:
    """A measurement by `processes` processes at the same time.

    Each of them calls `prepare(*arguments)` once, and what it returns in every turn.
    """

    processes: int
    prepare: Callable[..., Callable[[], Any]]
    arguments: tuple[object, ...] = ()


def alone(function: Callable[..., T], *arguments: object) -> T:
    """The function's result in a fresh process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def in_turn(turns: int, *parts: Part) -> list[list[list[Any]]]:
    """The measurements of each part: a list per turn, with a value per process.

    Each part measures in every turn while the others wait, so that a machine that is slow for a
    minute is slow for all parts. The first turn includes compiling.
    """
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(sum(part.processes for part in parts))
    with ExitStack() as stack:
        futures: list[list[Future[list[Any]]]] = []
        for index, part in enumerate(parts):
            # A process imports TensorFlow before it knows what it will measure, so this is decided
            # here: the engine asks for oneDNN, `fit` gets TensorFlow's default.
            os.environ.pop(ONEDNN, None)
            if part.prepare is not fit:
                os.environ[ONEDNN] = "1"
            pool = ProcessPoolExecutor(part.processes, context, _join, (barrier,))
            stack.enter_context(pool)
            arguments = part, index, len(parts), turns
            futures.append([pool.submit(_measure, *arguments) for _ in range(part.processes)])
        done, _ = wait(chain(*futures), return_when=FIRST_EXCEPTION)
        for future in done:
            if error := future.exception():
                barrier.abort()  # so that the other processes do not wait for this one
                raise error
    measured = [[future.result() for future in of_part] for of_part in futures]
    return [[list(turn) for turn in zip(*of_part, strict=True)] for of_part in measured]


def _join(barrier: Any) -> None:
    global _barrier
    _barrier = barrier


def _measure(part: Part, index: int, parts: int, turns: int) -> list[Any]:
    """The values of part `index` of `parts`, one per turn, in one of its processes."""
    measure, values = part.prepare(*part.arguments), []
    for _ in range(turns):
        for measuring in range(parts):
            _barrier.wait()
            if measuring == index:
                values.append(measure())
    _barrier.wait()  # because a process that ends would disturb the others
    return values


def seconds(work: Callable[[], object]) -> float:
    """Wall time of a call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def fit(name: str, epochs: int) -> Callable[[], float]:
    """Measures the seconds per epoch of `model.fit` with default arguments.

    They shuffle, without a seed of TensorFlow in a fresh order each epoch, as the engine does. The
    time includes that of the progress bar, although it is not shown.
    """
    from benchmarks.work import WORKS

    work = WORKS[name]
    (x, y), model = work.data(), work.compiled()
    val = x[work.train :], y[work.train :]
    x, y = x[: work.train], y[: work.train]

    def train() -> None:
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
            model.fit(x, y, work.batch_size, epochs=epochs, validation_data=val)

    return lambda: seconds(train) / epochs


@dataclass(frozen=True)
class Timing:
    """What one worker measured in one turn."""

    seconds: float
    traces: int  # so far
    memory: float  # peak resident memory of the process so far, MiB


def engine(
    names: tuple[str, ...], members: int, epochs: int, population: Any = "auto"
) -> Callable[[], Timing]:
    """Measures the training of `members` of each work in one worker; the first call compiles."""
    from pipeline.engine import Engine, backend

    backend.set_up(deterministic=True)
    from benchmarks.work import WORKS

    trainer = Engine(population=population)
    data = WORKS[names[0]].data()
    populations = []
    for name in names:
        model = WORKS[name].model()
        populations.append([WORKS[name].member(model, seed) for seed in range(members)])

    def train() -> None:
        for name, group in zip(names, populations, strict=True):
            trainer.train(group, WORKS[name].training(epochs), *data)

    def timing() -> Timing:
        took = seconds(train)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return Timing(took, trainer.traces, memory)

    return timing


def peak() -> Callable[[], float]:
    """Measures the GFLOP/s of float32 products of two 2048 x 2048 matrices on one thread."""
    from pipeline.engine import backend

    backend.set_up(deterministic=True)
    import keras

    matrix = keras.random.normal((PEAK, PEAK))
    product = backend.compiled(lambda a: keras.ops.matmul(a, a), "graph")

    def rate() -> float:
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < PEAK_SECONDS:
            product(matrix).numpy()
            count += 1
        return count * 2 * PEAK**3 / (time.perf_counter() - began) / 1e9

    return rate
