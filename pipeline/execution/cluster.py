"""The machines of a Ray cluster as numbered slots: which there are now, and which fit the driver.

Only this module and `ray_executor` import Ray.
"""

import logging
import math
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError, RuntimeEnvSetupError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.config.sections import Engine
from pipeline.errors import UserError
from pipeline.execution import devices
from pipeline.execution.ray_worker import MISSING, PACKAGE, Machine, look, versions

EVERY = 2.0  # least seconds between looks for machines
PATIENCE = 120.0  # seconds to wait for a machine if there is none
DOUBTED = 30.0  # seconds without work for a machine that did not answer; Ray then knows its end
HOW = "see docs/cluster.md"

_log = logging.getLogger(__name__)


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Connects to a cluster, or starts one of this machine alone; undone if the block fails.

    Raises UserError if there is no cluster at the address, or if its version is another one.
    """
    own = {"include_dashboard": False, "num_cpus": devices.cores()} if address is None else {}
    try:
        _knock(address)
        with _handlers_kept():
            ray.init(
                address or "local",
                runtime_env={"py_modules": [str(PACKAGE)]},
                log_to_driver=False,
                logging_level=logging.ERROR,
                **own,
            )
    except Exception as error:  # Ray raises plain ones
        raise UserError(_no_cluster(address, str(error))) from error
    _silence()
    try:
        yield
    except BaseException:
        ray.shutdown()
        raise


def _knock(address: str | None) -> None:
    """Raises OSError if nothing listens at host:port, for which Ray would wait for minutes."""
    host, _, port = (address or "").rpartition(":")
    if host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE / 4).close()


def _no_cluster(address: str | None, error: str) -> str:
    """Why there is no connection."""
    reason = " ".join(error.split())
    if "ersion mismatch" in reason:
        return f"engine.address: the cluster at {address} has other versions; {reason}; {HOW}"
    if address is None:
        return f"engine.executor: Ray did not start on this machine: {reason}"
    return (
        f"engine.address: expected a Ray cluster that this machine is part of, and whose token it "
        f"has, at {address}, but got: {reason}; {HOW}"
    )


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Keeps this process's handling of SIGTERM, which Ray replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


def _silence() -> None:
    """Keeps Ray's reports of dead workers, of a page each, off standard output."""
    with suppress(ImportError):  # not part of Ray's interface; it has no setting for this
        from ray._private import worker

        worker.print_to_stdstream = lambda *data, **options: None


@dataclass(frozen=True)
class Place:
    """Where a slot is: a core, or a share of a GPU, of a node."""

    node: str  # Ray's id
    index: int


class Cluster:
    """The slots of the cluster that this process is connected to.

    A machine is asked for its versions first. At the beginning one with other versions is an
    error; one that joins later is left out, with a warning. Nothing is asked of machines without
    cores or GPUs for Ray.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._asked: dict[str, Any] = {}  # node → reference to its answer
        self._machines: dict[str, Machine] = {}  # of the nodes that can be used
        self._unfit: set[str] = set()  # nodes that cannot
        self._numbers: dict[Place, int] = {}
        self._places: list[Place] = []  # by number
        self._addresses: dict[str, str] = {}
        self._doubted: dict[str, float] = {}  # node → until when
        self._slots: list[int] = []
        self._looked = -math.inf
        present = self._wait_for_nodes()
        self.on_gpu = any(_count(node, "GPU") for node in present)
        self._begin([*filter(self._works, present)])
        # Of the machines of the beginning: the size of a population must not depend on who joins.
        least = min(machine.memory for machine in self._machines.values())
        self.memory = int(least * engine.gpu_share) if self.on_gpu else least

    def slots(self) -> Sequence[int]:
        """The numbers of the slots that there are now, as many as `engine.workers`.

        Raises UserError if there is none for `PATIENCE` seconds.
        """
        if time.monotonic() - self._looked > EVERY:
            self._look()
        end = time.monotonic() + PATIENCE
        while not self._slots:
            if time.monotonic() > end:
                raise UserError(
                    f"no machine of the cluster can be reached since {PATIENCE:.0f} s; finished "
                    f"runs are kept, so run the stage again when it has some ({HOW})"
                )
            _wait_told()
            self._look()
        return self._slots

    def place(self, slot: int) -> Place:
        """Where a slot is."""
        return self._places[slot]

    def address(self, node: str) -> str:
        """The network address of a node."""
        return self._addresses[node]

    def doubt(self, node: str) -> None:
        """Leaves out a node that did not answer, until Ray knows whether it lives."""
        self._doubted[node] = time.monotonic() + DOUBTED
        self._looked = -math.inf

    def leave_out(self, node: str, problem: str) -> None:
        """Gives a node no more work, and tells why, once."""
        if node in self._unfit:
            return
        self._unfit.add(node)
        self._machines.pop(node, None)
        self._looked = -math.inf
        _log.warning("%s: %s; it gets no work (%s)", self.address(node), problem, HOW)

    def lives(self, node: str) -> bool:
        """Whether Ray takes the node for alive."""
        return any(known["NodeID"] == node for known in _nodes())

    def options(self, slot: int) -> dict[str, Any]:
        """Ray's options of the actor of a slot."""
        share = self._engine.gpu_share if self.on_gpu else 0
        return {
            "num_cpus": 0 if self.on_gpu else 1,
            "num_gpus": share,
            "max_restarts": 0,
            "max_task_retries": 0,
            "scheduling_strategy": _on(self._places[slot].node),
        }

    def _wait_for_nodes(self) -> list[Mapping[str, Any]]:
        """The nodes with cores or GPUs. Raises UserError if there is none for a while."""
        end = time.monotonic() + PATIENCE
        while not (present := [*filter(_works, _nodes())]):
            _wait_told()
            if time.monotonic() > end:
                raise UserError(
                    f"engine.executor: the Ray cluster has no machine with cores or GPUs since "
                    f"{PATIENCE:.0f} s; {HOW}"
                )
        return present

    def _begin(self, present: Sequence[Mapping[str, Any]]) -> None:
        """Asks the machines of the beginning. Raises UserError if one of them does not fit."""
        end = time.monotonic() + PATIENCE
        while not self._machines:
            self._ask(present)
            waiting = [*self._asked.values()]
            ray.wait(waiting, num_returns=len(waiting), timeout=max(0, end - time.monotonic()))
            if problems := self._hear():
                raise UserError(f"engine.executor: {problems[0]}; {HOW}")
            if not self._machines and time.monotonic() > end:
                raise UserError(f"no machine of the cluster answers within {PATIENCE:.0f} s; {HOW}")
        self._number(present)

    def _ask(self, nodes: Sequence[Mapping[str, Any]]) -> None:
        """Asks those of these nodes that have not been asked."""
        for node in nodes:
            if node["NodeID"] in self._asked:
                continue
            self._addresses[node["NodeID"]] = node["NodeManagerAddress"]
            task = ray.remote(look).options(
                num_cpus=0, max_retries=0, scheduling_strategy=_on(node["NodeID"])
            )
            self._asked[node["NodeID"]] = task.remote(_count(node, "GPU"))

    def _look(self) -> None:
        """Notes which machines are gone, have joined, or have answered."""
        self._looked = time.monotonic()
        present = [*filter(self._works, _nodes())]
        self._ask(present)
        for problem in self._hear():
            _log.warning("%s; it gets no work (%s)", problem, HOW)
        self._number(present)

    def _hear(self) -> list[str]:
        """Takes in machines that have answered and fit; why the others do not."""
        problems = []
        for node, answer in [*self._asked.items()]:
            if node in self._machines or node in self._unfit:
                continue
            if not ray.wait([answer], timeout=0)[0]:
                continue
            try:
                machine = ray.get(answer)
                problem = self._misfit(node, machine)
            except (RayTaskError, RuntimeEnvSetupError) as error:
                problem = f"{self.address(node)}: {_last_line(error)}"
            except RayError:  # it has joined this moment, or is gone: asked again if it lives
                del self._asked[node]
                continue
            if problem:
                self._unfit.add(node)
                problems.append(problem)
            else:
                self._machines[node] = machine
        return problems

    def _misfit(self, node: str, machine: Machine) -> str:
        """Why a machine cannot work for this one; empty if it can."""
        own, address = versions(), self.address(node)
        other = [
            f"{name} {theirs if theirs != MISSING else 'missing'} instead of {own[name]}"
            for name, theirs in machine.versions.items()
            if theirs != own[name]
        ]
        if other:
            return f"{address} has {', '.join(other)}, and all machines need the same"
        if not machine.memory:
            return f"{address}: nvidia-smi does not report the memory of its GPUs"
        return ""

    def _number(self, present: Sequence[Mapping[str, Any]]) -> None:
        """Sets the slots of machines that are there, one of each before a second one of any."""
        now = time.monotonic()
        places = [
            Place(node["NodeID"], index)
            for node in present
            if node["NodeID"] in self._machines and self._doubted.get(node["NodeID"], now) <= now
            for index in range(self._capacity(node))
        ]
        for place in sorted(places, key=lambda place: place.index):
            if place not in self._numbers:
                self._numbers[place] = len(self._places)
                self._places.append(place)
        numbers = sorted(self._numbers[place] for place in places)
        wanted = self._engine.workers
        self._slots = numbers if wanted == "auto" else numbers[:wanted]

    def _works(self, node: Mapping[str, Any]) -> bool:
        """Whether a node has what slots need: in a cluster with GPUs, a GPU."""
        return bool(_count(node, "GPU")) if self.on_gpu else _works(node)

    def _capacity(self, node: Mapping[str, Any]) -> int:
        """The slots of a node."""
        if self.on_gpu:
            # Ray puts a share on one GPU: what is left of two makes no third.
            return _count(node, "GPU") * int(1 / self._engine.gpu_share + 1e-9)
        return _count(node, "CPU")


@cache
def _told_that_it_waits() -> None:
    _log.warning("the cluster has no machine for this stage now; waiting up to %.0f s", PATIENCE)


def _wait_told() -> None:
    _told_that_it_waits()
    time.sleep(EVERY)


def _nodes() -> list[Mapping[str, Any]]:
    """The nodes that Ray takes for alive."""
    return [node for node in ray.nodes() if node["Alive"]]


def _works(node: Mapping[str, Any]) -> bool:
    return bool(_count(node, "CPU") or _count(node, "GPU"))


def _count(node: Mapping[str, Any], resource: str) -> int:
    return int(node["Resources"].get(resource, 0))


def _on(node: str) -> NodeAffinitySchedulingStrategy:
    return NodeAffinitySchedulingStrategy(node, soft=False)


def _last_line(error: Exception) -> str:
    """What a remote error says, without its traceback and colours."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return re.sub(r"\x1b\[\d+m", "", lines[-1]).strip() if lines else type(error).__name__
