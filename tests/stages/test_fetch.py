"""The fetch stage as a user calls it."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.__main__ import main
from pipeline.errors import UserError
from pipeline.stages import fetch

HEAVY = {"tensorflow", "keras", "mlflow", "optuna"}


def test_generated_data_need_no_network(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fetch.main(["circles"])
    assert (here / "data" / "raw" / "circles" / "SOURCE.json").exists()
    assert capsys.readouterr().out == "circles: nothing to fetch\n"


def test_the_mirror_is_read_from_the_environment(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_MIRROR", "/no/such/folder")
    with pytest.raises(UserError, match=r"`DATA_MIRROR` must be .* folder .*'/no/such/folder'"):
        fetch.main(["mnist"])
    assert not (here / "data" / "raw").exists()


@pytest.mark.parametrize("stage", ["fetch", "prepare", "tune", "train", "report", "timing"])
def test_an_unknown_study_lists_the_choices(
    stage: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([stage, "minst"]) == 2
    told = capsys.readouterr().err
    assert "unknown study 'minst' in params.yaml:studies; did you mean 'mnist'? expected" in told
    assert not (here / "results").exists()


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
