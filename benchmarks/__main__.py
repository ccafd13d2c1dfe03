"""`make bench`: prints the tables of benchmarks/README.md as measured here and now.

`python -m benchmarks NAME …` prints some of them.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial, update_wrapper
from importlib.metadata import version
from pathlib import Path

from benchmarks.processes import Timing, engine, fit, peak, together
from benchmarks.published import SEEDS as PUBLISHED_SEEDS
from benchmarks.published import published
from benchmarks.tracking import CURVES, log, opened
from benchmarks.work import WORKS
from pipeline import params
from pipeline.devices import cores

VARIANTS = ("circles", "circles, activity before", "circles, activity after")
SEEDS = 30


def article_a() -> None:
    """Circles: one model, and 30 seeds of three variants, compiling included."""
    work, workers = WORKS["circles"], cores()
    (epoch,) = together(1, fit, "circles", 20, 3)
    whole = epoch * work.epochs
    (one,) = together(1, engine, ("circles",), 1, work.epochs, 3, 1)
    many = together(workers, engine, VARIANTS, -(-SEEDS // workers), work.epochs, 1)
    row("fit, 20 epochs measured three times, scaled", whole, whole)
    row("engine, one model, with compiling", one.first, whole)
    row("engine, one model, compiled before", one.again, whole)
    label = f"engine, {_models(many)} models of 3 variants, {workers} workers, with compiling"
    row(label, *_each(many), whole)
    row("the same, compiled before", max(t.again for t in many) / _models(many), whole)
    steps = work.epochs * many[0].models
    print(f"  a step and member: {1e6 * many[0].again / steps:.1f} us in each of {workers} workers")


def _each(timings: list[Timing]) -> tuple[float]:
    """Seconds a model, first calls included, of workers that ran at the same time."""
    return (max(timing.first for timing in timings) / _models(timings),)


def _models(timings: list[Timing]) -> int:
    return sum(timing.models for timing in timings)


def wide() -> None:
    """An epoch of the other networks, and MNIST's share of the machine's peak."""
    workers = cores()
    for name in ("mnist", "fashion", "cnn", "lstm"):
        work = WORKS[name]
        (epoch,) = together(1, fit, name, 1, 5)
        found = together(workers, engine, (name,), 1, 1, 3)
        each = max(timing.again for timing in found) / workers
        print(f"  {work.title}: {work.train:,} + {work.val:,} rows, batches of {work.batch_size}")
        row("  fit, an epoch", epoch, epoch)
        row(f"  engine, an epoch of one model, {workers} workers", each, epoch)
        if name == "mnist":
            rate, most = work.flops_per_epoch() / each / 1e9, sum(together(workers, peak, 3.0))
            print(f"    {rate:.0f} of {most:.0f} GFLOP/s of a 2048^3 product on as many threads: "
                  f"{rate / most:.0%}")  # fmt: skip


def dropout() -> None:
    """What dropout costs: the network with it against the network without."""
    for name, epochs, members in (("circles", 1000, 5), ("mnist", 1, 1)):
        plain, dropped = (
            together(1, engine, (which,), members, epochs, 3)[0].again
            for which in (name, f"{name}, dropout")
        )
        print(f"  {WORKS[name].title}: {dropped / plain:.2f} times as long with dropout")


def population() -> None:
    """Circles: the cost of a step and member against the members of a program."""
    for members in (1, 4, 5, 16, 64, 256):
        epochs = max(100, 4000 // members)
        (found,) = together(1, engine, ("circles",), members, epochs, 3, members)
        each = 1e6 * found.again / (members * epochs)
        print(f"  {members:>4} members: {each:6.1f} us a step and member, "
              f"{found.first - found.again:5.1f} s tracing and compiling, "
              f"{found.traces} trace, {found.memory:5.0f} MiB")  # fmt: skip


def workers() -> None:
    """Circles and MNIST: the same models in one worker and in one per core."""
    for name, members, epochs in (("circles", 30, 1000), ("mnist", 1, 1)):
        for count in sorted({1, cores()}):
            found = together(count, engine, (name,), members, epochs, 1)
            each = max(timing.again for timing in found) / (_models(found) * epochs)
            memory = max(timing.memory for timing in found)
            print(f"  {name}, {count} worker(s): {1e3 * each:9.3f} ms a model and epoch, "
                  f"{memory:5.0f} MiB each")  # fmt: skip


def stages() -> None:
    """Circles, default budget: how much of tune and train is training and compiling."""
    root = Path(__file__).parent.parent
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(root / "params.yaml", folder)
        shutil.copytree(root / "pipeline", Path(folder) / "pipeline")
        for stage in ("fetch", "prepare", "tune", "train"):
            command = [sys.executable, "-m", "pipeline", stage, "circles"]
            done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
            if stage in ("tune", "train"):
                print(f"  {stage} {done.stdout.strip()}")


def tracking() -> None:
    """MLflow on SQLite: final runs of 500 epochs with five curves and a model each."""
    epochs = 500
    usual = params.load().tracking.curve_points
    for runs, points in ((2000, usual), (2000, epochs // len(CURVES)), (200, epochs)):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (logged,) = together(1, log, folder, runs, epochs, points)
            print(f"  {runs:,} runs, {points} points in each curve: "
                  f"{logged.write / runs:.3f} s a run "
                  f"({logged.processor / runs:.3f} on the processor), "
                  f"{logged.database / runs / 1e3:.0f} kB each, "
                  f"published again in {logged.again:.1f} s")  # fmt: skip
            if shutil.which("chromium") and shutil.which("chromedriver"):
                (openings,) = together(1, opened, folder, 4)
                for each in openings:
                    print(f"    the experiment's page opens in {each.seconds:.1f} s; on the "
                          f"processor, browser {each.browser:.1f} s, "
                          f"server {each.server:.1f} s", flush=True)  # fmt: skip


TABLES: Mapping[str, Callable[[], None]] = {
    function.__name__: function
    for function in (article_a, wide, dropout, population, workers, stages, tracking)
}


def main(argv: list[str]) -> None:
    """Prints the tables that `argv` names, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    every = f"{', '.join(TABLES)}; and published, which trains for ten minutes"
    parser.add_argument("table", nargs="*", help=f"of {every}; default: all but published")
    parser.add_argument("--epochs", type=count, help="of published, instead of each network's own")
    parser.add_argument("--seeds", type=count, default=PUBLISHED_SEEDS, help="of published")
    given = parser.parse_args(argv)
    names = given.table or list(TABLES)
    trained = update_wrapper(partial(published, given.epochs, given.seeds), published)
    tables: Mapping[str, Callable[[], None]] = {**TABLES, "published": trained}
    if unknown := set(names) - tables.keys():
        parser.error(f"unknown table {unknown.pop()!r}; expected one of {', '.join(tables)}")
    libraries = ", ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras", "numpy"))
    print(f"{platform.machine()}, {os.cpu_count()} cores, {libraries}")
    for name in names:
        print(f"\n{tables[name].__doc__}")
        tables[name]()


def count(text: str) -> int:
    """A whole number >= 1 of the command line."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a whole number >= 1, but got {text!r}")
    return int(text)


def row(label: str, seconds: float, fit_seconds: float) -> None:
    """A line of a table: seconds, and how many times faster than `fit` that is."""
    print(f"  {label:<66} {seconds:9.3f} s {fit_seconds / seconds:8,.1f} x", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
