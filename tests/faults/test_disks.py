"""A disk that is full or can only be read: told before work starts, or when it happens.

Small disks are mounted, which needs the rights of root; without them these tests are skipped.
`FAULTS=all python -m pytest tests/faults/test_disks.py` lets a stage fill each of its disks.
"""

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.__main__ import main
from pipeline.errors import UserError
from pipeline.files import replacing_together
from pipeline.stages import STAGES
from tests.clone import Clone
from tests.faults import sampled

FEW = 96_000  # bytes that are free on a disk that a stage fills
Mount = Callable[[Path], Path]


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Mounts 20 MB in place of a folder, with its content; unmounts at the end."""
    mounted: list[Path] = []

    def small(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        kept = folder.with_name(f"{folder.name}.kept")
        shutil.copytree(folder, kept, symlinks=True)
        command = ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(folder)]
        if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("a small disk cannot be mounted here")
        mounted.append(folder)
        shutil.copytree(kept, folder, symlinks=True, dirs_exist_ok=True)
        return folder

    yield small
    for folder in reversed(mounted):
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, free: int = 0) -> None:
    """Leaves as many free bytes on the disk of a folder."""
    with (folder / "filler").open("wb") as file:
        left = shutil.disk_usage(folder).free - free
        os.posix_fallocate(file.fileno(), 0, max(left, 1))


def lock(folder: Path) -> None:
    """Makes the disk of a folder one that can only be read."""
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)


CASES = [
    (stage, folder)
    for stage, properties in STAGES.items()
    for folder in properties.writes
    if folder != "logs" or stage == "report"
]


@pytest.mark.parametrize(("stage", "place"), CASES)
@pytest.mark.parametrize(("spoil", "words"), [(fill, "no space left"), (lock, "only be read")])
def test_a_disk_of_no_use_is_told_before_any_work(
    stage: str,
    place: str,
    spoil: Callable[[Path], None],
    words: str,
    tmp_path: Path,
    mount: Mount,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    project = tmp_path / "project"
    folder = project / place.format("circles")
    spoil(mount(folder))
    monkeypatch.chdir(project)
    monkeypatch.setattr("pipeline.__main__._imported", None)  # no work begins
    assert main([stage, "circles"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{stage}: {project if place == '.' else place.format('circles')} ")
    assert words in line
    assert "nothing was begun; what is finished is kept" in line
    assert line.endswith("then run the same command again")
    assert len(line) < 400


def test_a_full_folder_for_temporary_files_is_told_before_any_work(
    tmp_path: Path,
    mount: Mount,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = mount(tmp_path / "temporary")
    fill(folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    assert main(["train", "circles"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"train: {folder} has no space left, so nothing was begun;")


def test_a_folder_that_is_a_mounted_disk_is_not_emptied(
    tmp_path: Path, mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = mount(tmp_path / "models/circles").relative_to(tmp_path)
    (folder / "none.keras").write_bytes(b"of before")
    told = r"models/circles is where a disk is mounted.*are kept\. Unmount it, or mount models inst"
    with (
        pytest.raises(UserError, match=told),
        replacing_together([folder, Path("runs.csv")]) as new,
    ):
        new[folder].mkdir()
    assert (folder / "none.keras").read_bytes() == b"of before"
    assert not Path("models/.partial-circles").exists()


def only_circles(params: dict[str, Any]) -> dict[str, Any]:
    """The params with one study of two techniques."""
    circles = params["studies"]["circles"]
    circles["techniques"] = {name: circles["techniques"][name] for name in ("none", "l2")}
    return params | {"studies": {"circles": circles}}


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A project whose study is tuned, without a store."""
    clone = Clone(tmp_path_factory.mktemp("tuned"))
    clone.edit(only_circles)
    for stage in ("fetch", "prepare", "tune"):
        clone.run(sys.executable, "-m", "pipeline", stage, "circles")
    shutil.rmtree(clone.folder / "mlartifacts")
    for path in clone.folder.glob("mlflow.db*"):
        path.unlink()
    return clone


def copied(clone: Clone, folder: Path) -> Clone:
    """A copy of a project."""
    shutil.copytree(clone.folder, folder, symlinks=True)
    other = Clone.__new__(Clone)
    other.folder = folder
    return other


def trained(folder: Path) -> list[dict[str, str]]:
    """The rows of runs.csv without times and MLflow's ids."""
    with (folder / "results/circles/runs.csv").open(encoding="utf-8") as file:
        rows = [*csv.DictReader(file)]
    return [{k: v for k, v in r.items() if k not in ("seconds", "mlflow_run_id")} for r in rows]


@pytest.fixture(scope="module")
def expected(tuned: Clone, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """What training gives on a disk with space."""
    clone = copied(tuned, tmp_path_factory.mktemp("expected") / "project")
    clone.run(sys.executable, "-m", "pipeline", "train", "circles")
    return trained(clone.folder)


# Starts although little is free, as if the disk had been filled meanwhile.
BEGUN = (
    "import sys; from pipeline import files; files.NEEDED = 4096\n"
    "from pipeline.__main__ import main\n"
    "if __name__ == '__main__': sys.exit(main(['train', 'circles']))\n"
)
VIEW = ("database", "artifacts", "temporary")  # for MLflow, without which training goes on
PLACES = (".journal/circles", "results/circles", "models", "whole", *VIEW)


@pytest.mark.slow
@pytest.mark.parametrize("place", sampled(PLACES, 1))
def test_a_disk_that_is_filled_meanwhile_costs_nothing_that_is_finished(
    place: str, tuned: Clone, expected: list[dict[str, str]], tmp_path: Path, mount: Mount
) -> None:
    clone = copied(tuned, tmp_path / "project")
    store = tmp_path / "store"
    folders = {"temporary": tmp_path / "temporary", "whole": clone.folder}
    folders |= {"database": store, "artifacts": store / "mlartifacts"}
    folder = folders.get(place, clone.folder / place)
    fill(mount(folder), FEW)
    variables = {"MLFLOW_TRACKING_URI": f"sqlite:///{store}/mlflow.db"} if place in VIEW else {}
    if place == "temporary":
        variables["TMPDIR"] = str(folder)
    done = clone.attempt(sys.executable, "-c", BEGUN, folder=clone.folder, **variables)
    lines = done.stderr.splitlines()
    assert all("no space left" in line for line in lines), done.stderr
    assert 1 <= len(lines) <= 2  # the store may be on the same disk
    if place in VIEW:
        assert done.returncode == 0
        assert "results are not affected" in lines[0]
        assert "`python -m pipeline publish circles`" in lines[0]
    else:
        assert done.returncode == 1
        assert "finished runs are kept" in lines[-1]
        assert lines[-1].endswith("Free space there, then run the same command again")
    (folder / "filler").unlink()
    clone.run(sys.executable, "-m", "pipeline", "train", "circles")
    assert trained(clone.folder) == expected
