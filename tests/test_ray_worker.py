"""What can be said of work on other machines without any, and without Ray."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.sections import Engine
from pipeline.errors import UserError
from pipeline.execution import ray_worker
from pipeline.execution.jobs import Measure, Score, Train
from pipeline.execution.journal import Journal
from pipeline.execution.on_demand import OnDemand

RUN: Any = None  # no job here looks at its runs


@pytest.mark.parametrize(
    ("job", "names"),
    [
        (Train([RUN] * 3, [Path("a.npz"), None, Path("b.npz")]), ["a.npz", "b.npz"]),
        (Train([RUN], [None]), []),
        (Measure(RUN, Path("m.keras")), ["m.keras"]),
        (Score([RUN] * 2, [Path("a.npz"), Path("b.npz")]), ["a.npz", "b.npz"]),
    ],
)
def test_a_job_reads_copies_of_the_files_that_it_carries(
    job: Train | Measure | Score, names: list[str]
) -> None:
    assert [path.name for path in job.files] == names
    contents = {path: path.name.encode() for path in job.files}  # which are not here
    with ray_worker._placed(job, contents) as placed:
        moved: Sequence[Path] = placed.files  # type: ignore[attr-defined]
        assert [path.read_bytes() for path in moved] == [name.encode() for name in names]
        assert [path.suffix for path in moved] == [Path(name).suffix for name in names]
        if isinstance(placed, Train) and isinstance(job, Train):
            assert [each is None for each in placed.checkpoints] == [
                each is None for each in job.checkpoints
            ]
    assert not any(path.exists() for path in moved)


def test_a_job_without_files_stays_as_it_is() -> None:
    @dataclass(frozen=True)
    class Plain:
        def run(self, worker: object) -> int:
            return 1

    job = Plain()
    with ray_worker._placed(job, {}) as placed:
        assert placed is job


def test_without_ray_the_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    for name in ("cluster", "ray_executor"):
        monkeypatch.delitem(sys.modules, f"pipeline.execution.{name}", raising=False)
    executor = OnDemand(tmp_path / "x.npz", Engine(executor="ray"), Journal("circles", tmp_path))
    with pytest.raises(UserError, match=r"needs the package ray.*uv sync --frozen --extra ray"):
        assert executor.slots
    executor.close()


def test_a_package_that_is_missing_has_no_version() -> None:
    assert ray_worker._version("no-such-package") == ray_worker.MISSING
    assert ray_worker._version("numpy") != ray_worker.MISSING
