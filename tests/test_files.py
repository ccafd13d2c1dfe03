"""What is written takes the place of the old whole, or not at all."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline import files
from pipeline.files import replacing_together


def outputs(root: Path) -> list[Path]:
    return [root / "models", root / "results" / "curves", root / "results" / "runs"]


def fill(scratch: Mapping[Path, Path], content: str) -> None:
    models, curves, runs = scratch.values()
    models.mkdir()
    for path in (models / content, curves, runs):
        path.write_text(content, encoding="utf-8")


def contents(root: Path) -> set[str]:
    """All files, as name=content; a model is named as its content."""
    paths = [path for path in root.rglob("*") if path.is_file()]
    return {f"{path.relative_to(root)}={path.read_text(encoding='utf-8')}" for path in paths}


def of(content: str) -> set[str]:
    return {f"models/{content}={content}", f"results/curves={content}", f"results/runs={content}"}


def test_all_change_together_and_nothing_else_is_left(tmp_path: Path) -> None:
    for content in ("old", "new"):
        with replacing_together(outputs(tmp_path)) as scratch:
            fill(scratch, content)
        assert contents(tmp_path) == of(content)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interruption_before_the_end_leaves_the_old_ones(
    error: type[BaseException], tmp_path: Path
) -> None:
    with replacing_together(outputs(tmp_path)) as scratch:
        fill(scratch, "old")

    def begin() -> None:
        with replacing_together(outputs(tmp_path)) as scratch:
            fill(scratch, "new")
            raise error

    with pytest.raises(error):
        begin()
    assert contents(tmp_path) == of("old")


@pytest.mark.parametrize("amid", range(4))
def test_an_interruption_while_places_change_leaves_the_new_ones(
    amid: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with replacing_together(outputs(tmp_path)) as scratch:
        fill(scratch, "old")
    remove, calls = files._remove, iter(range(100))

    def interrupted(path: Path) -> None:
        if next(calls) == amid:
            raise KeyboardInterrupt
        remove(path)

    def change() -> None:
        with replacing_together(outputs(tmp_path)) as scratch:
            fill(scratch, "new")
            monkeypatch.setattr(files, "_remove", interrupted)

    with pytest.raises(KeyboardInterrupt):
        change()
    assert contents(tmp_path) == of("new")


def test_a_checkout_has_the_committed_bytes_whatever_git_does_with_line_ends(
    tmp_path: Path,
) -> None:
    """DVC's hashes, and those of downloads, are of bytes."""
    shutil.copy(".gitattributes", tmp_path)
    (tmp_path / "table.csv").write_bytes(b"a,b\n1,2\n")
    (tmp_path / "figure.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00\n")
    git = ["git", "-c", "core.autocrlf=true", "-c", "user.name=A", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "--all"], ["commit", "-q", "-m", "files"]):
        subprocess.run([*git, *command], cwd=tmp_path, check=True, capture_output=True)
    clone = tmp_path / "clone"
    subprocess.run(
        ["git", "clone", "-q", "-c", "core.autocrlf=true", str(tmp_path), str(clone)], check=True
    )
    for name in ("table.csv", "figure.png", ".gitattributes"):
        assert (clone / name).read_bytes() == (tmp_path / name).read_bytes()
