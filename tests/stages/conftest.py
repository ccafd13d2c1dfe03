"""What tests of stages share."""

import shutil
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder, which DVC does not know, with the repository's params.yaml and inputs."""
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    shutil.copytree(REPOSITORY / "data/sources", tmp_path / "data/sources")
    monkeypatch.chdir(tmp_path)
    return tmp_path
