"""Times measured in turn cancel what the machine does meanwhile."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import datasets, results, stages
from pipeline.analysis import inference
from pipeline.analysis.claims import CLAIMS, by_id, compared_by
from pipeline.analysis.judging import judge
from pipeline.datasets import digits
from pipeline.datasets.digits import DigitsData
from pipeline.stages import timing
from tests.synthetic import make_runs, write_results


class Machine:
    """A clock that calls move on, on a machine that is slower now and then, and at first."""

    def __init__(self, slow: float) -> None:
        self.now, self.calls, self.slow = 0.0, 0, slow

    def clock(self) -> float:
        return self.now

    def work(self, seconds: float) -> None:
        self.calls += 1
        hindered = self.calls % 5 == 0 or self.calls <= 2
        self.now += seconds * (self.slow if hindered else 1)


@given(st.floats(0.2, 5), st.floats(1, 100), st.integers(0, 1000))
def test_calls_are_told_apart_by_what_they_take(ratio: float, slow: float, seed: int) -> None:
    machine = Machine(slow)
    calls = {"one": lambda: machine.work(1), "other": lambda: machine.work(ratio)}
    found = inference.interleaved(calls, np.random.default_rng(seed), 61, machine.clock)
    assert found["other"] / found["one"] == pytest.approx(ratio)
    assert machine.calls == 2 * 62


def test_times_join_the_runs_that_they_are_of(tmp_path: Path) -> None:
    runs = pd.DataFrame({"key": ["a", "7", "c"], "seed": [0, 1, 2]})
    path = tmp_path / results.TIMES
    assert inference.joined(runs, tmp_path) is runs
    pd.DataFrame({"key": ["7", "a"], inference.COLUMN: [0.2, 0.1]}).to_csv(path, index=False)
    found = inference.joined(runs, tmp_path)
    assert list(found["key"]) == ["a", "7", "c"]
    np.testing.assert_array_equal(found[inference.COLUMN], [0.1, 0.2, np.nan])
    others = runs.assign(key=["x", "y", "z"])  # trained anew, and not yet timed
    assert inference.COLUMN not in inference.joined(others, tmp_path)


def test_what_is_timed_is_what_claims_compare() -> None:
    assert compared_by(inference.COLUMN, "digits") == {"none", "l1", "l2"}
    assert compared_by(inference.COLUMN, "circles") == set()
    assert {c.id for c in CLAIMS if any(s.measure == inference.COLUMN for s in c.statements)} == {
        "C3"
    }


@pytest.mark.parametrize(
    ("study", "kept"),
    [("circles", ["model"]), ("digits", [])],  # no claim times it; no model of it was kept
)
def test_a_study_without_models_to_time_gets_an_empty_table_without_tensorflow(
    study: str, kept: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy("params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    made = make_runs({"none": 0.0, "l2": 0.0}, dataset=study)
    made = made.drop(columns={"model"} - {*kept})
    folder = write_results(Path("results") / study, made)
    program = f"import sys; from pipeline.__main__ import main; code = main(['timing', {study!r}])"
    program += "; print(code, 'tensorflow' in sys.modules)"
    path = {"PYTHONPATH": str(Path(stages.__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.endswith("\n0 False\n")
    table = pd.read_csv(folder / results.TIMES)
    assert list(table.columns) == ["key", "technique", "setting", "seed", inference.COLUMN]
    assert table.empty
    runs = pd.read_csv(folder / "runs.csv")
    assert inference.joined(runs, folder) is runs


@pytest.mark.slow
def test_stored_models_of_a_seed_are_timed_on_its_test_examples_and_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    shutil.copy("params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(inference, "ROUNDS", 3)
    # Threads cannot be set where TensorFlow has run already.
    monkeypatch.setattr("pipeline.engine.backend.set_up", lambda deterministic: None)
    data = digits.prepare("digits", DigitsData(input="", draws=2), 1)
    datasets.save(data, results.prepared("digits"))
    runs = make_runs(dict.fromkeys(("none", "l1", "l2", "dropout"), 0.0), seeds=2, dataset="digits")
    model = keras.Sequential(
        [keras.Input((8, 8)), keras.layers.Flatten(), keras.layers.Dense(10, "softmax")]
    )
    for path in map(Path, runs["model"]):
        path.parent.mkdir(parents=True, exist_ok=True)
        model.save(path)
    runs.loc[runs["seed"] == 1, "model"] = None  # as of seeds whose models are not kept
    folder = write_results(Path("results/digits"), runs.assign(protocol="leak_free"))
    timing.main(["digits"])
    table = pd.read_csv(folder / results.TIMES)
    assert sorted(table["technique"]) == ["l1", "l2", "none"]  # what the claim compares
    assert (table["seed"] == 0).all()
    assert (table[inference.COLUMN] > 0).all()
    joined = inference.joined(results.read_runs(folder), folder)
    claim = by_id("C3")
    case = next(case for case in claim.other_cases if case.study == "digits")
    assert [each.n for each in judge(claim, {"digits": joined}, case).evidence] == [1, 1]
