"""A Ray cluster gives what local processes give, whatever dies, and is left as it was found.

The cluster is simulated on this machine: two nodes of one core each.
"""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
import yaml

from pipeline import datasets, results
from pipeline.config import loading
from pipeline.config.sections import Engine
from pipeline.datasets.sources import prepare
from pipeline.errors import UserError
from pipeline.execution.executor import NodeLost, WorkerDied
from pipeline.execution.journal import Journal
from pipeline.execution.ray_worker import versions
from pipeline.stages import train, tune

from .clone import tiny
from .jobs import DiesAtStart, Execute
from .test_leaks import Nowhere

# Ray reads this when it is imported; a cluster of `cluster_utils` has no token.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
pytest.importorskip("ray", reason="the extra `ray` is not installed: uv sync --extra ray")

from ray import cluster_utils

from pipeline.execution import cluster as cluster_module
from pipeline.execution import ray_executor
from pipeline.execution.ray_executor import RayExecutor

# Ray's own threads and sockets are not ours to close.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.timeout(1500),
]

STUDIES = ("circles", "digits")
TECHNIQUES: dict[str, Any] = {"none": {"article": {}}, "l2": {}, "early_stopping": {}}
UNEQUAL = ["seconds", "mlflow_run_id"]  # by nature


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[cluster_utils.Cluster]:
    """A cluster of a head without cores and two nodes of one core."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_health_check_period_ms", "1000")
        head = {"num_cpus": 0, "include_dashboard": False}
        made = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
        try:
            for _ in range(2):
                made.add_node(num_cpus=1)
            yield made
        finally:
            made.shutdown()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "circles.npz"
    params = loading.load()
    data = params.study("circles").data
    datasets.save(prepare("circles", data, params.seed, Path("nowhere")), path)
    return path


@dataclass(frozen=True)
class Tables:
    """What must be equal."""

    tuned: dict[str, Any]
    trials: pd.DataFrame
    runs: pd.DataFrame


def study(name: str, folder: Path, engine: dict[str, Any]) -> Tables:
    """Tunes and trains a tiny study in a folder."""
    given = tiny(yaml.safe_load(Path(loading.FILE).read_text(encoding="utf-8")))
    own = given["studies"][name]
    own["techniques"] = TECHNIQUES
    content = given | {"engine": engine, "studies": {name: own}}
    (folder / loading.FILE).write_text(yaml.safe_dump(content), encoding="utf-8")
    shutil.copytree("data/sources", folder / "data/sources")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for stage in (tune, train):
            patch.setattr(stage, "Tracker", Nowhere)
        settings = loading.load()
        data = prepare(name, settings.study(name).data, settings.seed, Path("nowhere"))
        datasets.save(data, results.prepared(name))
        for stage in (tune, train):
            stage.main([name])
    home = folder / results.RESULTS / name
    trials, runs = (pd.read_csv(home / table) for table in ("trials.csv", "runs.csv"))
    tuned = json.loads((home / "tuned.json").read_text("utf-8"))
    return Tables(tuned, trials.drop(columns="seconds"), runs.drop(columns=UNEQUAL))


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Tables]:
    """Local results of a study, computed once."""
    known: dict[str, Tables] = {}

    def of(name: str) -> Tables:
        if name not in known:
            known[name] = study(name, tmp_path_factory.mktemp(name), {"workers": 1})
        return known[name]

    return of


def check_equal(one: Tables, other: Tables) -> None:
    assert one.tuned == other.tuned
    pd.testing.assert_frame_equal(one.trials, other.trials, check_exact=True)
    pd.testing.assert_frame_equal(one.runs, other.runs, check_exact=True)


def workers() -> list[psutil.Process]:
    """The actors of this machine, oldest first."""
    found = [
        process
        for process in psutil.process_iter(["cmdline", "create_time"])
        if "RayWorker" in " ".join(process.info["cmdline"] or ())
    ]
    return sorted(found, key=lambda process: float(process.info["create_time"]))


def after_results(count: int, action: Callable[[], None], patch: pytest.MonkeyPatch) -> list[int]:
    """Lets this happen once so many populations are in the journal; a list with how many then."""
    add, done, happened = Journal.add, [], []

    def counting(journal: Journal, *given: Any) -> None:
        add(journal, *given)
        done.append(1)
        if len(done) == count:
            action()
            happened.append(count)

    patch.setattr(Journal, "add", counting)
    return happened


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", STUDIES)
def test_a_cluster_gives_what_local_processes_give(
    name: str, nodes: cluster_utils.Cluster, local: Callable[[str], Tables], tmp_path: Path
) -> None:
    given = study(name, tmp_path, {"executor": "ray", "address": nodes.address})
    check_equal(given, local(name))


@pytest.mark.exhaustive
def test_a_worker_that_is_killed_changes_no_result(
    nodes: cluster_utils.Cluster,
    local: Callable[[str], Tables],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    happened = after_results(2, lambda: workers()[0].kill(), monkeypatch)
    given = study("digits", tmp_path, {"executor": "ray", "address": nodes.address})
    assert happened
    check_equal(given, local("digits"))


@pytest.mark.exhaustive
def test_a_node_that_dies_and_one_that_joins_change_no_result(
    nodes: cluster_utils.Cluster,
    local: Callable[[str], Tables],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def change() -> None:
        nodes.remove_node(next(iter(nodes.worker_nodes)), allow_graceful=False)
        nodes.add_node(num_cpus=1)

    happened = after_results(2, change, monkeypatch)
    given = study("circles", tmp_path, {"executor": "ray", "address": nodes.address})
    assert happened
    check_equal(given, local("circles"))


@pytest.fixture
def executor(nodes: cluster_utils.Cluster, prepared: Path) -> Iterator[RayExecutor]:
    engine = Engine(executor="ray", address=nodes.address)
    before = signal.getsignal(signal.SIGTERM)
    with closing(RayExecutor(prepared, engine)) as made:
        assert signal.getsignal(signal.SIGTERM) is before  # Ctrl-C of `mlflow run`
        yield made


def test_jobs_are_done_in_order_and_a_death_costs_one_of_them(executor: RayExecutor) -> None:
    first, second = executor.slots
    before = executor.submit(first, Execute(""))
    died = executor.submit(first, Execute("import os; os._exit(3)"))
    after = executor.submit(first, Execute(""))
    raised = executor.submit(first, Execute("1 / 0"))
    other = executor.submit(second, Execute(""))
    with pytest.raises(WorkerDied, match=r"worker died \(on \S+: Worker unexpectedly exits") as end:
        died.result(timeout=600)
    assert not isinstance(end.value, NodeLost)
    assert len({before.result(), after.result(timeout=600), other.result(timeout=600)}) == 3
    with pytest.raises(ZeroDivisionError) as caught:
        raised.result(timeout=600)
    assert "in a worker:" in "".join(caught.value.__notes__)


def test_a_node_that_joins_gets_slots_and_one_that_dies_has_none(
    executor: RayExecutor, nodes: cluster_utils.Cluster
) -> None:
    first, second = executor.slots
    joined = nodes.add_node(num_cpus=1)
    end = time.monotonic() + 300
    while len(executor.slots) < 3:
        assert time.monotonic() < end, "a node that has joined is not used"
        time.sleep(0.5)
    (third,) = {*executor.slots} - {first, second}
    assert executor.submit(third, Execute("")).result(timeout=600)
    running = executor.submit(third, Execute("import time; time.sleep(600)"))
    waiting = executor.submit(third, Execute(""))
    nodes.remove_node(joined, allow_graceful=False)
    for work in (running, waiting):
        with pytest.raises(NodeLost, match="is gone or cannot be reached"):
            work.result(timeout=300)
    assert [*executor.slots] == [first, second]
    assert executor.submit(first, Execute("")).result(timeout=600)


def test_a_machine_whose_workers_die_as_they_start_gets_no_work_and_no_job_is_blamed(
    executor: RayExecutor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = executor.slots
    assert executor.submit(second, Execute("")).result(timeout=600)
    monkeypatch.setattr(ray_executor, "RayWorker", DiesAtStart)
    with pytest.raises(NodeLost, match="has no worker"):
        executor.submit(first, Execute("")).result(timeout=600)
    assert [*executor.slots] == [second]
    assert "its workers die as they start" in caplog.text
    assert executor.submit(second, Execute("")).result(timeout=600)


@pytest.mark.parametrize(
    ("gpus", "share", "slots"),
    [(1, 1, 1), (2, 0.4, 4), (2, 0.6, 2), (3, 0.3, 9), (4, 0.25, 16), (1, 0.1, 10), (3, 1 / 3, 9)],
)
def test_a_slot_is_on_one_gpu(gpus: int, share: float, slots: int) -> None:
    made = object.__new__(cluster_module.Cluster)
    made.on_gpu, made._engine = True, Engine(executor="ray", gpu_share=share)
    assert made._capacity({"Resources": {"GPU": float(gpus), "CPU": 64.0}}) == slots
    assert not made._works({"Resources": {"CPU": 64.0}})


def test_closing_ends_running_jobs_and_all_workers(executor: RayExecutor) -> None:
    slots = executor.slots
    for work in [executor.submit(slot, Execute("")) for slot in slots]:
        work.result(timeout=600)
    last = [executor.submit(slots[0], Execute("import time; time.sleep(600)")) for _ in range(2)]
    assert len(workers()) == len(slots)
    executor.close()
    for work in last:  # one runs, one waits
        assert isinstance(work.exception(timeout=60), WorkerDied)
    end = time.monotonic() + 60
    while workers():
        assert time.monotonic() < end, "workers outlive their executor"
        time.sleep(0.2)


@pytest.mark.parametrize("name", ["tensorflow", "Python", "pipeline"])
def test_other_versions_are_refused_in_a_sentence(
    name: str, nodes: cluster_utils.Cluster, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = versions()
    monkeypatch.setattr(cluster_module, "versions", lambda: own | {name: "1.2.3"})
    with pytest.raises(UserError, match=rf"has {name} {own[name]} instead of 1\.2\.3, and all"):
        RayExecutor(prepared, Engine(executor="ray", address=nodes.address))


def test_where_nothing_listens_is_told_at_once(prepared: Path) -> None:
    with pytest.raises(
        UserError, match=r"expected a Ray cluster .* at 127\.0\.0\.1:9, but got:.*refused"
    ):
        RayExecutor(prepared, Engine(executor="ray", address="127.0.0.1:9"))
