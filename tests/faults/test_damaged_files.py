"""A damaged file costs work or one sentence, never a good file or a right result.

Each kind of file in prepared data, journal, results and models is cut in half, emptied, overwritten
with random bytes in its middle, or removed; then a stage that reads it runs. It either ends with
the results of the undamaged study, or says in one sentence which file it is and what to run, and
leaves everything else as it was. A sample of these cases runs; all of them with
`FAULTS=all python -m pytest tests/faults/test_damaged_files.py`.
"""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.figure import Figure

from pipeline.config import loading
from pipeline.errors import UserError
from pipeline.files import read_manifest
from pipeline.report import figures
from pipeline.stages import prepare, report, train, tune

from ..clone import tiny
from ..test_leaks import InProcess, Nowhere

SEED = 27  # of the sample
NAME = "circles"
RESULTS, MODELS = f"results/{NAME}", f"models/{NAME}"
JOURNAL = f".journal/{NAME}"


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def scrambled(content: bytes) -> bytes:
    middle, length = len(content) // 2, max(1, min(64, len(content) // 4))
    noise = np.random.default_rng(SEED).bytes(length)
    return content[:middle] + noise + content[middle + length :]


DAMAGES: dict[str, Callable[[bytes], bytes] | None] = {
    "cut": cut,
    "emptied": lambda content: b"",
    "scrambled": scrambled,
    "removed": None,
}
READ_BY: dict[str, str] = {
    f"data/prepared/{NAME}.npz": "tune",
    **{f"{RESULTS}/{name}": "train" for name in ("tuned.json", "trials.csv", "trial_runs.csv")},
    f"{RESULTS}/manifest-tune.json": "train",
    **{
        f"{RESULTS}/{name}": "report"
        for name in (
            *("about.json", "runs.csv", "curves.parquet", "inspections.npz", "predictions.npz"),
            *("choices.csv", "yardsticks.csv", "manifest-train.json"),
        )
    },
    **{
        f"{RESULTS}/{name}": "publish"
        for name in (
            *(
                "summary.csv",
                "metrics.json",
                "plots/curves.csv",
                "report.html",
                "figures/curve.svg",
            ),
            "manifest-report.json",
        )
    },
    f"{MODELS}/l2/tuned-0-1.keras": "publish",
    f"{MODELS}/manifest-train.json": "publish",
    **{
        f"{JOURNAL}/{name}": "train"
        for name in (
            *("runs.jsonl", "*.keras", "*.probabilities.npy", "*.inspection.npz"),
            "*.weights.npz",
        )
    },
}


@dataclass(frozen=True)
class Case:
    """A file, the damage, and the stage that reads it."""

    file: str  # a pattern: the first such file
    damage: str

    def __str__(self) -> str:
        return f"{Path(self.file).name} {self.damage}"


def cases() -> list[Case]:
    """All of them, or for each file one damage."""
    if os.environ.get("FAULTS") == "all":
        return [Case(file, damage) for file in READ_BY for damage in DAMAGES]
    sample = random.Random(SEED)
    return [Case(file, sample.choice([*DAMAGES])) for file in READ_BY]


def study(given: dict[str, Any]) -> dict[str, Any]:
    """Params of one study that trains in a second."""
    params = tiny(given)
    circles = params["studies"][NAME]
    circles["data"] |= {"test": 100, "draws": 5}
    circles["techniques"] = {name: circles["techniques"][name] for name in ("none", "l2")}
    return params | {"studies": {NAME: circles}}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a study that was prepared, tuned, trained and reported."""
    folder = tmp_path_factory.mktemp("whole")
    params = study(yaml.safe_load(Path(loading.FILE).read_text(encoding="utf-8")))
    (folder / loading.FILE).write_text(yaml.safe_dump(params), encoding="utf-8")
    shutil.copytree("data/sources", folder / "data/sources")
    with pytest.MonkeyPatch.context() as patch:
        for stage in (tune, train):
            patch.setattr("pipeline.execution.on_demand.LocalExecutor", InProcess)
            patch.setattr(stage, "Tracker", Nowhere)
        patch.setattr("pipeline.report.pages._helpers", lambda _: _in_turn)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/none.db")
        patch.chdir(folder)
        for main in (prepare.main, tune.main, train.main, report.main):
            main([NAME])
        yield folder


def _in_turn(parts: Any) -> list[Any]:
    """Processes that draw would take longer to start than the few figures to draw."""
    return [part() for part in parts]


@pytest.fixture
def folder(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, the current folder."""
    copy = tmp_path / "copy"
    shutil.copytree(whole, copy)
    monkeypatch.chdir(copy)
    return copy


def kept(folder: Path) -> dict[str, bytes]:
    """The content of all files but the journal's and logs."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    named = {path.relative_to(folder).as_posix(): path for path in paths}
    left_out = (".journal", "logs")
    return {
        name: path.read_bytes() for name, path in named.items() if not name.startswith(left_out)
    }


def decided(folder: Path) -> dict[str, Any]:
    """What the study found, without times and manifests."""
    tables = {
        name: pd.read_csv(folder / RESULTS / name)
        .drop(columns=["seconds", "mlflow_run_id"], errors="ignore")
        .to_csv()
        for name in ("trials.csv", "trial_runs.csv", "runs.csv", "choices.csv", "summary.csv")
    }
    files = ("tuned.json", "about.json", "curves.parquet", "predictions.npz", "advice.json")
    return tables | {name: (folder / RESULTS / name).read_bytes() for name in files}


def run(stage: str) -> str:
    """Runs a stage on the study; the sentence that a user would see, empty if it ends well."""
    try:
        import_module(f"pipeline.stages.{stage}").main([NAME])
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.slow
@pytest.mark.parametrize("case", cases(), ids=str)
def test_a_damaged_file_is_mended_or_told_and_nothing_good_is_lost(
    case: Case,
    whole: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = sorted(folder.glob(case.file))[0]
    damage = DAMAGES[case.damage]
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(path.read_bytes()))
    before = kept(folder)
    monkeypatch.setattr("pipeline.stages.publish.Tracker", Nothing)
    said = run(READ_BY[case.file])
    if said:
        assert path.name in said
        assert "run `" in said
        assert "\n" not in said
        assert len(said) < 400
        assert kept(folder) == before
    else:
        found, expected = decided(folder), decided(whole)
        if "choices.csv is without them" in caplog.text:  # what it lacks is told, with the remedy
            assert "`python -m pipeline tune circles`" in caplog.text
            assert found.pop("choices.csv") != expected.pop("choices.csv")
        assert found == expected


class Nothing(Nowhere):
    """A tracker that publishes nothing, and may be asked only once all files are checked."""

    added = present = restored = 0
    failure = None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["../../../../escaped", "x<script>alert(1)</script>", "a/b"])
@pytest.mark.parametrize("stage", ["report", "publish"])
def test_a_name_that_is_none_goes_nowhere(name: str, stage: str, folder: Path) -> None:
    """Without manifests too, as a stranger's results may come."""
    for manifest in folder.rglob("manifest-*.json"):
        manifest.unlink()
    table = folder / RESULTS / "runs.csv"
    runs = pd.read_csv(table)
    runs.replace({"technique": {"l2": name}}).to_csv(table, index=False)
    before = kept(folder.parent)
    said = run(stage)
    assert repr(name[:40]) in said
    assert kept(folder.parent) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("link", "stage"),
    [(f"{RESULTS}/figures", "report"), (MODELS, "train"), (RESULTS, "tune"), ("data/raw", "fetch")],
)
def test_nothing_is_written_through_a_link_out_of_the_project(
    link: str, stage: str, folder: Path, tmp_path: Path
) -> None:
    elsewhere, path = tmp_path / "elsewhere", folder / link
    if path.exists():
        path.rename(elsewhere)
    else:
        elsewhere.mkdir()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(elsewhere)
    before = kept(elsewhere)
    said = run(stage)
    assert kept(elsewhere) == before
    if stage == "train":  # its whole folder of models is replaced, and so is the link
        assert not said
        assert not path.is_symlink()
    else:
        assert f"{link} is a link to {elsewhere}" in said
        assert "outside this project; expected a folder" in said


def test_links_are_addresses_of_the_web() -> None:
    for wrong in ("javascript:alert(1)", "data:text/html,x", 'http://x" onclick="y', "//x"):
        with pytest.raises(UserError, match=r"--ui must be an http\(s\) address"):
            report.address(wrong)
    assert report.address("https://mlflow.example.org/a") == "https://mlflow.example.org/a"


def test_a_name_is_no_markup_in_the_ids_of_a_figure() -> None:
    drawn = figures.svg(Figure(), 'x"><script>alert(1)</script>', "a figure")
    assert "<script" not in drawn
    assert 'id="x---script-' in drawn


def test_a_stages_manifest_lists_all_that_it_declares(whole: Path) -> None:
    """But for models, which have their own, and the database of Optuna, which nothing reads."""
    stages = yaml.safe_load(Path(__file__).parents[2].joinpath("dvc.yaml").read_text("utf-8"))
    for stage in ("tune", "train", "report"):
        body = stages["stages"][stage]["do"]
        declared = [*body["outs"], *body.get("metrics", []), *body.get("plots", [])]
        paths = [each if isinstance(each, str) else next(iter(each)) for each in declared]
        named = {path.replace("${key}", NAME).removeprefix(f"{RESULTS}/") for path in paths}
        named -= {f"manifest-{stage}.json", MODELS, "optuna.db"}
        listed = read_manifest(whole / RESULTS / f"manifest-{stage}.json", "")
        assert {name for name in named if (whole / RESULTS / name).is_file()} <= {*listed}
        assert {name.split("/")[0] for name in listed} == {name.split("/")[0] for name in named}
