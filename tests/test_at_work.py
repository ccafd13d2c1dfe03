"""One process at a time works on a data set, and on values that were chosen for its params."""

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline import datasets, results
from pipeline.config import loading
from pipeline.datasets.sources import prepare
from pipeline.errors import UserError
from pipeline.execution import journal
from pipeline.stages import train

from .clone import tiny
from .plans import chosen
from .store import wait_until

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_a_data_set_is_held_by_one_process_until_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = "from pipeline.execution import journal\nwith journal.at_work('digits'):\n    input()\n"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as other:
        wait_until(lambda: held("digits") or other.poll() is not None, 60)
        assert held("digits")
        assert not held("circles")
        other.kill()
    assert not held("digits")


def held(dataset: str) -> bool:
    try:
        with journal.at_work(dataset):
            return False
    except UserError as error:
        return f"{dataset}: another process is tuning, training or publishing this study" in str(
            error
        )


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_refused_with_a_way_on(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(UserError) as refused, journal.at_work("digits"):
        pass
    told = str(refused.value)
    assert told.startswith(".journal/digits.lock: files cannot be locked here")
    assert f"set {journal.FOLDER} to a folder on a local disk" in told
    assert len(told) < 400


def test_the_journal_can_be_in_another_folder(tmp_path: Path) -> None:
    code = (
        "import os; from pipeline.execution.journal import Journal, at_work\n"
        "with at_work('digits'):\n"
        "    os.chdir('/')\n"
        "    print(Journal('digits').folder)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), journal.FOLDER: "local"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{tmp_path}/local/digits\n"
    assert (tmp_path / "local/digits.lock").exists()
    assert not (tmp_path / ".journal").exists()


def test_values_chosen_for_other_params_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = tiny(yaml.safe_load(Path(loading.FILE).read_text(encoding="utf-8")))
    (tmp_path / loading.FILE).write_text(yaml.safe_dump(given), encoding="utf-8")
    shutil.copytree("data/sources", tmp_path / "data/sources")
    monkeypatch.chdir(tmp_path)
    data = prepare("digits", loading.load().study("digits").data, 0, Path("nowhere"))
    datasets.save(data, results.prepared("digits"))
    none = chosen({"none": {"learning_rate": 0.1}})["techniques"]["none"]
    tuned = {"none": none | {"study_digest": "of-other-params"}}
    path = results.RESULTS / "digits" / "tuned.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"task": "classification", "techniques": tuned}), encoding="utf-8")
    with pytest.raises(
        UserError, match=r"tuned.json was made with other parameters or data \(none\); run `python"
    ):
        train.main(["digits"])
