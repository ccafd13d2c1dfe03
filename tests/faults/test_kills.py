"""A stage that is killed at any moment loses nothing, and leaves nothing behind.

`FAULTS=all pytest tests/faults/test_kills.py` kills fifty times; without it there is a kill of each
stage. SEED chooses other moments.
"""

import os
import random
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from .killing import STAGES, VICTIMS, Project

ALL = os.environ.get("FAULTS") == "all"
KILLS = 50 if ALL else 4
SEED = int(os.environ.get("SEED", "1"))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(12 * 3600 if ALL else 3600)]


@pytest.fixture
def project(tmp_path: Path, empty_database: Path) -> Iterator[Project]:
    with closing(Project.made(tmp_path, empty_database)) as project:
        yield project


def test_killed_stages_give_the_same_results_and_leave_nothing(project: Project) -> None:
    chance, kills = random.Random(SEED), 0
    project.afresh()
    for stage in STAGES:
        project.finish(stage)
    results, shown = project.results(), project.shown()
    assert {status for status, *_ in shown} == {"FINISHED"}
    while kills < KILLS:
        project.afresh()
        done = []
        for stage in STAGES:
            for _ in range(3 if ALL else 1):
                victim = VICTIMS[kills % len(VICTIMS)]
                if kills < KILLS and project.kill(stage, victim, chance):
                    kills += 1
                    done.append(f"{victim} of {stage}")
            project.finish(stage)
        print(f"{kills} of {KILLS} kills: {', '.join(done)}", flush=True)
        assert project.results() == results, done
        assert project.shown() == shown, done
        deadline = time.monotonic() + 20
        while (strays := project.strays()) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not strays, done
        assert not list(project.temporary.iterdir()), done
