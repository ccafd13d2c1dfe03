"""`make bench`: prints the tables of benchmarks/README.md as measured here and now.

`python -m benchmarks TABLE …` prints only the named tables: article_a, wide, dropout, population,
workers, stages, tracking, published, shuffling, cluster and gains; the last five take longer, and
gains needs the results of `dvc repro`. Engine and `fit` are measured in turn, after a first turn
that compiles. Printed are medians of the turns, with least and most in brackets. `fit` is the
default one, on arrays and without a seed of TensorFlow, so that it shuffles in every epoch as the
engine does; shuffling is about what a seed changes.
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

from benchmarks.cluster import cluster
from benchmarks.gains import gains
from benchmarks.processes import Part, Timing, alone, engine, fit, in_turn, peak
from benchmarks.published import SEEDS as PUBLISHED_SEEDS
from benchmarks.published import published
from benchmarks.shuffling import shuffling
from benchmarks.tracking import CURVES, log, opened
from benchmarks.work import WORKS
from pipeline.config import loading
from pipeline.execution.devices import cores

VARIANTS = ("circles", "circles, activity before", "circles, activity after")
SEEDS = 30
TURNS = 3


def article_a(turns: int) -> None:
    """Circles: one model, and 30 seeds of three variants, including compiling."""
    work, workers, seeds_per_worker = WORKS["circles"], cores(), -(-SEEDS // cores())
    fit_turns, single_turns, population_turns = in_turn(
        1 + turns,
        Part(1, fit, ("circles", 20)),
        Part(1, engine, (("circles",), 1, work.epochs, 1)),
        Part(workers, engine, (VARIANTS, seeds_per_worker, work.epochs)),
    )
    models = workers * seeds_per_worker * len(VARIANTS)
    whole = [work.epochs * epoch for (epoch,) in fit_turns[1:]]
    single = _seconds(single_turns)
    per_model = [seconds / models for seconds in _seconds(population_turns)]
    row("fit, 20 epochs in each turn, scaled", whole, whole)
    row("engine, one model, with compiling", single[:1] * turns, whole)
    row("engine, one model, compiled before", single[1:], whole)
    label = f"engine, {models} models of 3 variants, {workers} workers, with compiling"
    row(label, per_model[:1] * turns, whole)
    row("the same, compiled before", per_model[1:], whole)
    step = median(per_model[1:]) * workers / work.epochs
    print(f"  a step and member: {1e6 * step:.1f} us in each of {workers} workers")


def _seconds(turns: list[list[Timing]]) -> list[float]:
    """For each turn, the seconds of the slowest of the workers that trained at the same time."""
    return [max(timing.seconds for timing in turn) for turn in turns]


def wide(turns: int) -> None:
    """An epoch of the other networks, and MNIST's share of the machine's peak."""
    workers = cores()
    for name in ("mnist", "fashion", "cnn", "lstm"):
        work = WORKS[name]
        parts = [Part(1, fit, (name, 1)), Part(workers, engine, ((name,), 1, 1))]
        parts += [Part(workers, peak)] if name == "mnist" else []
        fit_turns, engine_turns, *peak_turns = in_turn(1 + turns, *parts)
        fit_epochs = [seconds for (seconds,) in fit_turns[1:]]
        engine_epochs = [seconds / workers for seconds in _seconds(engine_turns[1:])]
        print(f"  {work.title}: {work.train:,} + {work.val:,} examples, "
              f"batches of {work.batch_size}")  # fmt: skip
        row("  fit, an epoch", fit_epochs, fit_epochs)
        row(f"  engine, an epoch of one model, {workers} workers", engine_epochs, fit_epochs)
        for measured in peak_turns:
            rates = [work.flops_per_epoch() / seconds / 1e9 for seconds in engine_epochs]
            peaks = [sum(turn) for turn in measured[1:]]
            shares = [rate / peak for rate, peak in zip(rates, peaks, strict=True)]
            print(f"    {median(rates):.0f} of {median(peaks):.0f} GFLOP/s of a 2048^3 product on "
                  f"as many threads: {median(shares):.0%} ({min(shares):.0%} to {max(shares):.0%})",
                  flush=True)  # fmt: skip


def dropout(turns: int) -> None:
    """The cost of dropout: the network with it, compared with the network without."""
    for name, epochs, members in (("circles", 4000, 5), ("mnist", 1, 1)):
        parts = [Part(1, engine, ((work,), members, epochs)) for work in (name, f"{name}, dropout")]
        without, with_dropout = (_seconds(measured[1:]) for measured in in_turn(1 + turns, *parts))
        ratios = [slow / fast for slow, fast in zip(with_dropout, without, strict=True)]
        print(f"  {WORKS[name].title}: {median(ratios):.2f} times as long with dropout "
              f"({min(ratios):.2f} to {max(ratios):.2f})", flush=True)  # fmt: skip


def population(turns: int) -> None:
    """Circles: the cost of a step and member against the members of a program."""
    for members in (1, 4, 5, 16, 64, 256):
        epochs = max(100, 4000 // members)
        part = Part(1, engine, (("circles",), members, epochs, members))
        (measured,) = in_turn(1 + turns, part)
        first, *compiled = _seconds(measured)
        step = 1e6 * median(compiled) / (members * epochs)
        (last,) = measured[-1]
        print(f"  {members:>4} members: {step:6.1f} us a step and member, "
              f"{first - median(compiled):5.1f} s tracing and compiling, "
              f"{last.traces} trace, {last.memory:5.0f} MiB", flush=True)  # fmt: skip


def workers(turns: int) -> None:
    """Circles and MNIST: the same models in one worker and in one per core."""
    for name, members, epochs in (("circles", 30, 1000), ("mnist", 1, 1)):
        counts = sorted({1, cores()})
        parts = [Part(count, engine, ((name,), members, epochs)) for count in counts]
        for count, measured in zip(counts, in_turn(1 + turns, *parts), strict=True):
            epoch = median(_seconds(measured[1:])) / (count * members * epochs)
            memory = max(timing.memory for timing in measured[-1])
            print(f"  {name}, {count} worker(s): {1e3 * epoch:9.3f} ms a model and epoch, "
                  f"{memory:5.0f} MiB each", flush=True)  # fmt: skip


def stages() -> None:
    """Circles with the default budget: the share of training and compiling in tune and train."""
    root = Path(__file__).parent.parent
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(root / "params.yaml", folder)
        for name in ("pipeline", "data/sources"):
            shutil.copytree(root / name, Path(folder) / name)
        for stage in ("fetch", "prepare", "tune", "train"):
            command = [sys.executable, "-m", "pipeline", stage, "circles"]
            run = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
            if stage in ("tune", "train"):
                print(f"  {stage} {run.stdout.strip()}")


def tracking() -> None:
    """MLflow on SQLite: final runs of 500 epochs, each with five curves and a model."""
    epochs = 500
    default = loading.load().tracking.curve_points
    for runs, points in ((2000, default), (2000, epochs // len(CURVES)), (200, epochs)):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            logged = alone(log, folder, runs, epochs, points)
            print(f"  {runs:,} runs, {points} points in each curve: "
                  f"{logged.write / runs:.3f} s a run "
                  f"({logged.processor / runs:.3f} s of CPU time), "
                  f"{logged.database / runs / 1e3:.0f} kB each, "
                  f"published again in {logged.again:.1f} s")  # fmt: skip
            if shutil.which("chromium") and shutil.which("chromedriver"):
                for page, openings in alone(opened, folder, 6).items():
                    first, *warm = openings
                    print(f"    {page} opens in {median(each.seconds for each in warm):.1f} s, "
                          f"first {first.seconds:.1f} s; "
                          f"CPU time of the server {median(each.server for each in warm):.1f} s",
                          flush=True)  # fmt: skip


IN_TURN = (article_a, wide, dropout, population, workers)
LONG = ("tracking", "published", "shuffling", "cluster", "gains")  # printed only if named


def main(argv: list[str]) -> None:
    """Prints the tables that `argv` names, by default all that do not take long."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("table", nargs="*", help=f"default: all except {', '.join(LONG)}")
    parser.add_argument(
        "--turns", type=count, default=TURNS, help=f"measured turns; default: {TURNS}"
    )
    parser.add_argument("--epochs", type=count, help="for published; default: the network's own")
    parser.add_argument(
        "--seeds",
        type=count,
        default=PUBLISHED_SEEDS,
        help=f"for published; default: {PUBLISHED_SEEDS}",
    )
    arguments = parser.parse_args(argv)
    bound: list[Callable[[], None]] = [
        *(update_wrapper(partial(table, arguments.turns), table) for table in IN_TURN),
        *(stages, tracking),
        update_wrapper(partial(published, arguments.epochs, arguments.seeds), published),
        *(shuffling, gains),
        update_wrapper(partial(cluster, arguments.turns), cluster),
    ]
    tables = {table.__name__: table for table in bound}
    names = arguments.table or [name for name in tables if name not in LONG]
    if unknown := set(names) - tables.keys():
        parser.error(f"unknown table {unknown.pop()!r}; expected one of {', '.join(tables)}")
    libraries = ", ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras", "numpy"))
    print(f"{platform.machine()}, {os.cpu_count()} cores, {libraries}")
    for name in names:
        print(f"\n{tables[name].__doc__}")
        tables[name]()


def count(text: str) -> int:
    """A whole number >= 1 from the command line."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a whole number >= 1, but got {text!r}")
    return int(text)


def row(label: str, seconds: Sequence[float], fit_seconds: Sequence[float]) -> None:
    """Prints a line: medians over the turns of the seconds and of the speed-up over `fit`.

    Least and most speed-up are in brackets.
    """
    speedups = [fit / own for fit, own in zip(fit_seconds, seconds, strict=True)]
    print(f"  {label:<66} {median(seconds):9.3f} s {median(speedups):8,.1f} x "
          f"({min(speedups):,.1f} to {max(speedups):,.1f})", flush=True)  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
