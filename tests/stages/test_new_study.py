"""`new-study` writes a valid study from people's own data, or changes nothing and says why."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from sklearn.datasets import load_digits, load_iris

from pipeline.config import loading
from pipeline.datasets import Dataset
from pipeline.datasets.sources import prepare
from pipeline.errors import UserError
from pipeline.stages import new_study

PARAMS = Path("params.yaml").read_text("utf-8")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with params.yaml alone; neither git nor DVC are there."""
    (tmp_path / "params.yaml").write_text(PARAMS, "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table(rows: int = 120, **columns: Any) -> pd.DataFrame:
    """Numbers, categories and a target of two classes."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=rows)
    made = {"x": x, "colour": rng.choice(["red", "blue"], rows), "y": np.where(x > 0, "yes", "no")}
    return pd.DataFrame(made | columns)


def pictures(folder: Path, count: int = 40) -> Path:
    """A folder with two classes of small grey pictures."""
    digits = load_digits(n_class=2)
    for index in range(count):
        path = folder / f"class {digits.target[index]}" / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[index] * 15).astype(np.uint8)).save(path)
    return folder


def arrays(path: Path, **others: Any) -> Path:
    """Pictures of digits as arrays."""
    digits = load_digits()
    np.savez(path, **{"x": digits.images[:400], "y": digits.target[:400]} | others)
    return path


def add(*argv: object) -> None:
    """Runs the stage."""
    new_study.main([str(each) for each in argv])


def prepared(name: str) -> Dataset:
    """The data of a study that params.yaml has."""
    settings = loading.load()
    return prepare(name, settings.study(name).data, settings.seed, Path())


def written(frame: pd.DataFrame, name: str = "mine.csv") -> Path:
    frame.to_csv(name, index=False)
    return Path(name)


KINDS: Mapping[str, Callable[[], tuple[object, ...]]] = {
    "csv": lambda: (written(table()), "--target", "y"),
    "tsv": lambda: (_tsv(), "--target", "y"),
    "csv.gz": lambda: (written(table(), "mine.csv.gz"), "--target", "y"),
    "parquet": lambda: (_parquet(), "--target", "y"),
    "regression": lambda: (written(table(y=np.linspace(0, 9, 120))), "--target", "y"),
    "folder": lambda: (pictures(Path("mine")),),
    "npz": lambda: (arrays(Path("mine.npz")),),
    "npz of vectors": lambda: (arrays(Path("mine.npz"), x=load_digits().data[:400]),),
    "npz with test": lambda: (
        arrays(Path("mine.npz"), x_test=load_digits().images[400:450], y_test=[0, 1] * 25),
    ),
    "sklearn": lambda: ("sklearn:wine", "--name", "mine"),
    "sklearn's digits": lambda: ("sklearn:digits", "--name", "mine"),
}


def _tsv() -> Path:
    table().to_csv("mine.tsv", sep="\t", index=False)
    return Path("mine.tsv")


def _parquet() -> Path:
    table().to_parquet("mine.parquet")
    return Path("mine.parquet")


@pytest.mark.parametrize("kind", KINDS)
def test_a_study_of_each_kind_is_valid_and_says_how_to_go_on(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    add(*KINDS[kind]())
    told = capsys.readouterr().out
    assert told.endswith("next: dvc repro report@mine\n")
    assert "minutes on" in told
    data = prepared("mine")
    assert np.isfinite(data.x).all()
    assert not data.leaks("leak_free")
    others = yaml.safe_load(Path("params.yaml").read_text("utf-8"))["studies"]
    del others["mine"]
    assert others == yaml.safe_load(PARAMS)["studies"]


def test_a_gain_by_rows_is_a_second_study(capsys: pytest.CaptureFixture[str]) -> None:
    add(written(table()), "--target", "y", "--rows")
    study = loading.load().study("mine_rows")
    vary = study.final.vary
    assert vary is not None
    assert vary.rows[-1] <= prepared("mine_rows").rows("leak_free", "train", 0).size


def test_options_reach_the_section() -> None:
    frame = table(patient=np.arange(120) // 3, kilos=np.arange(120) % 7 + 1.5)
    add(written(frame), "--target", "y", "--group", "patient", "--drop", "colour", "--score", "f1")
    data = loading.load().study("mine").data
    assert (data.group, data.drop, data.score) == ("patient", ("colour",), "f1")  # type: ignore[attr-defined]


def test_a_group_is_in_one_part() -> None:
    patient = np.repeat(np.arange(40), 3)
    add(written(table(patient=patient)), "--target", "y", "--group", "patient")
    data = prepared("mine")
    for draw in range(data.draws("leak_free")):
        parts = [
            {*patient[data.in_file("leak_free", part)[draw]]} for part in ("train", "val", "test")
        ]
        assert not parts[0] & parts[1]
        assert not parts[0] & parts[2]
        assert not parts[1] & parts[2]


def test_test_rows_are_later_than_training_rows() -> None:
    day = np.random.default_rng(1).permutation(120)
    add(written(table(day=day)), "--target", "y", "--time", "day")
    data = prepared("mine")
    for draw in range(data.draws("leak_free")):
        train, val, test = (
            day[data.in_file("leak_free", part)[draw]] for part in ("train", "val", "test")
        )
        assert train.max() < val.min() <= val.max() < test.min()


def test_rows_of_a_test_file_are_the_test_rows() -> None:
    written(table(40), "held_out.csv")
    add(written(table(120)), "--target", "y", "--test", "held_out.csv")
    data = prepared("mine")
    assert (data.in_file("leak_free", "test") >= 120).all()
    assert (data.in_file("leak_free", "train") < 120).all()


def test_a_study_is_replaced_only_if_asked() -> None:
    path = written(table())
    add(path, "--target", "y")
    before = Path("params.yaml").read_bytes(), Path("data/own/mine/data.csv").read_bytes()
    written(table(90))
    with pytest.raises(UserError, match="`--replace` replaces it"):
        add(path, "--target", "y")
    assert before == (
        Path("params.yaml").read_bytes(),
        Path("data/own/mine/data.csv").read_bytes(),
    )
    add(path, "--target", "y", "--replace")
    assert len(pd.read_csv("data/own/mine/data.csv")) == 90


def _broken_picture() -> tuple[object, ...]:
    pictures(Path("mine"))
    Path("mine/class 0/broken.png").write_bytes(b"\x89PNG\r\n")
    Path("mine/class 0/empty.png").touch()
    return (Path("mine"),)


def _deep() -> tuple[object, ...]:
    pixels = np.zeros((8, 8), np.uint16)
    pictures(Path("mine"))
    Image.fromarray(pixels).save("mine/class 0/deep.tif")
    return (Path("mine"),)


def _one_folder() -> tuple[object, ...]:
    pictures(Path("mine/a"))
    return (Path("mine/a/class 0").rename("single").parent / "single",)


def _object_array() -> Path:
    np.savez("mine.npz", x=np.array([{}, []], object), y=[0, 1])
    return Path("mine.npz")


def _file(name: str, content: bytes = b"") -> Path:
    Path(name).write_bytes(content)
    return Path(name)


def _empty_folder() -> Path:
    Path("mine").mkdir()
    return Path("mine")


BAD: Mapping[str, tuple[Callable[[], tuple[object, ...]], str]] = {
    "no such file": (lambda: ("absent.csv", "--target", "y"), "neither a file nor a folder"),
    "no target": (lambda: (written(table()),), "`--target` is required"),
    "unknown target": (lambda: (written(table()), "--target", "z"), "unknown column 'z'"),
    "ten rows": (lambda: (written(table(10)), "--target", "y"), "at least 30 are needed"),
    "one class": (lambda: (written(table(y="a")), "--target", "y"), "at least two are needed"),
    "an empty file": (lambda: (_file("mine.csv"), "--target", "y"), "empty"),
    "a spreadsheet": (lambda: (_file("mine.xlsx"), "--target", "y"), "CSV"),
    "text among numbers": (
        lambda: (written(table(x=["1.5", "many", *["2"] * 118])), "--target", "y"),
        "row 2 has 'many'",
    ),
    "a score of another task": (
        lambda: (written(table()), "--target", "y", "--score", "rmse"),
        "unknown score 'rmse'",
    ),
    "a name that is no name": (
        lambda: (written(table()), "--target", "y", "--name", "../mine"),
        "`--name`",
    ),
    "an empty folder": (lambda: (_empty_folder(),), "a sub-folder with pictures"),
    "one class of pictures": (_one_folder, "a sub-folder with pictures"),
    "broken pictures": (_broken_picture, "broken.png.*empty.png"),
    "pixels of 16 bits": (_deep, "deep.tif"),
    "a target for pictures": (lambda: (pictures(Path("mine")), "--target", "y"), "for tables"),
    "no arrays": (lambda: (_file("mine.npz", b"PK"),), "mine.npz"),
    "objects in arrays": (lambda: (_object_array(),), "plain arrays"),
    "an unknown array": (lambda: (arrays(Path("mine.npz"), z=[1]),), "unknown array 'z'"),
    "lengths": (lambda: (arrays(Path("mine.npz"), y=[1, 2]),), "must have 400 rows"),
    "infinite pixels": (
        lambda: (arrays(Path("mine.npz"), x=np.full((400, 2), np.inf)),),
        "row 0 .*another value",
    ),
    "an unknown set": (lambda: ("sklearn:irish",), "did you mean 'iris'"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_a_study_is_said_and_nothing_changes(case: str) -> None:
    make, message = BAD[case]
    argv = make()
    with pytest.raises(UserError, match=message):
        add(*argv)
    assert Path("params.yaml").read_text("utf-8") == PARAMS
    assert not [path for path in Path("data/own").rglob("*") if path.is_file()]


def test_pictures_of_many_kinds_get_one_form(capsys: pytest.CaptureFixture[str]) -> None:
    pictures(Path("mine"))
    Image.new("RGB", (30, 20), "red").save("mine/class 0/colour.jpg")
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save("mine/class 1/clear.png")
    _file("mine/class 1/notes.txt", b"hello")
    _file("mine/.DS_Store")
    add("mine")
    told = capsys.readouterr().out
    assert "notes.txt" in told
    assert "1 of 42 pictures have another size" in told
    assert prepared("mine").input_shape == (8, 8, 3)


def test_rows_sorted_by_class_are_mixed() -> None:
    iris = load_iris(as_frame=True)
    frame = iris.frame.assign(target=np.array(iris.target_names)[iris.target])
    add(written(frame), "--target", "target")
    data = prepared("mine")
    for part in ("train", "val", "test"):
        counts = np.bincount(data.y[data.rows("leak_free", part, 0)])
        assert counts.max() - counts.min() <= 1


def test_a_large_file_is_told_to_be_one_before_it_is_read(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(new_study, "LARGE", 0.001)
    add(written(table()), "--target", "y")
    first = capsys.readouterr().out.splitlines()[0]
    assert "GB of memory" in first
    assert "minutes" in first
