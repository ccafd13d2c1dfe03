"""`make bench`: prints the tables of benchmarks/README.md as measured here and now.

`python -m benchmarks TABLE …` prints some of them: article_a, wide, dropout, population, workers,
stages, tracking and published, which take longer. Engine and `fit` are measured in turn, after a
first turn that compiles; what is printed are medians of the turns, least and most in brackets.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial, update_wrapper
from importlib.metadata import version
from pathlib import Path
from statistics import median

from benchmarks.processes import Part, Timing, alone, engine, fit, in_turn, peak
from benchmarks.published import SEEDS as PUBLISHED_SEEDS
from benchmarks.published import published
from benchmarks.tracking import CURVES, log, opened
from benchmarks.work import WORKS
from pipeline.config import loading
from pipeline.execution.devices import cores

VARIANTS = ("circles", "circles, activity before", "circles, activity after")
SEEDS = 30
TURNS = 3


def article_a(turns: int) -> None:
    """Circles: one model, and 30 seeds of three variants, compiling included."""
    work, workers, each = WORKS["circles"], cores(), -(-SEEDS // cores())
    fits, ones, manys = in_turn(
        1 + turns,
        Part(1, fit, ("circles", 20)),
        Part(1, engine, (("circles",), 1, work.epochs, 1)),
        Part(workers, engine, (VARIANTS, each, work.epochs)),
    )
    models = workers * each * len(VARIANTS)
    whole = [work.epochs * epoch for (epoch,) in fits[1:]]
    one, many = _seconds(ones), [took / models for took in _seconds(manys)]
    row("fit, 20 epochs in each turn, scaled", whole, whole)
    row("engine, one model, with compiling", one[:1] * turns, whole)
    row("engine, one model, compiled before", one[1:], whole)
    label = f"engine, {models} models of 3 variants, {workers} workers, with compiling"
    row(label, many[:1] * turns, whole)
    row("the same, compiled before", many[1:], whole)
    step = median(many[1:]) * workers / work.epochs
    print(f"  a step and member: {1e6 * step:.1f} us in each of {workers} workers")


def _seconds(turns: list[list[Timing]]) -> list[float]:
    """Of workers that trained at the same time, the one that took longest, turn by turn."""
    return [max(timing.seconds for timing in turn) for turn in turns]


def wide(turns: int) -> None:
    """An epoch of the other networks, and MNIST's share of the machine's peak."""
    workers = cores()
    for name in ("mnist", "fashion", "cnn", "lstm"):
        work = WORKS[name]
        parts = [Part(1, fit, (name, 1)), Part(workers, engine, ((name,), 1, 1))]
        parts += [Part(workers, peak)] if name == "mnist" else []
        fits, engines, *peaks = in_turn(1 + turns, *parts)
        epoch = [epoch for (epoch,) in fits[1:]]
        each = [took / workers for took in _seconds(engines[1:])]
        print(f"  {work.title}: {work.train:,} + {work.val:,} rows, batches of {work.batch_size}")
        row("  fit, an epoch", epoch, epoch)
        row(f"  engine, an epoch of one model, {workers} workers", each, epoch)
        for found in peaks:
            rates = [work.flops_per_epoch() / took / 1e9 for took in each]
            most = [sum(turn) for turn in found[1:]]
            shares = [rate / peak for rate, peak in zip(rates, most, strict=True)]
            print(f"    {median(rates):.0f} of {median(most):.0f} GFLOP/s of a 2048^3 product on "
                  f"as many threads: {median(shares):.0%} ({min(shares):.0%} to {max(shares):.0%})",
                  flush=True)  # fmt: skip


def dropout(turns: int) -> None:
    """What dropout costs: the network with it against the network without."""
    for name, epochs, members in (("circles", 4000, 5), ("mnist", 1, 1)):
        parts = [
            Part(1, engine, ((which,), members, epochs)) for which in (name, f"{name}, dropout")
        ]
        plain, dropped = (_seconds(found[1:]) for found in in_turn(1 + turns, *parts))
        ratios = [more / less for more, less in zip(dropped, plain, strict=True)]
        print(f"  {WORKS[name].title}: {median(ratios):.2f} times as long with dropout "
              f"({min(ratios):.2f} to {max(ratios):.2f})", flush=True)  # fmt: skip


def population(turns: int) -> None:
    """Circles: the cost of a step and member against the members of a program."""
    for members in (1, 4, 5, 16, 64, 256):
        epochs = max(100, 4000 // members)
        (found,) = in_turn(1 + turns, Part(1, engine, (("circles",), members, epochs, members)))
        first, *again = _seconds(found)
        each = 1e6 * median(again) / (members * epochs)
        (last,) = found[-1]
        print(f"  {members:>4} members: {each:6.1f} us a step and member, "
              f"{first - median(again):5.1f} s tracing and compiling, "
              f"{last.traces} trace, {last.memory:5.0f} MiB", flush=True)  # fmt: skip


def workers(turns: int) -> None:
    """Circles and MNIST: the same models in one worker and in one per core."""
    for name, members, epochs in (("circles", 30, 1000), ("mnist", 1, 1)):
        counts = sorted({1, cores()})
        parts = [Part(count, engine, ((name,), members, epochs)) for count in counts]
        for count, found in zip(counts, in_turn(1 + turns, *parts), strict=True):
            each = median(_seconds(found[1:])) / (count * members * epochs)
            memory = max(timing.memory for timing in found[-1])
            print(f"  {name}, {count} worker(s): {1e3 * each:9.3f} ms a model and epoch, "
                  f"{memory:5.0f} MiB each", flush=True)  # fmt: skip


def stages() -> None:
    """Circles, default budget: how much of tune and train is training and compiling."""
    root = Path(__file__).parent.parent
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(root / "params.yaml", folder)
        for name in ("pipeline", "data/sources"):
            shutil.copytree(root / name, Path(folder) / name)
        for stage in ("fetch", "prepare", "tune", "train"):
            command = [sys.executable, "-m", "pipeline", stage, "circles"]
            done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
            if stage in ("tune", "train"):
                print(f"  {stage} {done.stdout.strip()}")


def tracking() -> None:
    """MLflow on SQLite: final runs of 500 epochs with five curves and a model each."""
    epochs = 500
    usual = loading.load().tracking.curve_points
    for runs, points in ((2000, usual), (2000, epochs // len(CURVES)), (200, epochs)):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            logged = alone(log, folder, runs, epochs, points)
            print(f"  {runs:,} runs, {points} points in each curve: "
                  f"{logged.write / runs:.3f} s a run "
                  f"({logged.processor / runs:.3f} on the processor), "
                  f"{logged.database / runs / 1e3:.0f} kB each, "
                  f"published again in {logged.again:.1f} s")  # fmt: skip
            if shutil.which("chromium") and shutil.which("chromedriver"):
                for each in alone(opened, folder, 4):
                    print(f"    the experiment's page opens in {each.seconds:.1f} s; on the "
                          f"processor, browser {each.browser:.1f} s, "
                          f"server {each.server:.1f} s", flush=True)  # fmt: skip


IN_TURN = (article_a, wide, dropout, population, workers)
LONG = ("tracking", "published")  # print only when they are named


def main(argv: list[str]) -> None:
    """Prints the tables that `argv` names, or all that do not take long."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("table", nargs="*", help=f"default: all but {' and '.join(LONG)}")
    parser.add_argument("--turns", type=count, default=TURNS, help="that are measured")
    parser.add_argument("--epochs", type=count, help="of published, instead of each network's own")
    parser.add_argument("--seeds", type=count, default=PUBLISHED_SEEDS, help="of published")
    given = parser.parse_args(argv)
    bound: list[Callable[[], None]] = [
        *(update_wrapper(partial(table, given.turns), table) for table in IN_TURN),
        *(stages, tracking),
        update_wrapper(partial(published, given.epochs, given.seeds), published),
    ]
    tables = {table.__name__: table for table in bound}
    names = given.table or [name for name in tables if name not in LONG]
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


def row(label: str, seconds: Sequence[float], fit_seconds: Sequence[float]) -> None:
    """A line of a table: medians over the turns of seconds and of how many times faster than `fit`.

    In brackets the least and the most times.
    """
    times = [fits / own for fits, own in zip(fit_seconds, seconds, strict=True)]
    print(f"  {label:<66} {median(seconds):9.3f} s {median(times):8,.1f} x "
          f"({min(times):,.1f} to {max(times):,.1f})", flush=True)  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
