"""Runs give the same whatever trains them, and an interruption loses nothing that was finished."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import datasets
from pipeline.config import loading, sections
from pipeline.config.sections import Engine, Final, Heat, Pruning, Training, Tuning
from pipeline.datasets.circles import CirclesData
from pipeline.datasets.sources import prepare
from pipeline.errors import UserError
from pipeline.execution import devices
from pipeline.execution.devices import forked
from pipeline.execution.executor import Answer, LocalExecutor, Work, WorkerDied
from pipeline.execution.jobs import Train
from pipeline.execution.journal import Journal
from pipeline.execution.progress import Progress
from pipeline.execution.runner import Runner
from pipeline.execution.scheduler import Population, Schedule
from pipeline.execution.worker import Job
from pipeline.training.runs import Plan, Result, Run
from pipeline.tuning import rounds

from .jobs import Execute
from .plans import chosen

DATA = CirclesData(input="data/sources/circles.yaml", test=50, draws=12)
GRAPH = Engine(program="graph")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "circles.npz"
    datasets.save(prepare("circles", DATA, 1, Path("nowhere")), path)
    return path


@pytest.fixture(scope="module")
def plan(prepared: Path) -> Plan:
    given = loading.load().study("circles")
    known = {**given.techniques, "dropout": sections.TechniqueParams()}
    kept = ("none", "l2", "dropout", "activity_l1_before", "early_stopping")
    tiny = replace(
        given,
        data=DATA,
        training=Training("adam", 0.01, 32, 5),
        tuning=Tuning(trials=4, seeds=2, round=2, epochs=4),
        final=Final(replicates=3, searches=1),
        outcomes=(),
        techniques={name: known[name] for name in kept},
    )
    return Plan("circles", datasets.load(prepared).digest, tiny, 1, Engine())


def final_runs(plan: Plan) -> list[Run]:
    values = {"l2": {"strength": 0.01}, "dropout": {"rate": 0.3}, "none": {}}
    values |= {"activity_l1_before": {"strength": 0.01}, "early_stopping": {"patience": 1}}
    return rounds.final_runs(plan, chosen(values, len(plan.study.final.turns)))


def rows_of(plan: Plan, pool: rounds.Pool) -> list[rounds.Row]:
    """The rows of all trials, in the order in which they ended."""
    return [ended.row for ended in rounds.tune(plan, rounds.searches(plan), pool)]


def local(prepared: Path, journal: Journal, workers: int = 1) -> Runner:
    return Runner(LocalExecutor(prepared, Engine(workers=workers), journal), journal)


def run(prepared: Path, units: list[Run], journal: Journal, workers: int) -> dict[str, Result]:
    with local(prepared, journal, workers) as runner:
        return {result.key: result for result in runner.run(units, "test")}


def measured(result: Result) -> dict[str, float]:
    return {name: value for name, value in result.measures.items() if name != "seconds"}


def test_programs_are_compiled_once_for_all_stages(
    prepared: Path, plan: Plan, tmp_path: Path
) -> None:
    units = [unit for unit in final_runs(plan) if unit.technique == "none"]
    home = tmp_path / "Ann's own journal"
    first = run(prepared, units, Journal("circles", home), 1)
    assert not list((home / "circles").glob("programs-*"))  # the worker's own ones
    (folder,) = (home / "programs").iterdir()
    programs = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert programs
    shutil.rmtree(home / "circles")
    again = run(prepared, units, Journal("circles", home), 2)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == programs
    for key, result in first.items():
        assert measured(again[key]) == measured(result)


DIES_AMID_A_RESULT = """
import os, signal
from multiprocessing.connection import Connection

def half(self, message):
    os.write(self.fileno(), message[: len(message) // 2])
    os.kill(os.getpid(), signal.SIGKILL)

Connection._send = half
"""


def test_nobody_waits_for_the_rest_of_a_result(prepared: Path, tmp_path: Path) -> None:
    executor = LocalExecutor(prepared, Engine(workers=2), Journal("circles", tmp_path))
    with closing(executor):
        for work in [executor.submit(slot, Execute(DIES_AMID_A_RESULT)) for slot in (0, 1)]:
            with pytest.raises(WorkerDied, match=r"worker died \(signal 9\)"):
                work.result(timeout=60)


def test_a_worker_that_dies_is_replaced_by_a_fresh_process(prepared: Path, tmp_path: Path) -> None:
    executor = LocalExecutor(prepared, Engine(workers=1), Journal("circles", tmp_path))
    with closing(executor):
        first = executor.submit(0, Execute("")).result(timeout=60)
        with pytest.raises(WorkerDied, match=r"worker died \(exit code 3\)"):
            executor.submit(0, Execute("import os; os._exit(3)")).result(timeout=60)
        second = executor.submit(0, Execute("")).result(timeout=60)
        assert first != second
        os.kill(second, signal.SIGKILL)  # while it is idle, so that no job is at fault
        executor.processes[0].join()
        assert executor.submit(0, Execute("")).result(timeout=60) not in (first, second)


def test_closing_leaves_no_job_without_an_answer(prepared: Path, tmp_path: Path) -> None:
    executor = LocalExecutor(prepared, Engine(workers=1), Journal("circles", tmp_path))
    with closing(executor):
        executor.submit(0, Execute("")).result(timeout=60)
        works = [executor.submit(0, Execute("import time; time.sleep(600)")) for _ in range(3)]
    for work in works:
        assert isinstance(work.exception(timeout=60), WorkerDied)


def test_what_a_job_raises_is_raised_with_its_place(prepared: Path, tmp_path: Path) -> None:
    executor = LocalExecutor(prepared, Engine(workers=1), Journal("circles", tmp_path))
    with closing(executor), pytest.raises(ZeroDivisionError) as caught:
        executor.submit(0, Execute("1 / 0")).result(timeout=60)
    assert "jobs.py" in "".join(caught.value.__notes__)


def test_a_gpu_that_tensorflow_does_not_see_leaves_the_cores(
    prepared: Path,
    plan: Plan,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(devices, "gpus", lambda: ["7"])
    monkeypatch.setattr(devices, "_gpu_memory", lambda gpu: 2**30)
    units = final_runs(plan)
    assert len(run(prepared, units, Journal("circles", tmp_path), 1)) == len(units)
    (told,) = [message for message in caplog.messages if "GPU" in message]
    assert "does not see GPU 7; " in told
    assert "logs/tensorflow.log says why" in told


def test_results_do_not_depend_on_the_number_of_workers_or_an_interruption(
    prepared: Path, plan: Plan, tmp_path: Path
) -> None:
    units = final_runs(plan)
    one = run(prepared, units, Journal("one", tmp_path), 1)
    journal = Journal("two", tmp_path)
    for unit in units[::2]:  # every second one was finished before
        journal.add([unit], [replace(one[unit.key], model=b"kept")])
    two = run(prepared, units, journal, 2)
    assert one.keys() == two.keys() == {unit.key for unit in units}
    for key, result in one.items():
        assert measured(result) == measured(two[key])
        assert result.curves is not None
        for name, curve in result.curves.items():
            np.testing.assert_array_equal(curve, two[key].curves[name])  # type: ignore[index]
    assert all(journal.model_path(unit.key).exists() for unit in units)


def test_pruned_and_raced_searches_do_not_depend_on_workers_checkpoints_or_an_interruption(
    prepared: Path, plan: Plan, tmp_path: Path
) -> None:
    pruning, race = Pruning(first=1, factor=2), (Heat(1, 3),)
    tuning = replace(plan.study.tuning, trials=6, round=3, pruning=pruning, race=race)
    techniques = {name: plan.study.techniques[name] for name in ("none", "dropout")}
    pruned = replace(plan, study=replace(plan.study, tuning=tuning, techniques=techniques))

    def tune(name: str, workers: int, stop_after: int | None = None) -> list[dict[str, object]]:
        journal = Journal(name, tmp_path)
        with local(prepared, journal, workers) as pool:
            ended = rounds.tune(pruned, rounds.searches(pruned), pool)
            found = [trial.row for _, trial in zip(range(stop_after or 99), ended, strict=False)]
        if stop_after:
            journal.keep_checkpoints(())  # so that some start again and others go on
        return [{k: v for k, v in row.items() if k != "seconds"} for row in found]

    one = tune("one", 1)
    tune("two", 2, stop_after=4)
    assert one == tune("two", 2)
    states = [row["state"] for row in one if row["technique"] == "dropout"]
    assert states.count("pruned") == 4
    assert states.count("complete") == 2
    epochs = {row["state"]: row["epochs_run"] for row in one}
    assert epochs == {"pruned": 1, "complete": 4}  # of three, one goes on after the first epoch
    # A trial has two seeds, and six of one technique and one of another begin with one epoch.
    assert rounds.budget(pruned, rounds.searches(pruned)) == (
        len(Journal("one", tmp_path)),
        2 * (7 * 1 + 3 * 2 + 3 * 4) + 2 * 4,  # and each technique's best trial a third one
    )


def test_checkpoints_of_pruned_trials_are_deleted_when_the_others_go_on(
    prepared: Path, plan: Plan, tmp_path: Path
) -> None:
    tuning = replace(plan.study.tuning, pruning=Pruning(first=1, factor=2))
    techniques = {"dropout": plan.study.techniques["dropout"]}
    pruned = replace(plan, study=replace(plan.study, tuning=tuning, techniques=techniques))
    journal, left = Journal("pruned", tmp_path), []
    with local(prepared, journal) as pool:
        for ended in rounds.tune(pruned, rounds.searches(pruned), pool):
            left.append((ended.row["state"], len(list(journal.folder.glob("*.checkpoint.npz")))))
    # Of two trials of two seeds, one goes on; trials trained to the end stay in the race until all
    # are. Then nothing goes on from their last checkpoints.
    assert left == [("pruned", 2)] * 2 + [("complete", 0)] * 2


def test_a_unit_that_goes_on_from_a_checkpoint_gives_the_same_bits(
    prepared: Path, plan: Plan, tmp_path: Path
) -> None:
    tuning = replace(plan.study.tuning, pruning=Pruning(first=2, factor=2))
    pruned = replace(plan, study=replace(plan.study, tuning=tuning))
    begun, whole = (
        [pruned.trial("dropout", {"rate": 0.3}, 0, turn, rung) for turn in range(2)]
        for rung in (0, 1)
    )
    fresh = [plan.trial("dropout", {"rate": 0.3}, 0, turn) for turn in range(2)]
    assert [unit.key for unit in fresh] == [unit.key for unit in whole]
    journal = Journal("go on", tmp_path)
    run(prepared, begun, journal, 1)
    assert all(journal.checkpoint_path(unit.key).exists() for unit in begun)
    resumed = run(prepared, whole, journal, 1)
    for key, result in run(prepared, fresh, Journal("fresh", tmp_path), 1).items():
        assert measured(result) == measured(resumed[key])


@pytest.fixture
def alike(plan: Plan) -> list[Run]:
    """Final runs of which some end where others go on, in graph programs."""
    search = {"rate": sections.SearchRange(0.1, 0.5), "patience": sections.SearchRange(1, 2)}
    stopped = {"rate": 0.3, "patience": 1.0}
    techniques = {
        "none": sections.TechniqueParams(article={}),
        "dropout": sections.TechniqueParams(article={"rate": 0.3}, tuned=False),
        "dropout_early_stopping_again": sections.TechniqueParams(article=stopped, tuned=False),
        "dropout_early_stopping": sections.TechniqueParams(article=stopped, search=search),
        "dropout_longer": sections.TechniqueParams(
            article={"rate": 0.3, "epochs": 3 * plan.study.training.epochs},
            tuned=False,
            combine=("dropout",),
        ),
    }
    few = replace(plan, study=replace(plan.study, techniques=techniques), engine=GRAPH)
    return rounds.final_runs(few, chosen({"none": {}, "dropout_early_stopping": stopped}))


def test_final_runs_go_on_from_those_that_end_before_them(alike: list[Run]) -> None:
    by_key = {unit.key: unit for unit in alike}
    chain = {
        (unit.technique, unit.setting): by_key[unit.goes_on_from].technique
        for unit in alike
        if unit.goes_on_from is not None and by_key[unit.goes_on_from].seed == unit.seed
    }
    assert chain == {
        (technique, setting): before
        for setting in ("article", "article_fresh")
        for technique, before in (
            ("dropout", "dropout_early_stopping"),
            ("dropout_early_stopping_again", "dropout"),
        )
    }
    begun = {unit.goes_on_from for unit in alike} - {None}
    assert {unit.key for unit in alike if unit.resumable} == begun
    assert len(begun) == 2 * 2 * 3  # settings and seeds


def test_going_on_from_other_units_changes_no_result_and_leaves_no_checkpoint(
    prepared: Path, alike: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used, drop = set(), Journal.drop_checkpoint

    def note(journal: Journal, key: str | None) -> None:
        if key is not None and journal.checkpoint_path(key).exists():
            used.add(key)
        drop(journal, key)

    monkeypatch.setattr(Journal, "drop_checkpoint", note)
    apart = [replace(unit, goes_on_from=None, resumable=False) for unit in alike]
    assert [unit.key for unit in apart] == [unit.key for unit in alike]
    journal = Journal("alike", tmp_path)
    one = run(prepared, apart, Journal("apart", tmp_path), 1)
    two = run(prepared, alike, journal, 2)
    assert one.keys() == two.keys()
    for key, result in one.items():
        assert measured(result) == measured(two[key])
        assert two[key].measures["seconds"] > 0
    assert used == {unit.goes_on_from for unit in alike} - {None}
    assert not list(journal.folder.glob("*.checkpoint.npz"))


def test_an_interrupted_rung_keeps_the_checkpoints_it_has_made(
    prepared: Path, plan: Plan, tmp_path: Path
) -> None:
    tuning = replace(plan.study.tuning, pruning=Pruning(first=2, factor=2))
    pruned = replace(plan, study=replace(plan.study, tuning=tuning))
    units = [pruned.trial("dropout", {"rate": 0.3}, 0, turn, rung=0) for turn in range(2)]
    journal = Journal("interrupted", tmp_path)
    another = pruned.trial("dropout", {"rate": 0.4}, 0, 0, rung=0)
    for unit in (units[0], another):
        journal.add([unit], [Result(unit.key, {}, checkpoint={"curves": np.zeros((2, 5))})])
    run(prepared, units, journal, 1)
    assert all(journal.checkpoint_path(unit.key).exists() for unit in units)
    assert not journal.checkpoint_path(another.key).exists()


class Deadly(LocalExecutor):
    """Kills the worker that trains any of these runs, the first so many times."""

    def __init__(self, *given: Any, keys: Collection[str], times: int) -> None:
        super().__init__(*given)
        self.keys, self.left = set(keys), times

    def submit(self, slot: int, job: Job[Answer]) -> Work[Answer]:
        if isinstance(job, Train) and self.left and self.keys & {run.key for run in job.runs}:
            self.left -= 1
            killed: Any = Execute("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
            return super().submit(slot, killed)
        return super().submit(slot, job)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_death_changes_no_result(
    workers: int, prepared: Path, plan: Plan, tmp_path: Path
) -> None:
    units = [unit for unit in final_runs(plan) if unit.technique in ("none", "l2")]
    calm, journal = run(prepared, units, Journal("calm", tmp_path), 1), Journal("dies", tmp_path)
    doomed = [unit.key for unit in units[::3]]
    executor = Deadly(prepared, Engine(workers=workers), journal, keys=doomed, times=2)
    with Runner(executor, journal) as runner:
        found = {result.key: result for result in runner.run(units, "test")}
    assert executor.left == 0
    assert found.keys() == calm.keys()
    assert all(measured(found[key]) == measured(result) for key, result in calm.items())


def test_a_run_that_always_kills_its_worker_fails_and_the_others_go_on(
    prepared: Path, alike: list[Run], tmp_path: Path
) -> None:
    journal = Journal("dies", tmp_path)
    by_key = {unit.key: unit for unit in alike}
    following = next(unit for unit in alike if unit.goes_on_from)
    doomed = by_key[str(following.goes_on_from)]
    executor = Deadly(prepared, Engine(workers=1), journal, keys=[doomed.key], times=99)
    with Runner(executor, journal) as runner:
        found = {result.key: result for result in runner.run(alike, "test")}
    assert found.keys() == by_key.keys()
    failed = found.pop(doomed.key)
    assert failed.failed == "worker died (signal 9), three times"
    assert not failed.measures
    assert not any(result.failed for result in found.values())
    assert found[following.key].measures["epochs_run"] > 0
    states = journal.states(alike)
    assert [unit for unit, its in zip(alike, states, strict=True) if its == "missing"] == [doomed]


class Noting(LocalExecutor):
    """Notes the kinds of the jobs that it was given."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.kinds: set[str] = set()

    def submit(self, slot: int, job: Job[Answer]) -> Work[Answer]:
        self.kinds.add(type(job).__name__)
        return super().submit(slot, job)


def test_a_changed_measure_is_measured_and_trains_nothing(
    prepared: Path, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    units = [unit for unit in final_runs(plan) if unit.technique in ("none", "dropout")]
    before = run(prepared, units, Journal("circles", tmp_path), 1)
    monkeypatch.setattr("pipeline.execution.journal.measuring_digest", lambda: "other")
    journal = Journal("circles", tmp_path)
    kept = {unit.key: journal.probabilities(unit.key) for unit in units}
    assert {*journal.states(units)} == {"to measure"}
    executor = Noting(prepared, Engine(workers=1), journal)
    with Runner(executor, journal) as runner:
        after = {result.key: result for result in runner.run(units, "test")}
    assert executor.kinds == {"Measure"}
    assert runner.kept == len(units)
    assert {key: result.measures for key, result in after.items()} == {
        key: result.measures for key, result in before.items()
    }
    for key, probabilities in kept.items():
        np.testing.assert_array_equal(journal.probabilities(key), probabilities)
    assert {*Journal("circles", tmp_path).states(units)} == {"kept"}


def test_an_import_that_dies_is_told_in_words(prepared: Path, tmp_path: Path) -> None:
    if not forked():
        pytest.skip("workers are no forks here")
    (tmp_path / "dies.py").write_text("import os\nos._exit(1)\n", encoding="utf-8")
    script = (
        "import multiprocessing\n"
        "from pathlib import Path\n"
        "from pipeline.execution import executor, processes\n"
        "from pipeline.errors import UserError\n"
        "from pipeline.execution.journal import Journal\n"
        "from pipeline.config.sections import Engine\n"
        "def begin_preload():\n"
        "    multiprocessing.set_forkserver_preload(['dies'])\n"
        "    return True\n"
        "processes.begin_preload = begin_preload\n"
        "try:\n"
        "    journal = Journal('x', Path('j'))\n"
        f"    executor.LocalExecutor(Path({str(prepared)!r}), Engine(), journal)\n"
        "except UserError as error:\n"
        "    print(error)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    command = [sys.executable, "-c", script]
    told = subprocess.check_output(command, cwd=tmp_path, env=environment, text=True)
    assert told.startswith("a worker process died")


def test_workers_end_with_a_parent_that_is_killed(prepared: Path, tmp_path: Path) -> None:
    script = (
        "import time\n"
        "from multiprocessing import forkserver\n"
        "from pathlib import Path\n"
        "from pipeline.execution.journal import Journal\n"
        "from pipeline.config.sections import Engine\n"
        "from pipeline.execution.executor import LocalExecutor\n"
        "if __name__ == '__main__':\n"
        f"    prepared, journal = Path({str(prepared)!r}), Journal('x', Path('j'))\n"
        "    pool = LocalExecutor(prepared, Engine(workers=2), journal)\n"
        "    pids = [process.pid for process in pool.processes]\n"
        "    print(*pids, forkserver._forkserver._forkserver_pid or '', flush=True)\n"
        "    time.sleep(600)\n"
    )
    (tmp_path / "parent.py").write_text(script, encoding="utf-8")
    parent = subprocess.Popen(
        [sys.executable, "parent.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert len(pids) == 2 + forked()  # two workers, and the process of which they are forks
    deadline = time.monotonic() + 120
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline, "workers outlived their parent"
        time.sleep(0.2)


def test_a_worker_trains_on_while_what_it_finished_is_worked_with(
    prepared: Path, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, when_kept = [], []
    take, keep = Schedule.next, Journal.add

    def next_one(schedule: Schedule, slot: int) -> Population | None:
        if population := take(schedule, slot):
            given.append(population)
        return population

    def add(journal: Journal, runs: Sequence[Run], results: Sequence[Result]) -> None:
        when_kept.append(len(given))
        keep(journal, runs, results)

    monkeypatch.setattr(Schedule, "next", next_one)
    monkeypatch.setattr(Journal, "add", add)
    journal = Journal("circles", tmp_path)
    executor = LocalExecutor(prepared, Engine(workers=1, population=1), journal)
    with Runner(executor, journal) as runner:
        assert len(list(runner.run(final_runs(plan)[:3], "test"))) == 3
    assert when_kept == [2, 3, 3]


def test_workers_that_have_just_been_started_are_ended_at_once(
    prepared: Path, tmp_path: Path
) -> None:
    executor = LocalExecutor(prepared, Engine(workers=1), Journal("circles", tmp_path))
    (process,) = executor.processes
    executor.close()
    assert process.exitcode == -signal.SIGTERM


def test_workers_that_are_ended_leave_other_processes_alone(
    prepared: Path, plan: Plan, tmp_path: Path
) -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other:
        other.submit(os.getpid).result()
        run(prepared, final_runs(plan)[:1], Journal("circles", tmp_path), workers=1)
        assert other.submit(os.getpid).result()


def test_techniques_share_the_data_the_weights_and_the_order_of_a_seed(plan: Plan) -> None:
    units = [unit for unit in final_runs(plan) if unit.setting == "tuned"]
    for seed in range(3):
        same = [unit for unit in units if unit.seed == seed]
        assert len({unit.technique for unit in same}) == len(same) == 5
        assert (
            len({(u.draw, u.derived_seed("weights"), u.derived_seed("order")) for u in same}) == 1
        )
    assert len({unit.derived_seed("weights") for unit in units}) == 3


def test_tuning_never_sees_the_draws_and_seeds_of_the_final_runs(plan: Plan) -> None:
    trials = [plan.trial("l2", {"strength": 0.1}, 0, turn) for turn in range(2)]
    final = [unit for unit in final_runs(plan) if unit.setting == "tuned"]
    assert not {unit.draw for unit in trials} & {unit.draw for unit in final}
    assert not {unit.seed for unit in trials} & {unit.seed for unit in final}


def test_keys_tell_units_apart(plan: Plan) -> None:
    values = {"strength": 0.1}
    base = plan.tuned("l2", values, 0)
    others = [
        *plan.tuned("l2", {"strength": 0.2}, 0),
        *plan.tuned("l2", values | {"learning_rate": 0.5}, 0),
        *plan.tuned("l2", values, 1),
        *plan.tuned("l2", values, 0, "tuned_by_loss"),
        *plan.tuned("activity_l1_before", values, 0),
        *(plan.trial("l2", values, search, turn) for search in range(2) for turn in range(2)),
        *replace(plan, study_seed=2).tuned("l2", values, 0),
        *replace(plan, data_digest="other").tuned("l2", values, 0),
    ]
    assert len({unit.key for unit in [*base, *others]}) == 8 * 3 + 4
    assert [unit.key for unit in plan.tuned("l2", values, 0)] == [unit.key for unit in base]


class Fake:
    """Runs units at once; a diverged member where the learning rate is absurd."""

    def __init__(self) -> None:
        self.seen: list[Run] = []
        self._added: list[Run] = []

    def add(self, units: Sequence[Run], instead_of: Collection[Run] = ()) -> None:
        self.seen += units
        self._added += units

    def results(self, title: str, runs: int, epochs: int) -> Iterator[Result]:
        while self._added:  # whatever finished first
            unit = self._added.pop()
            strength = unit.values.get("strength", 0.5)
            yield Result(
                unit.key,
                {"val_accuracy": 1 - abs(np.log10(strength) + 3) / 10, "val_loss": 1.0,
                 "train_accuracy": 1.0, "epochs_run": 4, "seconds": 0.1,
                 "diverged": unit.values.get("strength", 0) > 0.01},
            )  # fmt: skip


def test_every_technique_gets_the_same_budget_and_the_choice_is_the_best(plan: Plan) -> None:
    searching, fake = rounds.searches(plan), Fake()
    rows = [ended.row for ended in rounds.tune(plan, searching, fake)]
    for name in ("l2", "dropout", "activity_l1_before", "early_stopping"):
        assert [row["trial"] for row in rows if row["technique"] == name] == [0, 1, 2, 3]
    assert len([row for row in rows if row["technique"] == "none"]) == 1  # nothing to search
    assert len(fake.seen) == 2 * len(rows)
    assert rounds.budget(plan, searching) == (len(fake.seen), 4 * len(fake.seen))  # epochs
    (content,) = rounds.tuned(plan, searching)["techniques"]["l2"]["searches"]
    own = [row for row in rows if row["technique"] == "l2"]
    assert content["val_accuracy"] == max(row["val_accuracy"] for row in own)
    assert content["values"]["learning_rate"] == 0.01


def test_no_search_waits_for_another(plan: Plan) -> None:
    rows = rows_of(plan, Fake())
    in_turn = [name for name, _ in groupby(row["technique"] for row in rows)]
    assert in_turn == ["early_stopping", "activity_l1_before", "dropout", "l2", "none"]


def test_equal_trials_are_trained_once_and_stay_two_trials(plan: Plan) -> None:
    tuning = replace(plan.study.tuning, learning_rate=None, trials=8, round=8, seeds=1)
    search = {"patience": sections.SearchRange(1, 3, log=False, integer=True)}
    stopping = {"early_stopping": sections.TechniqueParams(search=search)}
    few = replace(plan, study=replace(plan.study, tuning=tuning, techniques=stopping))
    fake = Fake()
    rows = rows_of(few, fake)
    assert len(rows) == len({row["key"] for row in rows}) == 8
    assert len(fake.seen) == len({row["params.patience"] for row in rows}) < 8


def test_values_that_were_not_searched_are_told_with_the_command(plan: Plan) -> None:
    with pytest.raises(UserError, match=r"no values for l2.*pipeline tune circles"):
        rounds.final_runs(plan, chosen({name: {} for name in plan.study.tuned if name != "l2"}))


def test_a_technique_that_is_not_tuned_has_the_articles_runs_alone(plan: Plan) -> None:
    given = dict(plan.study.techniques)
    given["activity_l1_before"] = replace(given["activity_l1_before"], tuned=False)
    some = replace(plan, study=replace(plan.study, techniques=given))
    assert "activity_l1_before" not in {search.name for search in rounds.searches(some)}
    settings = {(unit.technique, unit.setting) for unit in final_runs(some)}
    articles = {"article", "article_fresh"}
    assert {s for name, s in settings if name == "activity_l1_before"} == articles
    assert {s for name, s in settings if name == "none"} == {*articles, "tuned"}


def test_a_trial_that_diverges_failed_and_counts_as_no_hits(plan: Plan) -> None:
    rows = rows_of(plan, Fake())
    lost = [row for row in rows if row["diverged"]]
    assert lost
    assert all(row["val_accuracy"] == 0 and np.isinf(row["val_loss"]) for row in lost)
    assert lost == [row for row in rows if row["state"] == "failed"]
    assert {row["state"] for row in rows if row not in lost} == {"complete"}


def test_a_trial_of_which_a_run_failed_counts_as_diverged(plan: Plan) -> None:
    class Failing(Fake):
        def results(self, title: str, runs: int, epochs: int) -> Iterator[Result]:
            for result in super().results(title, runs, epochs):
                doomed = result.key == self.seen[0].key  # one seed of the first technique's trial 0
                yield Result(result.key, {}, failed="worker died") if doomed else result

    names = [search.name for search in rounds.searches(plan)]
    first, *others = sorted(
        rows_of(plan, Failing()), key=lambda row: (names.index(row["technique"]), row["trial"])
    )
    assert (first["state"], first["diverged"], first["failed"]) == ("failed", 2, "worker died")
    assert first["val_accuracy"] == 0
    assert np.isinf(first["val_loss"])
    assert not any("failed" in row for row in others)


def test_progress_counts_epochs_of_runs_in_work(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    units = [plan.trial("l2", {"strength": 0.1}, 0, turn) for turn in range(4)]  # 4 epochs each
    with Progress("tune circles", runs=4, epochs=16) as progress:
        progress.spared(units[:1])
        progress.add(units[1:3])  # the last one comes later
        progress.show(running=6)
        progress.finished(units[1:3])
        progress.show(running=1)
        progress._bar.refresh()
    assert "tune circles: 3/4 runs, l2  75%" in capsys.readouterr().err


def test_progress_is_silent_when_not_a_terminal(
    plan: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    units = [plan.trial("l2", {"strength": 0.1}, 0, 0)]
    with Progress("tune circles") as progress:
        progress.add(units)
        progress.finished(units)
        progress.show(0)
    assert capsys.readouterr().err == ""


def test_a_unit_waits_for_the_one_that_it_goes_on_from(alike: list[Run]) -> None:
    stopped, whole = (
        next(unit for unit in alike if unit.technique == name and unit.setting == "article")
        for name in ("dropout_early_stopping", "dropout")
    )
    schedule, first, second = Schedule(), Population("a", [stopped]), Population("b", [whole])
    schedule.add([second, first])
    assert schedule.next(0) == first
    assert schedule.next(1) is None
    schedule.finished(first.runs)
    assert schedule.next(1) == second


def populations(*programs: str) -> list[Population]:
    return [Population(program, ()) for program in programs]


def test_workers_start_on_different_programs() -> None:
    schedule = Schedule()
    schedule.add(populations("a", "a", "b", "b"))
    taken = [schedule.next(worker) for worker in (0, 1, 0, 1)]
    assert [population.program for population in taken if population] == ["a", "b", "a", "b"]
    assert not schedule


@pytest.mark.parametrize(("seconds", "stolen"), [(5.0, True), (0.1, False)])
def test_a_program_is_compiled_twice_only_where_that_pays(seconds: float, stolen: bool) -> None:
    schedule = Schedule()
    schedule.add(populations("a", "a", "a"))
    first = schedule.next(0)
    assert first is not None
    schedule.took(first, 3 + seconds)
    second = schedule.next(0)
    assert second is not None
    schedule.took(second, seconds)
    assert (schedule.next(1) is not None) == stolen
