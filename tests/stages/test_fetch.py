"""The fetch stage as a user calls it."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.stages import fetch

HEAVY = {"tensorflow", "keras", "mlflow", "optuna"}


def test_generated_data_need_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    fetch.main(["circles"])
    assert (tmp_path / "data" / "raw" / "circles" / "SOURCE.json").exists()
    assert capsys.readouterr().out == "circles: nothing to fetch\n"


def test_the_mirror_is_read_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_MIRROR", "/no/such/folder")
    with pytest.raises(UserError, match=r"DATA_MIRROR must be a folder .*'/no/such/folder'"):
        fetch.main(["mnist"])
    assert not (tmp_path / "data" / "raw").exists()


def test_an_unknown_data_set_lists_the_choices(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        fetch.main(["minst"])
    assert "choose from" in capsys.readouterr().err


@pytest.mark.parametrize("stage", ["fetch", "prepare"])
def test_the_data_stages_start_without_the_heavy_packages(stage: str) -> None:
    program = (
        f"import sys; from pipeline.stages import {stage}\n"
        f"print(*sorted({HEAVY} & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == ""
