"""Processes start with what they need, and nothing is lost by it."""

import gc
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import logs
from pipeline.execution import processes
from pipeline.execution.devices import forked


def test_what_was_imported_is_searched_for_no_garbage_and_later_things_are() -> None:
    before = gc.get_freeze_count()
    kept = [[i] for i in range(1000)]
    with pytest.raises(ModuleNotFoundError), processes.importing():
        importlib.import_module("no_such_module")
    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(kept)
    gc.unfreeze()


def test_what_libraries_write_past_python_is_kept_in_a_file_for_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for word in (b"no CUDA\n", b"still none\n"):
        with processes.libraries_logged():
            os.write(2, word)
    os.write(2, b"complaint\n")
    assert capfd.readouterr().err == "complaint\n"
    assert logs.LIBRARIES.read_text() == "no CUDA\nstill none\n"


def test_the_file_of_the_libraries_begins_anew_when_it_is_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for size in (processes.LIMIT, 1):
        with processes.libraries_logged():
            os.write(2, bytes(size))
        assert logs.LIBRARIES.stat().st_size >= processes.LIMIT
    with processes.libraries_logged():
        os.write(2, b"new\n")
    assert logs.LIBRARIES.read_text() == "new\n"


def test_a_worker_writes_its_own_words_alone_on_the_terminal(tmp_path: Path) -> None:
    script = (
        "import os, sys, pipeline.execution.preload\n"
        "os.write(2, b'CUDA error\\n')\n"
        "print('a warning', file=sys.stderr)\n"
    )
    environment = {name: value for name, value in os.environ.items() if "TF_CPP" not in name}
    environment["PYTHONPATH"] = str(processes.HOME)
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "a warning\n")
    told = (tmp_path / logs.LIBRARIES).read_text()
    assert "TensorFlow" in told
    assert told.endswith("CUDA error\n")


@pytest.mark.slow
def test_workers_can_be_forks_of_what_is_imported_for_them() -> None:
    """A thread that imports left behind would be missing in a fork."""
    script = (
        "import os, numpy, scipy.linalg\n"
        "before = set(os.listdir('/proc/self/task'))\n"  # with OpenBLAS's, which restarts them
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
