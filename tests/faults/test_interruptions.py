"""Ctrl-C and lost parents: a stage ends soon, in one line, with everything that it started.

`FAULTS=all pytest tests/faults/test_interruptions.py` interrupts at every moment of a list.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from pipeline.execution import scratch
from pipeline.execution.ending import starters

from .killing import Project

ALL = os.environ.get("FAULTS") == "all"
EVERY = [round((step + 0.5) / 30, 2) for step in range(24)]  # shares of a stage's time
MOMENTS = EVERY if ALL else random.Random(os.environ.get("SEED", "1")).sample(EVERY, 3)
SOON = 3.0  # seconds

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Project]:
    with closing(Project.made(tmp_path_factory.mktemp("interrupted"), empty_database)) as project:
        project.afresh()
        project.finish("tune")
        yield project


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_ends_a_stage_soon_and_says_how_to_go_on(project: Project, moment: float) -> None:
    stage = under_way(project, moment)
    began = time.monotonic()
    os.killpg(stage.pid, signal.SIGINT)  # as a terminal does
    assert stage.wait(60) == 130
    gone = until(lambda: not project.strays())
    assert gone - began < SOON
    assert project.told.strip() == (
        "tune: interrupted; finished runs are kept; the same command goes on"
    )


def under_way(project: Project, moment: float) -> "subprocess.Popen[str]":
    """A search at this share of its time, which may be shorter than it was on a busy machine."""
    for _ in range(3):
        project.afresh()
        began, stage = time.monotonic(), project.stage("tune")
        try:
            stage.wait(moment * project.took["tune"])
        except subprocess.TimeoutExpired:
            return stage
        assert stage.returncode == 0, project.told
        project.took["tune"] = time.monotonic() - began
    raise AssertionError("the search ends before it can be interrupted")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stage_ends_with_the_dvc_that_started_it(project: Project, number: int) -> None:
    project.afresh()
    dvc = project.start(sys.executable, "-m", "dvc", "repro", "tune@circles")
    until(lambda: any("pipeline tune" in line for line in project.strays()) or dvc.poll())
    time.sleep(2)
    assert dvc.poll() is None, project.told
    dvc.send_signal(number)
    dvc.wait(60)
    began = time.monotonic()
    assert until(lambda: not project.strays()) - began < SOON
    assert "Traceback" not in project.told


def test_what_a_killed_stage_left_is_removed_by_the_next(project: Project) -> None:
    project.afresh()
    stage = project.stage("tune")
    until(lambda: any(project.temporary.glob(f"*/{scratch.LOCK}")))
    stage.kill()
    stage.wait()
    until(lambda: not project.strays())
    (left,) = project.temporary.iterdir()
    foreign = project.temporary / f"{scratch.PREFIX}of-somebody"
    foreign.mkdir()
    project.finish("prepare")
    assert [*project.temporary.iterdir()] == [foreign]
    foreign.rmdir()
    assert not left.exists()


def until(holds: Callable[[], object], limit: float = 120) -> float:
    """Waits until it holds; returns when."""
    end = time.monotonic() + limit
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)
    return time.monotonic()


class Fake(psutil.Process):
    """A process of which only the command line is known."""

    def __init__(self, line: str) -> None:
        self.line = line

    def cmdline(self) -> list[str]:
        return self.line.split()


@pytest.mark.parametrize(
    ("parents", "followed"),
    [
        (["/bin/dash -c python", "python /venv/bin/dvc repro", "bash"], 2),
        (["python -m dvc repro", "sh -c dvc", "make run", "bash"], 3),
        (["python -m dvc repro", "/bin/bash -c x", "sshd"], 1),
        (["bash", "python -m dvc repro"], 0),  # typed into a shell that an editor opened
        (["sh -c nohup", "init"], 0),
    ],
)
def test_a_stage_follows_what_started_it_and_no_shell_that_may_be_closed(
    parents: list[str], followed: int
) -> None:
    given = [Fake(line) for line in parents]
    assert starters(given) == given[:followed]


@pytest.fixture
def orphans() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


def test_an_interruption_that_python_drops_is_no_traceback_and_ends_in_time(
    orphans: list[subprocess.Popen[bytes]],
) -> None:
    script = (
        "import os, signal, time, weakref\n"
        "from pipeline.execution import ending\n"
        "class Some: pass\n"
        "with ending.one_interruption('told', 0.5, 130):\n"
        "    some = Some()\n"
        "    watched = weakref.ref(some, lambda _: signal.raise_signal(signal.SIGINT))\n"
        "    del some\n"
        "    time.sleep(30)\n"
    )
    deaf = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE)
    orphans.append(deaf)
    assert deaf.stderr is not None
    assert deaf.wait(10) == 130
    assert deaf.stderr.read() == b"\ntold\n"
    deaf.stderr.close()


def test_a_process_stuck_in_a_library_is_ended_in_time(
    tmp_path: Path, orphans: list[subprocess.Popen[bytes]]
) -> None:
    script = (
        "import ctypes, sys\n"
        "from pipeline.execution import ending\n"
        "with ending.one_interruption('told', 0.5, 130):\n"
        "    while True:\n"
        "        try:\n"
        "            print('begun', flush=True)\n"
        "            ctypes.CDLL(None).sleep(30)\n"
        "        except KeyboardInterrupt: pass\n"
    )
    stuck = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    orphans.append(stuck)
    assert stuck.stdout is not None
    assert stuck.stderr is not None
    assert stuck.stdout.readline() == b"begun\n"
    stuck.send_signal(signal.SIGTERM)
    assert stuck.wait(10) == 130
    assert stuck.stderr.read() == b"\ntold\n"
    stuck.stdout.close()
    stuck.stderr.close()
