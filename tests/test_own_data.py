"""The page of people's own data speaks of their data, and of no article."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.analysis import summary
from pipeline.datasets import PARTS, Dataset, about
from pipeline.datasets.about import About
from pipeline.datasets.task import CLASSIFICATION, REGRESSION, Measure, Task
from pipeline.report import own_data, pages

from .synthetic import make_runs, write_about, write_results
from .test_predicted import as_regression
from .test_report import section, text_of

EFFECTS = {"none": 0.0, "l2": 0.03}
TABLE: dict[str, Any] = {
    "classes": ("benign", "malignant"),
    "balance": {"benign": 200, "malignant": 100},
    "target": "diagnosis",
    "columns": (("radius", "a number, scaled"), ("id", "left out: different in every row")),
}
SCORES = (
    *("accuracy", "balanced_accuracy", "roc_auc", "f1", "loss"),
    *("rmse", "mae", "r2"),
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of a table, with yardsticks."""
    home = tmp_path_factory.mktemp("own") / "circles"
    simple = {"constant": -0.3, "linear": 0.0, "trees": 0.06}
    pages.write(write_results(home, make_runs(EFFECTS), own=TABLE, yardsticks=simple))
    return (home / pages.PAGE).read_text(encoding="utf-8")


def test_a_page_of_own_data_has_no_word_of_articles(page: str) -> None:
    assert not re.search("article", page, re.IGNORECASE)


def test_your_data_are_described(page: str) -> None:
    text = text_of(section(page, "data"))
    for said in (
        "300 examples in each of 64 draws: 30 to train on, 70 to choose by and 200 to test on.",
        "Predicted: diagnosis .",
        "Accuracy is the share of examples whose class is predicted rightly.",
        "1 point of accuracy is 1 of 100 examples.",
        "benign 200 66.7 malignant 100 33.3",
        "radius a number, scaled id left out: different in every row",
    ):
        assert said in text
    gained = re.search(r"l2 predicts (\d+) \[(\d+), (\d+)\] more of 1,000 examples rightly", text)
    assert gained is not None
    mean, low, high = map(int, gained.groups())
    assert low < mean < high
    assert mean == pytest.approx(30, abs=5)  # planted: 3 points


def test_many_classes_and_columns_are_folded(tmp_path: Path) -> None:
    names = tuple(map(str, range(30)))
    own = {"columns": [(name, "a number") for name in names], "target": "y"}
    pages.write(write_results(tmp_path / "circles", make_runs({"none": 0.0}, seeds=2), own=own))
    page = (tmp_path / "circles" / pages.PAGE).read_text(encoding="utf-8")
    assert "<summary>Columns: 30</summary>" in section(page, "data")


def test_a_regression_is_told_in_the_targets_unit(tmp_path: Path) -> None:
    own = {"target": "price", "spread": 77.1}
    runs = make_runs({"none": 0.0, "l2": -0.03})
    home = write_results(tmp_path / "circles", runs, own=own)
    as_regression(home)
    pages.write(home)
    text = text_of(section((home / pages.PAGE).read_text(encoding="utf-8"), "data"))
    assert "in the unit of price: large errors count most." in text
    assert "A difference of 1 is 1 in the unit of price; its standard deviation is 77.1." in text
    assert re.search(r"l2 lowers test rmse by 0\.0\d+ \[0\.0\d+, 0\.0\d+\] , which is 4 % of", text)
    assert "Classes" not in text


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_every_score_has_its_meaning_and_what_a_difference_is_worth(
    score: str, n_classes: int, tmp_path: Path
) -> None:
    kind = REGRESSION if score in ("rmse", "mae", "r2") else CLASSIFICATION
    task: Task = replace(kind, scores=(Measure(score, better="higher"),))
    write_about(tmp_path, own={"classes": ("no", "yes", "perhaps")[:n_classes], "target": "y"})
    finding = summary.find(summary.summarize(make_runs(EFFECTS)))
    words = own_data.words(about.read(tmp_path), task, finding)
    for sentence in (words.score, words.worth):
        assert sentence[0].isupper() or sentence[0].isdigit()
        assert sentence.endswith(".")
    if score in ("roc_auc", "f1"):
        assert ("yes" in words.score) == (n_classes == 2)


def test_what_prepared_data_say_of_themselves(tmp_path: Path) -> None:
    y = np.arange(30, dtype=np.int32) % 3
    rows = np.arange(30, dtype=np.int32).reshape(2, 15)  # the second draw: copies for its scaling
    parts: Any = dict(zip(PARTS, np.split(rows, [9, 12], axis=1), strict=True))
    splits: Any = {"article": parts, "leak_free": parts}
    x = np.zeros((30, 2), np.float32)
    given = Dataset("mine", 3, x, y, splits, source="table", classes=("a", "b", "c"))
    columns = (("day", "days"),)
    told = About.of(given, "classification", 3, target="kind", columns=columns)
    assert (told.own, told.balance) == (True, {"a": 5, "b": 5, "c": 5})
    about.write(told, tmp_path / about.FILE)
    assert about.read(tmp_path) == told
    numbers = replace(given, n_classes=1, classes=(), y=y.astype(np.float32), task=REGRESSION)
    told = About.of(numbers, "regression", 3)
    assert (told.balance, told.classes) == ({}, ())
    assert told.spread == pytest.approx(np.std(y))
    assert not About.of(replace(given, source="digits"), "classification", 3).own


def test_files_of_before_are_read(tmp_path: Path) -> None:
    write_about(tmp_path)
    path, now = tmp_path / about.FILE, about.read(tmp_path)
    content = json.loads(path.read_text(encoding="utf-8"))
    later = (
        "own",
        "classes",
        "balance",
        "target",
        "spread",
        "columns",
        "origin",
        "licence",
        "hosts",
    )
    path.write_text(json.dumps({k: v for k, v in content.items() if k not in later}), "utf-8")
    assert about.read(tmp_path) == now
