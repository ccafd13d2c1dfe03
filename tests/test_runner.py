"""Runs become results, whatever dies or changes meanwhile; without processes."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import loading, sections
from pipeline.errors import UserError
from pipeline.execution import journal as journal_module
from pipeline.execution.executor import Answer, NodeLost, Work, WorkerDied
from pipeline.execution.host import Host, told
from pipeline.execution.jobs import Program, Timed, Train
from pipeline.execution.journal import LINES, Content, Journal
from pipeline.execution.runner import Runner
from pipeline.execution.worker import Job
from pipeline.training import runs as runs_module
from pipeline.training.runs import Plan, Result, Run
from pipeline.tuning import rounds

from .plans import chosen

MEASURES = {
    "val_accuracy": 0.5,
    "val_loss": 1.0,
    "train_accuracy": 0.6,
    "diverged": False,
    "epochs_run": 4,
    "seconds": 0.1,
}


class Instant:
    """An executor whose jobs are done at once; a worker dies so many times of some runs."""

    def __init__(
        self,
        slots: int = 1,
        deaths: dict[str, int] | None = None,
        death: type[WorkerDied] = WorkerDied,
    ) -> None:
        self.slots: Sequence[int] = range(slots)
        self.death = death
        self.deaths = Counter(deaths)
        self.trained: Counter[str] = Counter()
        self.closed = False

    def submit(self, slot: int, job: Job[Answer]) -> Work[Answer]:
        work: Work[Answer] = Work()
        try:
            answer: Any = self._answer(job)
        except WorkerDied as error:
            work.set_exception(error)
        else:
            work.set_result(answer)
        return work

    def _answer(self, job: Job[Any]) -> tuple[str, int] | Timed:
        if isinstance(job, Program):
            self._live_through({f"program of {job.asked.technique}"})
            return job.asked.technique, 2
        assert isinstance(job, Train)
        self._live_through({run.key for run in job.runs})
        self.trained.update(run.key for run in job.runs)
        return Timed([Result(run.key, MEASURES) for run in job.runs], 1.0)

    def _live_through(self, names: Collection[str]) -> None:
        if doomed := [name for name in names if self.deaths[name]]:
            self.deaths[doomed[0]] -= 1
            raise self.death("worker died (signal 9)")

    def close(self) -> None:
        self.closed = True


@pytest.fixture(scope="module")
def plan() -> Plan:
    study = loading.load().study("circles")
    kept = {name: sections.TechniqueParams() for name in ("none", "l2", "dropout")}
    tuning = sections.Tuning(trials=6, seeds=2, round=3, epochs=4)
    final = sections.Final(4, searches=1)
    few = replace(study, techniques=kept, tuning=tuning, final=final, outcomes=())
    return Plan("circles", "digest", few, 1, sections.Engine())


@pytest.fixture(scope="module")
def runs(plan: Plan) -> list[Run]:
    values: dict[str, dict[str, float]] = {
        "none": {},
        "l2": {"strength": 0.1},
        "dropout": {"rate": 0.5},
    }
    return rounds.final_runs(plan, chosen(values))


def results(executor: Instant, runs: list[Run], root: Path) -> dict[str, Result]:
    """Results by key; each run has one."""
    with Runner(executor, Journal("circles", root)) as runner:
        found = list(runner.run(runs, "test"))
    assert sorted(result.key for result in found) == sorted(run.key for run in runs)
    return {result.key: result for result in found}


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("times", range(5))
def test_a_run_is_given_up_after_three_deaths_and_no_other_is(
    times: int, slots: int, runs: list[Run], tmp_path: Path
) -> None:
    executor = Instant(slots, {runs[1].key: times})
    found = results(executor, runs, tmp_path)
    failed = {key for key, result in found.items() if result.failed}
    assert failed == ({runs[1].key} if times >= 3 else set())
    assert {*executor.trained} == {run.key for run in runs} - failed
    assert {*executor.trained.values()} == {1}
    assert executor.closed


@pytest.mark.parametrize("of", ["program of l2", "run"])
def test_no_run_is_blamed_for_the_end_of_a_machine(
    of: str, runs: list[Run], tmp_path: Path
) -> None:
    doomed = runs[1].key if of == "run" else of
    executor = Instant(2, {doomed: 7}, NodeLost)
    found = results(executor, runs, tmp_path)
    assert not any(result.failed for result in found.values())
    assert {*executor.trained.values()} == {1}


class Growing(Instant):
    """Counts how often it is asked for its slots, of which there are more after each job."""

    asked = 0

    @property
    def slots(self) -> Sequence[int]:
        self.asked += 1
        return range(1 + self.trained.total())

    @slots.setter
    def slots(self, slots: Sequence[int]) -> None:
        pass


def test_slots_that_come_later_are_used(runs: list[Run], tmp_path: Path) -> None:
    given = set()

    class Noting(Growing):
        def submit(self, slot: int, job: Job[Answer]) -> Work[Answer]:
            given.add(slot)
            return super().submit(slot, job)

    results(Noting(), runs, tmp_path)
    assert len(given) > 1


@pytest.mark.timeout(30)  # it would wait for ever
def test_no_slot_waits_for_what_one_that_is_gone_has_compiled(
    runs: list[Run], tmp_path: Path
) -> None:
    class Shrinking(Instant):
        """Has a second slot for two populations; the first one of a program takes long."""

        given = 0

        def submit(self, slot: int, job: Job[Answer]) -> Work[Answer]:
            self.given += slot == 1 and isinstance(job, Train)
            if self.given == 2:
                self.slots = [0]
            return super().submit(slot, job)

        def _answer(self, job: Job[Any]) -> tuple[str, int] | Timed:
            if isinstance(job, Program):
                return job.asked.technique, 1
            answer = super()._answer(job)
            assert isinstance(answer, Timed)
            return replace(answer, seconds=4.0 if self.trained.total() <= 3 else 0.5)

    assert len(results(Shrinking(2), runs, tmp_path)) == len(runs)


@pytest.mark.parametrize("error", [UserError, KeyboardInterrupt])
def test_what_has_finished_is_kept_if_no_more_can_be_handed_out(
    error: type[BaseException], runs: list[Run], tmp_path: Path
) -> None:
    class Leaving(Instant):
        @property
        def slots(self) -> Sequence[int]:
            if self.trained:
                raise error("no machine can be reached")
            return range(2)

        @slots.setter
        def slots(self, slots: Sequence[int]) -> None:
            pass

    first, then = Leaving(), Instant()
    journal = Journal("circles", tmp_path)
    with pytest.raises(error, match="no machine"), Runner(first, journal) as runner:
        list(runner.run(runs, "test"))
    results(then, runs, tmp_path)
    assert first.trained
    assert not {*first.trained} & {*then.trained}


def test_what_the_journal_answers_asks_for_no_slots(runs: list[Run], tmp_path: Path) -> None:
    results(Instant(), runs, tmp_path)
    executor = Growing()
    with Runner(executor, Journal("circles", tmp_path)) as runner:
        assert len([*runner.run(runs, "test")]) == len(runs)
    assert runner.share(1.0) == "workers busy 0% of the time"
    assert not executor.asked


def test_the_host_of_each_run_is_kept(runs: list[Run], tmp_path: Path) -> None:
    hosts = [Host(f"h{i}", "x86_64 avx", "2.21", "cpu") for i in range(2)]

    class Elsewhere(Instant):
        def _answer(self, job: Job[Any]) -> tuple[str, int] | Timed:
            answer = super()._answer(job)
            return replace(answer, host=hosts[0]) if isinstance(answer, Timed) else answer

    results(Elsewhere(), runs, tmp_path)
    journal = Journal("circles", tmp_path)
    assert journal.hosts.of(runs) == {run.key: hosts[0] for run in runs}
    journal.hosts.add([runs[0].key], hosts[1])
    with (tmp_path / "circles.hosts.jsonl").open("a") as file:
        file.write('{"keys": ["')  # a process was killed
    assert Journal("circles", tmp_path).hosts.of(runs[:2]) == {
        runs[0].key: hosts[1],
        runs[1].key: hosts[0],
    }
    journal.prune()
    assert journal.hosts.of(runs) == {run.key: hosts[run is runs[0]] for run in runs}
    journal.hosts.keep([runs[1].key])
    assert journal.hosts.of(runs) == {runs[1].key: hosts[0]}


@pytest.mark.parametrize(
    ("other", "mixed"),
    [("x86_64 avx", None), ("x86_64 avx512f", 1)],
)
def test_pairs_on_different_kinds_of_machine_are_told(
    other: str, mixed: int | None, runs: list[Run]
) -> None:
    hosts = {run.key: Host("a", "x86_64 avx", "2.21", "cpu") for run in runs}
    assert told(runs, hosts) == ""
    moved = next(run for run in runs if run.technique == "l2")
    hosts[moved.key] = Host("b", other, "2.21", "cpu")
    sentence = told(runs, hosts)
    assert bool(sentence) == (mixed is not None)
    assert not mixed or f", {mixed} have runs of more than one kind" in sentence
    assert (
        not mixed
        or "2 kinds of machine (cpu, x86_64 with avx; cpu, x86_64 with avx512f)" in sentence
    )


def test_a_run_that_has_failed_is_tried_again_by_the_next_stage(
    runs: list[Run], tmp_path: Path
) -> None:
    results(Instant(deaths={runs[1].key: 3}), runs, tmp_path)
    executor = Instant()
    found = results(executor, runs, tmp_path)
    assert {*executor.trained} == {runs[1].key}
    assert not any(result.failed for result in found.values())


@pytest.mark.parametrize("times", [1, 3])
def test_a_model_whose_building_kills_workers_fails_alone(
    times: int, runs: list[Run], tmp_path: Path
) -> None:
    found = results(Instant(2, {"program of l2": times}), runs, tmp_path)
    failed = {run.technique for run in runs if found[run.key].failed}
    assert failed == ({"l2"} if times == 3 else set())


def test_every_run_of_such_a_model_is_told_wherever_it_stands(
    runs: list[Run], tmp_path: Path
) -> None:
    # Searches that go on at different times ask for the same program in several places.
    tuned = [run for run in runs if run.setting == "tuned"]
    of_l2 = [run for run in tuned if run.technique == "l2"]
    of_none = [run for run in tuned if run.technique == "none"]
    mixed = [*of_l2[:2], *of_none, *of_l2[2:]]
    found = results(Instant(deaths={"program of l2": 3}), mixed, tmp_path)
    assert {key for key, result in found.items() if result.failed} == {run.key for run in of_l2}


def test_what_the_journal_has_is_told_and_not_trained(runs: list[Run], tmp_path: Path) -> None:
    results(Instant(), runs[:5], tmp_path)
    executor = Instant()
    with Runner(executor, Journal("circles", tmp_path)) as runner:
        assert runner.origin() == ""
        first = [result.key for result in islice(runner.run(runs, "test"), 5)]
        assert first == [run.key for run in runs[:5]]
        assert runner.origin() == " (5 from the journal)"
    assert not executor.trained.keys() & {*first}


def test_a_switch_to_other_code_and_back_amid_a_search_trains_nothing_twice(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def search(executor: Instant, trials: int | None = None) -> list[rounds.Ended]:
        with Runner(executor, Journal("circles", tmp_path)) as runner:
            return [*islice(rounds.tune(plan, rounds.searches(plan), runner), trials)]

    def kept() -> set[str]:
        return {*Content.of(tmp_path / "circles" / LINES).entries}

    search(Instant(), 7)
    begun = kept()
    with monkeypatch.context() as patched:
        for module in (runs_module, journal_module):
            patched.setattr(module, "code_digest", lambda classes: "other")
        search(Instant(), 5)
    assert begun < kept()
    back = Instant()
    assert len(search(back)) == trials_of(plan)
    assert not begun & back.trained.keys()
    runs, _ = rounds.budget(plan, rounds.searches(plan))
    assert len(begun) + len(back.trained) == runs


def trials_of(plan: Plan) -> int:
    """The trials of all searches."""
    return sum(search.trials for search in rounds.searches(plan))
