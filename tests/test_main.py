"""The command line: quick to start, and clear about mistakes."""

import os
import pkgutil
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline import stages
from pipeline.__main__ import main
from pipeline.execution.processes import HOME
from pipeline.stages import STAGES
from pipeline.techniques.registry import TECHNIQUES


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_module_of_a_stage_is_in_the_list_of_stages() -> None:
    modules = {module.name for module in pkgutil.iter_modules(stages.__path__)}
    assert modules == {name.replace("-", "_") for name in STAGES}


def test_help_lists_every_stage() -> None:
    shown = run("--help")
    assert shown.returncode == 0
    assert all(f"  {stage} " in shown.stdout for stage in STAGES)


def test_techniques_lists_the_whole_registry() -> None:
    shown = run("techniques").stdout
    for name, technique in TECHNIQUES.items():
        assert f"\n{name}: {technique.summary}" in f"\n{shown}"


def test_a_reader_that_closes_the_pipe_is_no_failure() -> None:
    """As `| head -1` does, of an output that is larger than a pipe."""
    script = (
        "import sys; from pipeline.stages import techniques\n"
        "def main(argv):\n"
        "    print('first'); sys.stdout.flush(); print('x' * 1_000_000)\n"
        "techniques.main = main\n"
        "from pipeline.__main__ import main\n"
        "sys.exit(main(['techniques']))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"first\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_a_terminal_without_a_letter_shows_a_plain_one(encoding: str) -> None:
    script = (
        "from pipeline import logs; logs.prepare_terminal();"
        "print('\N{MINUS SIGN}1 \N{BOX DRAWINGS LIGHT HORIZONTAL} \N{GREEK SMALL LETTER LAMDA}')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        check=True,
        env=os.environ | {"PYTHONIOENCODING": encoding},
    )
    assert done.stdout == b"-1 - ?\n"


def test_an_unknown_stage_lists_the_known_ones() -> None:
    shown = run("tarin", "circles")
    assert shown.returncode == 2
    assert f"unknown stage 'tarin'; expected one of {', '.join(STAGES)}" in shown.stderr


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_help_does_not_import_tensorflow(stage: str) -> None:
    script = (
        "import sys, runpy\n"
        f"sys.argv = ['pipeline', {stage!r}, '--help']\n"
        "try: runpy.run_module('pipeline', run_name='__main__')\n"
        "except SystemExit as done: assert not done.code, done\n"
        "assert not {'tensorflow', 'keras'} & sys.modules.keys()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout


def test_a_stage_that_lacks_its_input_says_what_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy("params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["train", "circles"]) == 2
    assert "python -m pipeline prepare circles" in capsys.readouterr().err


@pytest.mark.parametrize("stage", ["fetch", "prepare", "tune", "report", "publish"])
def test_outside_the_environment_a_stage_says_how_to_enter_it(stage: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-m", "pipeline", stage, "circles"],  # without site-packages
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(HOME)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert f"{stage}: No module named " in done.stderr
    assert ".venv/bin/activate" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_stage_says_so_and_leaves_nothing_half_made(
    number: signal.Signals, tmp_path: Path
) -> None:
    shutil.copy("params.yaml", tmp_path)
    shutil.copytree("data/sources", tmp_path / "data/sources")
    (tmp_path / "tmp").mkdir()
    environment = os.environ | {"PYTHONPATH": str(HOME), "TMPDIR": str(tmp_path / "tmp")}
    command = [sys.executable, "-m", "pipeline"]
    subprocess.run([*command, "fetch", "digits"], cwd=tmp_path, env=environment, check=True)
    subprocess.run([*command, "prepare", "digits"], cwd=tmp_path, env=environment, check=True)
    # Under nohup this process, and so the stage, would ignore a lost terminal.
    hangup = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    stage = subprocess.Popen(
        [*command, "tune", "digits"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE
    )
    signal.signal(signal.SIGHUP, hangup)
    with stage:
        try:
            end = time.monotonic() + 120
            while not (journal := list(tmp_path.glob(".journal/digits/runs.jsonl"))):
                assert stage.poll() is None
                assert time.monotonic() < end
                time.sleep(0.1)
            stage.send_signal(number)
            _, told = stage.communicate(timeout=60)
        finally:
            stage.kill()
    message = "tune: interrupted; finished runs are kept; the same command goes on"
    assert told.decode().split("\n") == ["", message, ""]
    assert stage.returncode == 130
    assert not list((tmp_path / "tmp").iterdir())
    assert not (tmp_path / "results/digits/tuned.json").exists()
    assert journal[0].read_bytes().endswith(b"\n")
