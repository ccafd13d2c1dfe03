"""Weights of examples and classes, from the data and params.yaml to the measures of a model."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn import metrics
from sklearn.utils.class_weight import compute_class_weight

from pipeline import results
from pipeline.analysis import by_example, ensembles
from pipeline.config import loading
from pipeline.datasets import PARTS, Dataset, load, save
from pipeline.datasets.task import CLASSIFICATION, scored
from pipeline.engine import Engine
from pipeline.errors import UserError
from pipeline.training.measures import errors
from pipeline.training.runs import Run
from pipeline.training.targets import class_weights
from pipeline.training.trainer import Trainer

from .synthetic import make_runs, write_results
from .test_regression import dataset as numbers
from .test_regression import plan


def unbalanced(weighted: bool = True) -> Dataset:
    """One example in five is of the second class; weights are from about a tenth to six."""
    data, task = numbers(), scored(CLASSIFICATION, "balanced_accuracy")
    labels = (data.y > np.quantile(data.y, 0.8)).astype(np.int32)
    drawn = np.random.default_rng(0).gamma(2.0, size=len(labels)) + 0.1
    weights = drawn.astype(np.float32) if weighted else None
    return replace(data, n_classes=2, y=labels, task=task, weights=weights)


def run_of(data: Dataset, balanced: bool = False) -> Run:
    given = plan(data, epochs=10)
    training = replace(given.study.training, class_weight="balanced" if balanced else None)
    given = replace(given, study=replace(given.study, training=training))
    return given.tuned("none", {}, 0)[0]


def test_weights_are_kept_with_the_data_and_change_its_digest(tmp_path: Path) -> None:
    data, plain = unbalanced(), unbalanced(weighted=False)
    save(data, tmp_path / "mine.npz")
    again = load(tmp_path / "mine.npz")
    assert data.weights is not None
    np.testing.assert_array_equal(again.weights, data.weights)
    assert again.digest == data.digest != plain.digest
    save(plain, tmp_path / "plain.npz")
    assert load(tmp_path / "plain.npz").weights is None
    with np.load(tmp_path / "plain.npz") as archive:
        assert "weights" not in archive.files


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (np.ones(448), r"`weights` must be float32 of shape \(448,\), but got float64"),
        (np.ones(4, np.float32), r"`weights` must be .* but got float32 \(4,\)"),
        (np.zeros(448, np.float32), "`weights` must be finite and > 0, but got 0.0 to 0.0"),
        (np.full(448, np.nan, np.float32), "`weights` must be finite and > 0, but got nan"),
    ],
)
def test_weights_that_are_none_are_refused(weights: Any, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        replace(unbalanced(), weights=weights)


@pytest.mark.parametrize("weighted", [False, True])
def test_balanced_class_weights_are_scikit_learns(weighted: bool) -> None:
    data = unbalanced(weighted)
    run = run_of(data, balanced=True)
    rows = run.rows(data, "train")
    counted = data.weights_of(rows)
    expected = compute_class_weight(
        "balanced", classes=np.array([0, 1]), y=data.y[rows], sample_weight=counted
    )
    found = class_weights(run, data, rows)
    assert found is not None
    assert found == pytest.approx(expected, rel=1e-5)
    assert found[1] > 2 * found[0]
    assert class_weights(run_of(data), data, rows) is None
    assert run.key != run_of(data).key


def test_a_class_without_training_examples_needs_no_weight() -> None:
    data = unbalanced(weighted=False)
    run = run_of(data, balanced=True)
    found = class_weights(run, data, np.flatnonzero(data.y == 0).astype(np.int32))
    assert found is not None
    assert np.isfinite(found).all()
    assert found[1] == 1


def test_runs_without_class_weights_keep_their_training_in_the_key() -> None:
    assert "class_weight" not in run_of(unbalanced()).meaning["training"]
    assert run_of(unbalanced(), True).meaning["training"]["class_weight"] == "balanced"


@pytest.mark.slow
def test_scores_are_weighted_as_scikit_learns() -> None:
    data = unbalanced()
    run = run_of(data)
    (result,) = Trainer(data, Engine()).run([run], [None])
    rows = run.rows(data, "test")
    assert data.weights is not None
    assert result.probabilities is not None
    y, weights, p = data.y[rows], data.weights[rows], result.probabilities[:, 0]
    own: dict[str, Any] = {"sample_weight": weights}
    expected = {
        "accuracy": metrics.accuracy_score(y, p > 0.5, **own),
        "balanced_accuracy": metrics.balanced_accuracy_score(y, p > 0.5, **own),
        "roc_auc": metrics.roc_auc_score(y, p, **own),
        "f1": metrics.f1_score(y, p > 0.5, **own),
        "loss": metrics.log_loss(y, p, **own),
    }
    found = {name: result.measures[f"test_{name}"] for name in expected}
    assert found == pytest.approx(expected, rel=1e-5)
    assert found["accuracy"] != pytest.approx(metrics.accuracy_score(y, p > 0.5), rel=1e-6)
    assert result.curves is not None
    for name in ("val_accuracy", "val_loss"):  # the last point of the curve is the model's
        assert result.curves[name][-1] == pytest.approx(result.measures[name], rel=1e-4)


@pytest.mark.slow
def test_balanced_classes_raise_the_recall_of_the_rare_one() -> None:
    data = unbalanced(weighted=False)
    plain, balanced = (
        Trainer(data, Engine()).run([run_of(data, given)], [None])[0] for given in (False, True)
    )
    rows = run_of(data).rows(data, "test")

    def recall(result: Any) -> float:
        return float(metrics.recall_score(data.y[rows], result.probabilities[:, 0] > 0.5))

    assert recall(balanced) > recall(plain)


def test_errors_are_weighted_as_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(100, 5, 50)
    predicted, weights = y + rng.normal(size=50), rng.random(50) + 0.1
    given: dict[str, Any] = {"sample_weight": weights}
    assert errors("val", predicted, y, 5.0, weights) == pytest.approx(
        {
            "val_rmse": metrics.root_mean_squared_error(y, predicted, **given),
            "val_mae": metrics.mean_absolute_error(y, predicted, **given),
            "val_r2": metrics.r2_score(y, predicted, **given),
            "val_loss": metrics.mean_squared_error(y, predicted, **given) / 25,
        }
    )


def test_weights_of_test_examples_are_kept_with_the_predictions(tmp_path: Path) -> None:
    data = unbalanced()
    run = run_of(data)
    outputs = np.full((64, 1), 0.25, np.float32)
    results.write_predictions([(run, outputs)], data, tmp_path / results.PREDICTIONS)
    predictions = ensembles.read(tmp_path, pd.DataFrame({"key": [run.key]}))
    (sample,) = predictions.labels
    rows = run.rows(data, "test")
    assert data.weights is not None
    expected = data.weights[rows] / data.weights[rows].mean()
    assert predictions.weights[sample] == pytest.approx(expected, rel=1e-5)
    accuracy = np.average(data.y[rows] == 0, weights=data.weights[rows])
    assert predictions.score([run.key])[0] == pytest.approx(accuracy, rel=1e-5)


def test_values_of_examples_average_to_the_weighted_score(tmp_path: Path) -> None:
    runs = make_runs({"none": 0.0, "l2": 0.03}, seeds=3).assign(same_test=True)
    folder = write_results(tmp_path / "mine", runs)
    stored: Any = dict(np.load(folder / results.PREDICTIONS).items())
    weights = np.random.default_rng(0).random(200) + 0.1
    weights /= weights.mean()
    samples = {name.partition("/")[0] for name in stored}
    stored |= {f"{sample}/{results.WEIGHTS}": weights for sample in samples}
    np.savez(folder / results.PREDICTIONS, **stored)
    rows, predictions = by_example.read(folder, runs), ensembles.read(folder, runs)
    for key, outputs in predictions.probabilities.items():
        labels = predictions.labels[predictions.samples[key]]
        told = np.where(ensembles.hits(outputs, labels), labels, 1 - labels)
        assert rows["test_accuracy"][key].mean() == pytest.approx(
            metrics.accuracy_score(labels, told, sample_weight=weights), rel=1e-5
        )
        assert rows["test_balanced_accuracy"][key].mean() == pytest.approx(
            metrics.balanced_accuracy_score(labels, told, sample_weight=weights), rel=1e-5
        )
    losses = runs.set_index("key")["test_loss"]
    for key, of_rows in rows["test_loss"].items():
        assert of_rows.mean() == pytest.approx(losses[key], rel=1e-5)


def test_class_weights_need_classes() -> None:
    given = yaml.safe_load(Path(loading.FILE).read_text(encoding="utf-8"))
    name, study = next(
        (name, study)
        for name, study in given["studies"].items()
        if study["data"]["source"] == "digits"
    )
    study["training"]["class_weight"] = "balanced"
    study["model"] = {"architecture": "autoencoder", "hidden": [16], "code": 6}
    study["techniques"], study["outcomes"] = {"none": {}}, []
    expected = rf"studies.{name}.training.class_weight: must be left out without classes"
    with pytest.raises(UserError, match=expected):
        loading.parse(given)
    study["training"]["class_weight"] = "even"
    with pytest.raises(UserError, match=r"training.class_weight: .*'balanced', but got 'even'"):
        loading.parse(given)


def test_the_parts_of_a_run_count_by_weights_of_mean_one() -> None:
    data = unbalanced()
    for part in PARTS:
        found = data.weights_of(run_of(data).rows(data, part))
        assert found is not None
        assert found.mean() == pytest.approx(1)
