"""Processes start with what they need, and nothing is lost by it."""

import gc
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.execution import processes
from pipeline.execution.devices import forked


def test_hidden_packages_cannot_be_imported_for_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with processes.without(("colorsys",)), pytest.raises(ModuleNotFoundError):
        importlib.import_module("colorsys")
    assert importlib.import_module("colorsys")


def test_packages_that_are_there_already_stay() -> None:
    with processes.without(("gc",)):
        assert importlib.import_module("gc") is gc


def test_what_was_imported_is_searched_for_no_garbage_and_later_things_are() -> None:
    before = gc.get_freeze_count()
    kept = [[i] for i in range(1000)]
    with pytest.raises(ModuleNotFoundError), processes.importing():
        importlib.import_module("no_such_module")
    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(kept)
    gc.unfreeze()


def test_what_libraries_print_past_python_is_dropped_for_now(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with processes.without_greetings():
        os.write(2, b"greeting\n")
    os.write(2, b"complaint\n")
    assert capfd.readouterr().err == "complaint\n"


@pytest.mark.slow
def test_workers_can_be_forks_of_what_is_imported_for_them() -> None:
    """A thread that imports left behind would be missing in a fork."""
    script = (
        "import os, numpy\n"
        "before = set(os.listdir('/proc/self/task'))\n"  # with those of numpy, which restarts them
        "import pipeline.execution.preload, sys\n"
        "assert 'tensorflow' in sys.modules\n"
        "assert set(os.listdir('/proc/self/task')) == before\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.slow
def test_what_is_imported_for_workers_is_there_in_a_fork(tmp_path: Path) -> None:
    """Also where the package is not in the current folder, as in a study with other values."""
    if not forked():
        pytest.skip("workers are no forks here")
    script = (
        "import multiprocessing, sys\n"
        f"sys.path.insert(0, {str(processes.HOME)!r})\n"
        "from pipeline.execution import processes\n"
        "processes.begin_preload()\n"
        "with multiprocessing.get_context('forkserver').Pool(1) as pool:\n"
        '    assert pool.apply(eval, (\'"tensorflow" in __import__("sys").modules\',))\n'
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)


@pytest.mark.slow
@pytest.mark.parametrize("module", ["execution.preload", "stages.timing"])
def test_tensorflow_is_asked_for_onednn_before_it_is_imported(module: str) -> None:
    script = (
        "import os, sys\n"
        "class Look:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'tensorflow':\n"
        "            print(os.environ.get('TF_ENABLE_ONEDNN_OPTS'))\n"
        "sys.meta_path.insert(0, Look())\n"
        f"import pipeline.{module}\n"
        "from pipeline import engine\n"  # what timing imports when it runs
    )
    environment = {name: value for name, value in os.environ.items() if "ONEDNN" not in name}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


@pytest.mark.slow
def test_a_folder_too_long_for_a_socket_is_no_place_for_forks(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    script = "from pipeline.execution import processes; assert not processes.begin_preload()"
    environment = os.environ | {"PYTHONPATH": str(processes.HOME), "TMPDIR": str(folder)}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
