"""MLproject names commands and parameters that exist, and its environments follow uv.lock."""

import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.config import loading
from pipeline.config.overrides import NAMES, Request
from pipeline.errors import UserError
from pipeline.stages import study

PROJECT: dict[str, Any] = yaml.safe_load(Path("MLproject").read_text(encoding="utf-8"))
POINTS: dict[str, Any] = PROJECT["entry_points"]


def test_the_entry_points_are_the_whole_study_and_its_parts() -> None:
    assert list(POINTS) == ["main", "tune", "train", "report"]


@pytest.mark.parametrize("name", POINTS)
def test_a_command_runs_a_stage_that_takes_its_parameters(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = POINTS[name]
    assert tuple(point["parameters"]) == NAMES
    defaults = {key: shlex.quote(each["default"]) for key, each in point["parameters"].items()}
    shell, python, flag, package, stage, *argv = shlex.split(point["command"].format(**defaults))
    assert [shell, python, flag] == ["exec", "python", "-m"]  # exec: signals reach Python
    assert find_spec(f"{package}.stages.{stage}") is not None
    until, request = study.arguments(argv)
    assert until == ("overview" if name == "main" else name)
    assert request == Request()


@pytest.mark.parametrize("name", POINTS)
@pytest.mark.parametrize("parameter", NAMES)
def test_every_parameter_of_every_entry_point_is_checked(name: str, parameter: str) -> None:
    values = dict.fromkeys(NAMES, loading.FILE) | {parameter: "no, not this"}
    command = POINTS[name]["command"].format(**{k: shlex.quote(v) for k, v in values.items()})
    with pytest.raises(UserError, match=f"command line:{parameter}: "):
        study.main(shlex.split(command)[5:])


def test_requirements_are_those_of_the_lock() -> None:
    """For MLflow's default manager; its name of an environment also follows requirements.txt."""
    uv = Path(sys.executable).with_name("uv")
    flags = ["--frozen", "--no-dev", "--no-hashes", "--no-annotate", "--no-header", "--offline"]
    made = subprocess.run([uv, "export", *flags], capture_output=True, text=True, check=True)
    kept = Path("requirements.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in kept if not line.startswith("#")] == made.stdout.splitlines()
    environment = yaml.safe_load(Path(PROJECT["python_env"]).read_text(encoding="utf-8"))
    assert environment["dependencies"] == ["-r requirements.txt"]
