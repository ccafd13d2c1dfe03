"""One process at a time works on a data set, and on values that were chosen for its params."""

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
