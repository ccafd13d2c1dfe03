"""What a Ray cluster costs over local processes, how many slots its writer serves, how it scales.

Jobs that do nothing go through the real runner, executor, journal and tracker, so what is left is
their cost. Needs the extra `ray`; the cluster is this machine.
"""

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.tracking import model_file, records
from pipeline import datasets
from pipeline.config import loading
from pipeline.config.sections import Engine, Executors, Final
from pipeline.datasets.sources import prepare
from pipeline.execution.executor import Answer, Executor, LocalExecutor, Work
from pipeline.execution.jobs import Program, Timed, Train
from pipeline.execution.journal import Journal
from pipeline.execution.runner import Runner
from pipeline.execution.worker import Job, Worker
from pipeline.tracking import drawing
from pipeline.tracking.context import Context
from pipeline.tracking.tracker import Tracker
from pipeline.training.runs import Plan, Result, Run

STUDY = "circles"
EPOCHS = 500  # of the curves that a job without work returns, as of digits
CURVES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "penalty")
POPULATION = 5
RUNS = 2000  # without work, for each executor and turn
TRACKED = 300  # of them, where MLflow writes them too
EACH = 4  # populations that each slot trains in a turn


@dataclass(frozen=True)
class Nothing:
    """A job that returns results as large as real ones at once."""

    runs: Sequence[Run]
    model: bytes

    def run(self, worker: Worker) -> Timed:
        """Curves, a model and predictions for each run, without training."""
        curve = np.linspace(1, 0, EPOCHS, dtype=np.float32)
        measures = {"val_accuracy": 0.5, "val_loss": 1.0, "epochs_run": EPOCHS, "seconds": 0.0}
        results = [
            Result(
                run.key,
                measures,
                dict.fromkeys(CURVES, curve),
                self.model,
                np.full((500, 2), 0.5, np.float32),
                measured={"test_accuracy": 0.5},
            )
            for run in self.runs
        ]
        return Timed(results, 0.0, worker.host)


@dataclass
class Idle:
    """An executor whose slots do nothing instead of training."""

    inner: Executor
    model: bytes

    @property
    def slots(self) -> Sequence[int]:
        """See `Executor`."""
        return self.inner.slots

    def submit(self, slot: int, job: Job[Answer]) -> Work[Answer]:
        """See `Executor`."""
        work: Work[Any]
        if isinstance(job, Program):
            work = Work()
            work.set_result(("nothing", POPULATION))
            return work
        assert isinstance(job, Train)
        work = self.inner.submit(slot, Nothing(job.runs, self.model))
        return work

    def close(self) -> None:
        """See `Executor`. The executor serves the next turn too."""


def cluster(turns: int) -> None:
    """A Ray cluster of this machine: its cost per population and run, its writer, its scaling."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        prepared, plan = _prepare(folder)
        executors = {kind: stack.enter_context(_two(kind, prepared)) for kind in KINDS}
        for kind, executor in executors.items():
            _ready(executor, plan, kind)
        _without_work(executors, plan, folder, turns)
        _two_against_one(executors, plan, turns)


def _prepare(folder: Path) -> tuple[Path, Plan]:
    params = loading.load()
    study = params.study(STUDY)
    data = prepare(STUDY, study.data, params.seed, Path("nowhere"))
    path = folder / "prepared.npz"
    datasets.save(data, path)
    final = Final(replicates=RUNS, searches=1)
    return path, Plan(STUDY, data.digest, replace(study, final=final), 1, Engine(), data.task)


KINDS: tuple[Executors, ...] = ("local", "ray")


@contextmanager
def _two(kind: Executors, prepared: Path) -> Iterator[Executor]:
    """An executor with two slots."""
    engine = Engine(workers=2, executor=kind)
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(_made(kind, prepared, engine, Path(folder))) as executor,
    ):
        yield executor


def _made(kind: Executors, prepared: Path, engine: Engine, folder: Path) -> Any:
    if kind == "local":
        return LocalExecutor(prepared, engine, Journal(STUDY, folder))
    from pipeline.execution.ray_executor import RayExecutor  # an extra

    return RayExecutor(prepared, engine)


def _ready(executor: Executor, plan: Plan, kind: str) -> None:
    """Waits until both slots work; tells how long they took to start."""
    began = time.perf_counter()
    run = plan.tuned("none", {}, 0)[0]
    for work in [executor.submit(slot, Nothing([run], b"")) for slot in executor.slots]:
        work.result()
    print(f"  {kind}: first answers of two slots after {time.perf_counter() - began:.1f} s")


def _without_work(
    executors: dict[Executors, Executor], plan: Plan, folder: Path, turns: int
) -> None:
    """Times runs that take no time: executor and journal alone, and with MLflow's writer."""
    model = model_file(folder).read_bytes()
    all_runs = plan.tuned("none", {}, 0)
    counts = {False: RUNS, True: TRACKED}
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
    seconds: dict[tuple[Executors, bool], list[float]] = {}
    for turn in range(1 + turns):  # the first one makes the tables
        for tracked in (False, True):
            for kind, executor in executors.items():
                home = folder / f"{kind}-{tracked}-{turn}"
                runs = all_runs[: counts[tracked]]
                took = _one_turn(Idle(executor, model), runs, home, tracked)
                seconds.setdefault((kind, tracked), []).append(took / len(runs))
    for (kind, tracked), measured in seconds.items():
        typical, least, most = median(measured[1:]), min(measured[1:]), max(measured[1:])
        writer = "executor, journal and MLflow" if tracked else "executor and journal"
        print(f"  {kind}, two slots without work, {writer}: {1e3 * typical:.1f} ms a run, "
              f"{1 / typical:.0f} runs a second ({1 / most:.0f} to {1 / least:.0f})")  # fmt: skip
    for tracked in (False, True):
        pairs = zip(seconds["ray", tracked][1:], seconds["local", tracked][1:], strict=True)
        extra = 1e3 * median(ray - local for ray, local in pairs)
        print(f"  Ray over local{', with MLflow' if tracked else ''}: {extra:.2f} ms a run, "
              f"{extra * POPULATION:.2f} ms a population of {POPULATION}")  # fmt: skip
    drawing.stop()  # else the process that draws would keep this one from ending


def _one_turn(executor: Executor, runs: Sequence[Run], home: Path, tracked: bool) -> float:
    """The seconds until all runs are in a new journal, and in MLflow if they are tracked."""
    began = time.perf_counter()
    told = records(home.parent, len(runs), EPOCHS)
    tracker = Tracker(Context(home.name, "digest", points=16))
    with tracker, Runner(executor, Journal(STUDY, home)) as runner:
        for _, record in zip(runner.run(runs, "nothing"), told, strict=True):
            if tracked:
                tracker.log(record)
    assert tracker.failure is None, tracker.failure
    assert tracker.added == (len(runs) if tracked else 0)
    return time.perf_counter() - began


def _two_against_one(executors: dict[Executors, Executor], plan: Plan, turns: int) -> None:
    """Times the same populations in one slot and in two, in turns."""
    runs = plan.tuned("none", {}, 0)[:POPULATION]
    ratios: dict[Executors, list[float]] = {}
    each: dict[Executors, list[float]] = {}
    for turn in range(1 + turns):  # the first one compiles
        for kind, executor in executors.items():
            one = _train(executor, executor.slots[:1], runs)
            two = _train(executor, executor.slots[:2], runs)
            if turn:
                ratios.setdefault(kind, []).append(2 * one / two)
                each.setdefault(kind, []).append(one / EACH)
    for kind, measured in ratios.items():
        print(
            f"  {kind}: two slots train {median(measured):.2f} times as much as one "
            f"({min(measured):.2f} to {max(measured):.2f}); a population of {POPULATION} takes "
            f"{median(each[kind]):.2f} s in one"
        )


def _train(executor: Executor, slots: Sequence[int], runs: Sequence[Run]) -> float:
    """The seconds that each of these slots needs for `EACH` populations."""
    began = time.perf_counter()
    job = Train(runs, [None] * len(runs))
    for work in [executor.submit(slot, job) for _ in range(EACH) for slot in slots]:
        work.result()
    return time.perf_counter() - began
