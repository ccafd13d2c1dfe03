"""What models predict: numbers against scikit-learn and by hand, and the figures of own data."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection
from sklearn import metrics

from pipeline.analysis import predicted
from pipeline.analysis.predicted import RATES, Predicted
from pipeline.report import figures, pages, prediction_figures

from .synthetic import make_runs, write_results
from .test_report import section, text_of

RANDOM = np.random.default_rng(3)
EFFECTS = {"none": 0.0, "l2": 0.03}
CLASSES = ("benign", "malignant")


def made(n: int, n_classes: int, digits: int = 2) -> Predicted:
    """Labels and probabilities; rounded, so that some are equal."""
    labels = RANDOM.integers(n_classes, size=n).astype(np.int32)
    if n_classes == 2:
        p = np.clip(0.5 + 0.3 * (labels - 0.5) + 0.2 * RANDOM.standard_normal(n), 0, 1)
        return Predicted(labels, np.round(p, digits).astype(np.float32)[:, None])
    return Predicted(labels, RANDOM.dirichlet(np.ones(n_classes), n).astype(np.float32))


@pytest.mark.parametrize("n_classes", [2, 3, 12])
def test_the_confusion_matrix_adds_up(n_classes: int) -> None:
    runs = [made(80, n_classes) for _ in range(5)]
    table = predicted.confusion(runs, n_classes)
    assert table.sum() == pytest.approx(80)
    by_class = np.mean([np.bincount(run.targets, minlength=n_classes) for run in runs], axis=0)
    np.testing.assert_allclose(table.sum(axis=1), by_class)
    told = [
        run.outputs[:, 0] > 0.5 if n_classes == 2 else run.outputs.argmax(axis=1) for run in runs
    ]
    right = [np.mean(run.targets == classes) for run, classes in zip(runs, told, strict=True)]
    assert table.trace() / 80 == pytest.approx(np.mean(right))
    labels = [*range(n_classes)]
    expected = metrics.confusion_matrix(runs[0].targets, told[0], labels=labels)
    np.testing.assert_array_equal(predicted.confusion(runs[:1], n_classes), expected)


@pytest.mark.parametrize("digits", [1, 6], ids=["ties", "no ties"])
def test_roc_curves_and_areas_are_those_of_scikit_learn(digits: int) -> None:
    runs = [made(60, 2, digits) for _ in range(3)]
    for run in runs:
        area = metrics.roc_auc_score(run.targets, run.outputs[:, 0])
        assert predicted.area(run) == pytest.approx(area)
        false, true, _ = metrics.roc_curve(run.targets, run.outputs[:, 0], drop_intermediate=False)
        curve = predicted.roc([run])
        for rate, height in zip(false, true, strict=True):
            near = np.isclose(RATES, rate)
            if near.any():  # a curve has its upper end there
                assert curve[near][0] >= height - 1e-9
        assert np.trapezoid(curve, RATES) == pytest.approx(area, abs=0.02)
    mean = np.mean([predicted.roc([run]) for run in runs], axis=0)
    np.testing.assert_allclose(predicted.roc(runs), mean)
    assert (np.diff(mean) >= 0).all()
    assert mean[-1] == 1


def test_test_rows_of_one_class_have_no_curve() -> None:
    single = Predicted(np.ones(4, np.int32), np.full((4, 1), 0.5, np.float32))
    assert np.isnan(predicted.area(single))
    assert np.isnan(predicted.roc([single])).all()
    other = made(30, 2)
    np.testing.assert_array_equal(predicted.roc([single, other]), predicted.roc([other]))


@pytest.mark.parametrize("n_classes", [2, 10, 30])
def test_a_confusion_figure_has_its_counts_where_they_have_room(n_classes: int) -> None:
    classes = [f"class number {i}" for i in range(n_classes)]
    figure = prediction_figures.confusion_panel([made(300, n_classes)], classes)
    (axes,) = figure.axes
    counts = [text.get_text() for text in axes.texts]
    assert len(counts) == (n_classes**2 if n_classes <= 10 else 0)
    if counts:
        assert sum(map(float, counts)) == 300
    figures.svg(figure, "confusion", "what it shows")


def test_a_residual_figure_has_target_minus_prediction() -> None:
    targets = np.array([1.0, 2.0, 4.0], np.float32)
    run = Predicted(targets, np.array([[1.5], [2.0], [3.0]], np.float32))
    limits = prediction_figures.residual_limits([run])
    figure = prediction_figures.residual_panel(run, limits)
    (points,) = (c for c in figure.axes[0].collections if isinstance(c, PathCollection))
    expected = np.array([[1.5, -0.5], [2, 0], [3, 1]])
    np.testing.assert_allclose(np.asarray(points.get_offsets()), expected)
    low, high = limits["y"]
    assert low < -0.5 < 1 < high


def test_residuals_of_many_examples_are_thinned_and_of_none_that_is_finite_are_drawn() -> None:
    run = Predicted(np.zeros(5000, np.float32), np.full((5000, 1), np.nan, np.float32))
    figure = prediction_figures.residual_panel(run, prediction_figures.residual_limits([run]))
    (points,) = (c for c in figure.axes[0].collections if isinstance(c, PathCollection))
    assert len(np.asarray(points.get_offsets())) <= 1000


# On the page


def titles(page: str) -> Sequence[str]:
    return re.findall(r"<h3>(.*?)</h3>", section(page, "tuned"))


def test_the_page_of_own_data_shows_which_classes_are_taken_for_which(tmp_path: Path) -> None:
    runs = make_runs({**EFFECTS, "l1": -0.03})
    home = write_results(tmp_path / "circles", runs, own={"classes": CLASSES})
    pages.write(home)
    page = (home / pages.PAGE).read_text(encoding="utf-8")
    assert {"Which classes are taken for which", "ROC curves of malignant"} <= {*titles(page)}
    text = text_of(section(page, "tuned"))
    told = predicted.read(home, runs, {"none", "l2"})["tuned"]
    for technique in EFFECTS:
        right = predicted.confusion(told[technique], 2).trace()
        assert f"{technique}: {right:.1f} of 200 right" in text
        area = predicted.areas(told)[technique]
        assert f"{technique}: area {area:.3f}" in text
    assert "l1: area" not in text
    drawn = {path.name for path in pages.drawings(home)["l2"]}
    assert {"confusion-tuned.svg", "roc-tuned.svg"} <= drawn


def as_regression(home: Path) -> None:
    """Turns the files of a classification into those of a regression of the same errors."""
    for path in (home / "runs.csv", home / "trials.csv"):
        table = pd.read_csv(path)
        table = table[[n for n in map(str, table) if "noise" not in n and "kept" not in n]]
        table = table.rename(columns=lambda name: name.replace("accuracy", "rmse"))
        table["task"] = "regression"
        table.to_csv(path, index=False)
    curves = pd.read_parquet(home / "curves.parquet")
    curves.rename(columns=lambda name: name.replace("accuracy", "rmse")).to_parquet(
        home / "curves.parquet"
    )
    for name in ("tuned.json", "about.json"):
        text = (home / name).read_text(encoding="utf-8")
        text = text.replace("classification", "regression").replace("val_accuracy", "val_rmse")
        (home / name).write_text(text, encoding="utf-8")
    with np.load(home / "predictions.npz") as arrays:
        numbers: Any = {name: arrays[name].astype(np.float32) for name in arrays.files}
    np.savez(home / "predictions.npz", **numbers)


def test_the_page_of_a_regression_shows_residuals(tmp_path: Path) -> None:
    home = write_results(tmp_path / "circles", make_runs(EFFECTS), own={})
    as_regression(home)
    pages.write(home)
    page = (home / pages.PAGE).read_text(encoding="utf-8")
    assert "Residuals" in titles(page)
    assert "Which classes are taken for which" not in titles(page)
    assert {"residuals-tuned.svg"} <= {path.name for path in pages.drawings(home)["none"]}
