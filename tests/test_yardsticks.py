"""Yardsticks are scikit-learn's own estimators on the networks' splits, and are told as such."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from threadpoolctl import threadpool_limits

from pipeline import results
from pipeline.analysis import by_example, effects, summary, yardsticks
from pipeline.analysis.yardsticks import Yardsticks
from pipeline.config import loading, sections
from pipeline.datasets import PARTS, Dataset
from pipeline.datasets.task import CLASSIFICATION, REGRESSION
from pipeline.report import pages, sentences
from pipeline.stages import train
from pipeline.training import yardsticks as simple
from pipeline.training.runs import Plan
from pipeline.training.yardsticks import Yardstick, bounded

from .synthetic import make_runs, write_results
from .test_report import section, text_of

SEED, DRAWS = 7, 2
SIZES = {"train": 60, "val": 20, "test": 40}
BY_HAND: Mapping[str, Mapping[str, Any]] = {
    "classification": {
        "constant": lambda: DummyClassifier(strategy="prior"),
        "linear": lambda: LogisticRegression(C=1.0, max_iter=10_000),
        "trees": lambda: HistGradientBoostingClassifier(random_state=SEED),
    },
    "regression": {
        "constant": lambda: DummyRegressor(strategy="mean"),
        "linear": lambda: Ridge(alpha=1.0),
        "trees": lambda: HistGradientBoostingRegressor(random_state=SEED),
    },
}
EFFECTS = {"none": 0.0, "l2": 0.03, "l1": -0.05}


def dataset(n_classes: int, shape: tuple[int, ...] = (4,)) -> Dataset:
    """A table with a curved and noisy target, split twice; with one class a regression."""
    rng, total = np.random.default_rng(0), sum(SIZES.values())
    x = rng.normal(size=(total, *shape)).astype(np.float32)
    flat = x.reshape(total, -1)
    value = 3 * flat[:, 0] + flat[:, 1] ** 2 + 0.5 * rng.normal(size=total)
    rows = np.stack([rng.permutation(total) for _ in range(DRAWS)]).astype(np.int32)
    ends = np.cumsum([*SIZES.values()])[:-1]
    parts: Any = dict(zip(PARTS, np.split(rows, ends, axis=1), strict=True))
    splits: Any = {"article": parts, "leak_free": parts}
    if n_classes == 1:
        y: Any = (100 + 10 * value).astype(np.float32)
        return Dataset("mine", 1, x, y, splits, source="table", task=REGRESSION)
    bounds = np.quantile(value, np.arange(1, n_classes) / n_classes)
    y = np.digitize(value, bounds).astype(np.int32)
    return Dataset("mine", n_classes, x, y, splits, source="table", task=CLASSIFICATION)


def measured(data: Dataset, replicates: int = DRAWS) -> list[Yardstick]:
    return [*simple.measure(data, data.task, SEED, replicates)]


def by_hand(data: Dataset, name: str, draw: int) -> dict[str, float]:
    """The scores of scikit-learn's estimator on a draw."""
    rows = {part: data.splits["leak_free"][part][draw] for part in PARTS}
    train, test = rows["train"], rows["test"]
    x = data.x.reshape(len(data.x), -1).astype(float)
    y = data.y if data.task.labels else data.y.astype(float)
    with threadpool_limits(limits=1):  # two threads wait for each other where all cores are busy
        model = BY_HAND[data.task.name][name]().fit(x[train], y[train])
        told = model.predict(x[test])
    y = y[test]
    if not data.task.labels:
        return {
            "test_rmse": np.sqrt(np.mean((y - told) ** 2)),
            "test_mae": np.mean(np.abs(y - told)),
            "test_r2": model.score(x[test], y),
            "test_loss": np.mean((y - told) ** 2) / np.var(data.y[train], dtype=float),
        }
    p = model.predict_proba(x[test])
    two = data.n_classes == 2
    auc = metrics.roc_auc_score(y, p[:, 1] if two else p, multi_class="ovr", average="macro")
    return {
        "test_accuracy": model.score(x[test], y),
        "test_loss": np.mean(-np.log(p[np.arange(len(y)), y])),
        "test_balanced_accuracy": np.mean([np.mean(told[y == c] == c) for c in np.unique(y)]),
        "test_roc_auc": auc,
        "test_f1": metrics.f1_score(y, told, average="binary" if two else "macro"),
    }


@pytest.mark.parametrize(
    ("n_classes", "shape"), [(2, (4,)), (3, (2, 2, 1)), (1, (4,))], ids=["two", "images", "numbers"]
)
def test_scores_are_those_of_scikit_learn_by_hand_on_the_same_splits(
    n_classes: int, shape: tuple[int, ...]
) -> None:
    data = dataset(n_classes, shape)
    found = {(each.name, each.draw): each for each in measured(data)}
    assert [*found] == [(name, d) for name in ("constant", "linear", "trees") for d in range(DRAWS)]
    for (name, draw), each in found.items():
        assert each.scores == pytest.approx(by_hand(data, name, draw), rel=1e-6), (name, draw)
        assert (each.rows, each.of_rows) == (60, 60)
        assert each.outputs.shape == (40, n_classes if n_classes > 2 else 1)
        assert each.outputs.dtype == np.float32
    assert found["trees", 0].scores != found["trees", 1].scores


def test_the_number_of_cores_changes_no_result() -> None:
    data = dataset(3)
    by_cores = []
    for cores in (1, 2):
        with threadpool_limits(limits=cores):
            by_cores.append([each.outputs for each in measured(data)])
    for one, two in zip(*by_cores, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(("seconds", "expected"), [(60.0, 12), (1e-9, 3)])
def test_all_yardsticks_have_the_draws_that_the_networks_have_unless_one_is_dear(
    seconds: float, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = dataset(2)
    assert {each.draw for each in measured(data, replicates=1)} == {0}
    rows = {part: np.tile(rows[:1], (12, 1)) for part, rows in data.splits["leak_free"].items()}
    many: Any = {"article": rows, "leak_free": rows}
    monkeypatch.setattr(simple, "SECONDS", seconds)
    found = measured(replace(data, splits=many), 30)
    for name in simple.CLASSIFIERS:
        assert [each.draw for each in found if each.name == name] == [*range(expected)]


@pytest.mark.parametrize("rows", [50, 1_000, 1_000_000])
@pytest.mark.parametrize("columns", [1, 30, 784, 100_000])
@pytest.mark.parametrize("outputs", [1, 10])
@pytest.mark.parametrize("name", ["linear", "trees"])
def test_the_time_is_bounded_whatever_the_shape(
    name: str, rows: int, columns: int, outputs: int
) -> None:
    kind = simple.CLASSIFIERS[name]
    draws, used = bounded(lambda n: kind.cost(columns, outputs, n), rows, 10)
    assert min(rows, 100) <= used <= rows
    assert 3 <= draws <= 10
    assert draws * kind.cost(columns, outputs, used) <= 60 or used == min(rows, 100)
    assert used == rows or draws == 3  # fewer draws come before fewer rows


def test_a_yardstick_that_trained_on_few_rows_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    data = dataset(2)
    monkeypatch.setattr(simple, "SECONDS", 0.0001)
    monkeypatch.setattr(simple, "LEAST_ROWS", 30)
    trees = [each for each in measured(data) if each.name == "trees"]
    assert [(each.rows, each.of_rows) for each in trees] == [(30, 60)] * DRAWS
    again = [each for each in measured(data) if each.name == "trees"]
    assert [each.scores for each in trees] == [each.scores for each in again]


def test_classes_without_training_or_test_rows_are_no_failure() -> None:
    data = dataset(3)
    train, test = (data.splits["leak_free"][part] for part in ("train", "test"))
    y = data.y.copy()
    y[y == 2] = 1
    y[test[0]] = np.where(np.arange(40) < 20, 0, 2)
    y[train[0]] = np.where(y[train[0]] == 2, 1, y[train[0]])
    lacking = next(e for e in measured(replace(data, y=y)) if e.key == "linear-0")
    assert lacking.outputs.shape == (40, 3)
    assert (lacking.outputs[:, 2] == 0).all()
    assert np.isfinite(lacking.scores["test_accuracy"])
    assert np.isnan(lacking.scores["test_roc_auc"])  # class 1 has no test row
    y[train[0]] = 1
    single = [each for each in measured(replace(data, y=y)) if each.draw == 0]
    assert {each.estimator for each in single} == {"DummyClassifier()"}


def test_what_is_written_is_read_and_studies_without_yardsticks_have_no_rows(
    tmp_path: Path,
) -> None:
    data = dataset(2)
    rows = [each.row(data, data.task) for each in measured(data)]
    results.write_yardsticks(rows, tmp_path / results.YARDSTICKS)
    table = results.read_yardsticks(tmp_path)
    assert len(table) == 3 * DRAWS
    assert table["overlap"].unique() == pytest.approx([data.overlap("leak_free")])
    results.write_yardsticks([], tmp_path / results.YARDSTICKS)
    assert results.read_yardsticks(tmp_path).empty
    assert [simple.wanted(replace(data, source=name)) for name in ("table", "digits")] == [
        True,
        False,
    ]


# What they show


def read(
    folder: Path, runs: pd.DataFrame, effects_of: Mapping[str, float], best: str = "l2"
) -> Yardsticks:
    """The yardsticks of planted results."""
    home = write_results(folder / "circles", runs, yardsticks=effects_of)
    finding, rows = summary.find(summary.summarize(runs)), by_example.read(home, runs)
    found = yardsticks.read(home, runs, finding, best, rows)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("trees", "expected"),
    [
        (0.06, "Gradient-boosted trees do better than every network here: 86.07 % against 83.04 %"),
        (0.0, "The network with l2 does better than gradient-boosted trees: 83.04 % against 80."),
        (0.0305, "No difference between gradient-boosted trees and the network with l2 is shown: "),
    ],
)
def test_who_is_better_is_told_in_one_sentence(trees: float, expected: str, tmp_path: Path) -> None:
    found = read(tmp_path, make_runs(EFFECTS), {"constant": -0.3, "trees": trees})
    told = found.sentences
    assert told[0].startswith(expected)
    assert told[1].startswith("The network with l2 does better than a constant prediction: 83.04 %")
    one = next(each for each in found.yardsticks if each.name == "trees").against["l2"]
    low, high = sorted(f"{abs(100 * end):.2f}" for end in one.difference[1:])
    if trees > 0.05:
        assert f"points [{low}, {high}])." in told[0]
        assert "with l2, the best of them on test data" in told[0]


def test_better_than_one_network_is_not_better_than_all(tmp_path: Path) -> None:
    """Nothing is advised, trees beat the baseline, and l2 is too uncertain to be beaten."""
    runs = make_runs({"none": 0.0, "l2": 0.0})
    shaken = runs["technique"] == "l2"
    runs.loc[shaken, "test_accuracy"] += np.where(np.arange(shaken.sum()) % 2, 0.09, -0.05)
    (told,) = read(tmp_path, runs, {"trees": 0.03}).sentences
    assert "trees do better than the network without regularization: " in told
    assert told.endswith(" That this holds for every technique is not shown.")


def test_a_network_that_does_not_beat_the_constant_is_told(tmp_path: Path) -> None:
    (told,) = read(tmp_path, make_runs(EFFECTS), {"constant": 0.0302}).sentences
    assert told.startswith("No difference between a constant prediction and the network with l2")


def test_one_replicate_shows_no_difference(tmp_path: Path) -> None:
    runs = make_runs(EFFECTS, seeds=1)
    home = write_results(tmp_path / "circles", runs)
    table = pd.read_csv(
        write_results(tmp_path / "more", make_runs(EFFECTS), yardsticks={"trees": 0.05})
        / "yardsticks.csv"
    )
    table[:1].to_csv(home / "yardsticks.csv", index=False)
    found = yardsticks.read(home, runs, summary.find(summary.summarize(runs)), "l2", {})
    assert found is not None
    assert found.sentences[0].endswith("(with one replicate, none can be).")
    assert "nan" not in yardsticks.table(found)


def test_splits_of_one_file_widen_intervals_as_they_do_between_techniques(tmp_path: Path) -> None:
    apart, splits = (
        read(tmp_path / str(overlap), make_runs(EFFECTS, overlap=overlap), {"trees": 0.06})
        for overlap in (0.0, 0.5)
    )
    for one, other in zip(apart.yardsticks, splits.yardsticks, strict=True):
        first, second = one.against["none"].difference, other.against["none"].difference
        wider = (second.high - second.low) / (first.high - first.low)
        assert wider == pytest.approx(np.sqrt((1 / 10 + 0.5) / (1 / 10)))
        assert second.mean == pytest.approx(first.mean)
        assert other.mean.high - other.mean.low > one.mean.high - one.mean.low


def test_common_test_rows_vary_too(tmp_path: Path) -> None:
    runs = make_runs(EFFECTS)
    runs["same_test"] = True
    home = write_results(tmp_path / "circles", runs, yardsticks={"trees": 0.06})
    found = yardsticks.read(
        home, runs, summary.find(summary.summarize(runs)), "l2", by_example.read(home, runs)
    )
    assert found is not None
    with np.load(home / "predictions.npz") as arrays:
        labels = arrays["tuned.0/labels"]
        hits = {
            name: np.stack(
                [(arrays[f"tuned.0/{key}-{i}"][:, 0] > 0.5) == labels for i in range(10)]
            ).astype(float)
            for name, key in (("trees", "trees"), ("none", "tuned-none"))
        }
    effect = effects.crossed(hits["trees"] - hits["none"])
    told = found.yardsticks[0].against["none"].difference
    assert tuple(told) == pytest.approx(tuple(effect.interval()))


def test_yardsticks_meet_the_draws_of_the_article_setting_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []

    def measure(data: Dataset, task: object, seed: int, replicates: int) -> list[Yardstick]:
        asked.append(replicates)
        return []

    monkeypatch.setattr("pipeline.training.yardsticks.measure", measure)
    study = loading.load().study("features")
    study = replace(study, final=sections.Final(1, searches=1, article_seeds=30))
    train._yardsticks(Plan("mine", "digest", study, 1, sections.Engine()), dataset(2))
    assert asked == [30]


def test_fewer_draws_than_replicates_are_compared_where_both_are(tmp_path: Path) -> None:
    runs = make_runs(EFFECTS, seeds=20)
    found = read(tmp_path, runs, {"trees": 0.06})
    (trees,) = found.yardsticks
    assert (trees.draws, found.draws, found.of_draws) == (10, 10, 20)
    for name in ("none", "l2"):
        ten = runs[(runs["technique"] == name) & (runs["replicate"] < 10)]
        mean = ten["test_accuracy"].mean()
        assert trees.against[name].network == pytest.approx(mean)
        assert found.networks[name].mean == pytest.approx(mean)
        assert f"{100 * mean:.2f}" in yardsticks.table(found)
    assert found.sentences[-1].startswith("All numbers here are of the first 10 draws of 20, to")


def test_yardsticks_with_other_draws_are_compared_on_those_that_all_have(tmp_path: Path) -> None:
    runs = make_runs(EFFECTS)
    home = write_results(tmp_path / "circles", runs, yardsticks={"constant": -0.3, "trees": 0.06})
    table = pd.read_csv(home / "yardsticks.csv")
    table[(table["yardstick"] == "constant") | (table["draw"] < 7)].to_csv(
        home / "yardsticks.csv", index=False
    )
    found = yardsticks.read(home, runs, summary.find(summary.summarize(runs)), "l2", {})
    assert found is not None
    assert {each.draws for each in found.yardsticks} == {7}
    assert len({each.against["l2"].network for each in found.yardsticks}) == 1


def test_page_and_terminal_have_the_yardsticks_of_a_study_that_has_some(tmp_path: Path) -> None:
    home = write_results(
        tmp_path / "circles",
        make_runs({"none": 0.0, "l2": 0.03}),
        yardsticks={"constant": -0.3, "linear": -0.001, "trees": 0.06},
    )
    table = pd.read_csv(home / "yardsticks.csv")
    table.loc[table["yardstick"] == "trees", "rows"] = 20
    table.to_csv(home / "yardsticks.csv", index=False)
    pages.write(home)
    page = (home / pages.PAGE).read_text(encoding="utf-8")
    own = text_of(section(page, "yardsticks"))
    assert '<a href="#yardsticks">' in page
    assert "Yardsticks Gradient-boosted trees do better than every network here: 86." in own
    assert "Trained on 20 of 30 rows, to bound its time." in own
    assert "TreesEstimator() of scikit-learn" in own
    for name in ("network without regularization", "network with l2", "constant prediction"):
        assert f" {name} " in own
    shown = sentences.told(home)[0]
    for number in ("86.0", "logistic regression", "difference to l2, points"):
        assert number in shown


def test_a_study_without_yardsticks_has_no_word_of_them(tmp_path: Path) -> None:
    home = write_results(tmp_path / "circles", make_runs({"none": 0.0}, seeds=2))
    pages.write_tables(home)
    assert "ardstick" not in sentences.told(home)[0]
