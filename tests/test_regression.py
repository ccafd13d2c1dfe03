"""A regression from data to measures: errors are in the target's own unit, rates are not."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from pipeline.config import loading, sections
from pipeline.config.rules import study_problems
from pipeline.datasets import PARTS, Dataset, load, save
from pipeline.datasets.circles import CirclesData
from pipeline.datasets.task import CLASSIFICATION, REGRESSION
from pipeline.engine import Engine
from pipeline.models.architectures import Mlp
from pipeline.models.building import build
from pipeline.techniques.registry import TECHNIQUES
from pipeline.training.measures import noise_rmse
from pipeline.training.runs import Plan, Result, Run
from pipeline.training.targets import standard
from pipeline.training.trainer import Trainer

SIZES = {"train": 96, "val": 64, "test": 64}
MEAN, SCALE = 1000.0, 25.0  # of the target: nothing like a standardized one


def dataset(unit: float = 1.0, draws: int = 2) -> Dataset:
    """Three inputs and a curved function of them, with noise; told in this unit."""
    rng, total = np.random.default_rng(0), sum(SIZES.values())
    x = rng.normal(size=(draws * total, 3)).astype(np.float32)
    y = np.sin(x[:, 0]) + 0.5 * x[:, 1] + 0.1 * rng.normal(size=len(x))
    rows = np.arange(len(x), dtype=np.int32).reshape(draws, total)
    ends = np.cumsum([*SIZES.values()])[:-1]
    parts: Any = dict(zip(PARTS, np.split(rows, ends, axis=1), strict=True))
    y = (unit * (MEAN + SCALE * y)).astype(np.float32)
    splits: Any = {"article": parts, "leak_free": parts}
    return Dataset("mine", 1, x, y, splits, task=REGRESSION)


def plan(data: Dataset, epochs: int = 40) -> Plan:
    given = loading.load().study("features")
    study = replace(
        given,
        data=CirclesData(input="data/sources/circles.yaml", draws=2),
        model=Mlp("mlp", (16,)),
        training=sections.Training("adam", 0.01, 32, epochs),
        tuning=replace(given.tuning, epochs=epochs),
        final=sections.Final(replicates=2),
    )
    return Plan("mine", data.digest, study, 1, sections.Engine(), data.task)


def loaded(result: Result, folder: Path) -> keras.Sequential:
    assert result.model is not None
    (folder / "model.keras").write_bytes(result.model)
    return keras.models.load_model(folder / "model.keras", safe_mode=True)


@pytest.fixture(scope="module")
def trained() -> tuple[Dataset, Run, Result]:
    data = dataset()
    run = plan(data).tuned("l2", {"strength": 1e-3}, 1)[0]
    return data, run, Trainer(data, Engine()).run([run], [None])[0]


@pytest.mark.slow
def test_measures_are_those_of_the_exported_models_predictions(
    trained: tuple[Dataset, Run, Result], tmp_path: Path
) -> None:
    data, run, result = trained
    model = loaded(result, tmp_path)
    _, scale = standard(run, data)
    for part in PARTS:
        x, y = data.split("leak_free", part, run.draw)
        predicted = model.predict(x, verbose=0)
        assert predicted.shape == (len(y), 1)
        errors = predicted[:, 0].astype(float) - y
        measured = {name: result.measures[f"{part}_{name}"] for name in ("rmse", "mae", "r2")}
        assert measured == pytest.approx(
            {
                "rmse": np.sqrt(np.mean(errors**2)),
                "mae": np.mean(np.abs(errors)),
                "r2": 1 - np.sum(errors**2) / np.sum((y - y.mean(dtype=float)) ** 2),
            },
            rel=1e-5,
        )
        loss = np.mean(errors**2) / scale**2
        assert result.measures[f"{part}_loss"] == pytest.approx(loss, rel=1e-5)
    assert result.measures["test_r2"] > 0.9
    assert result.measures["gap"] == pytest.approx(
        result.measures["test_rmse"] - result.measures["train_rmse"]
    )
    assert result.measures["noise_rmse"] > result.measures["test_rmse"]
    assert not [name for name in result.measures if "accuracy" in name or "calibration" in name]
    assert result.measures.keys() >= {
        f"{part}_{each.name}" for part in PARTS for each in REGRESSION.scores
    }
    assert result.probabilities is not None
    assert result.probabilities.dtype == np.float32
    np.testing.assert_allclose(result.probabilities, predicted, rtol=1e-6)  # of test


@pytest.mark.slow
def test_curves_of_errors_are_in_the_targets_unit(trained: tuple[Dataset, Run, Result]) -> None:
    """The last point of the validation curve is what the exported model has."""
    data, run, result = trained
    assert result.curves is not None
    assert result.curves.keys() >= {*REGRESSION.curves, "train_loss", "penalty"}
    assert result.curves["val_rmse"][-1] == pytest.approx(result.measures["val_rmse"], rel=1e-4)
    assert result.curves["val_rmse"][0] > 2 * result.curves["val_rmse"][-1]
    _, scale = standard(run, data)
    np.testing.assert_allclose(
        result.curves["train_rmse"] ** 2, scale**2 * result.curves["train_loss"], rtol=1e-5
    )
    assert result.trained["fall"] >= 0


@pytest.mark.slow
def test_another_unit_changes_the_errors_and_nothing_else(
    trained: tuple[Dataset, Run, Result],
) -> None:
    _, run, result = trained
    other = Trainer(dataset(unit=64.0), Engine()).run([run], [None])[0]  # exact in float32
    for name in ("test_rmse", "test_mae", "val_rmse", "gap", "noise_rmse"):
        assert other.measures[name] == pytest.approx(64 * result.measures[name], rel=1e-3)
    for name in ("test_loss", "test_r2", "kernel_norm", "zero_activations"):
        assert other.measures[name] == pytest.approx(result.measures[name], rel=1e-3)


@pytest.mark.slow
def test_members_of_one_program_have_their_own_draws_standard(tmp_path: Path) -> None:
    """A draw whose targets are of another size is not judged by the other draw's."""
    data = dataset()
    y = data.y.copy()
    y[data.splits["leak_free"]["train"][1]] *= 3
    data = replace(data, y=y)
    runs = [plan(data, epochs=3).tuned("none", {}, search)[0] for search in (0, 1)]
    assert [run.draw for run in runs] == [0, 1]
    trainer = Trainer(data, Engine())
    together = trainer.run(runs, [None, None])
    for run, result in zip(runs, together, strict=True):
        mean, scale = standard(run, data)
        train = data.y[data.rows("leak_free", "train", run.draw)]
        assert (mean, scale) == pytest.approx((train.mean(dtype=float), train.std(dtype=float)))
        (alone,) = trainer.run([run], [None])
        assert alone.measures["val_rmse"] == result.measures["val_rmse"]
        last: Any = loaded(result, tmp_path).layers[-1]
        assert (last.offset, last.scale) == pytest.approx((mean, scale))


@pytest.mark.slow
def test_a_trial_is_scored_as_a_final_run_of_the_same_weights(tmp_path: Path) -> None:
    data = dataset()
    run = plan(data, epochs=3).tuned("none", {}, 0)[0]
    trial, trainer = replace(run, setting="trial"), Trainer(data, Engine())
    (final,), (tried,) = (trainer.run([each], [None]) for each in (run, trial))
    assert tried.weights is not None
    arrays: dict[str, Any] = {f"{index}": weight for index, weight in enumerate(tried.weights)}
    np.savez(tmp_path / "w.npz", **arrays)
    (scores,) = trainer.scores([trial], [tmp_path / "w.npz"])
    assert scores.keys() == {f"test_{score.name}" for score in REGRESSION.scores}
    for name, value in scores.items():
        assert value == pytest.approx(final.measures[name], rel=1e-5)


def test_equal_targets_have_a_scale() -> None:
    data = replace(dataset(), y=np.full(len(dataset().y), 7, np.float32))
    run = plan(data).tuned("none", {}, 0)[0]
    assert standard(run, data) == (7.0, 1.0)


def test_training_reads_no_other_targets_to_standardize() -> None:
    data = dataset()
    run = plan(data).tuned("none", {}, 0)[0]
    y = data.y.copy()
    for part in ("val", "test"):
        y[data.rows("leak_free", part, 0)] += 500
    assert standard(run, replace(data, y=y)) == standard(run, data)


def test_data_with_float_targets_are_kept(tmp_path: Path) -> None:
    data = dataset()
    save(data, tmp_path / "mine.npz")
    again = load(tmp_path / "mine.npz")
    assert again.task == REGRESSION
    assert again.y.dtype == np.float32
    np.testing.assert_array_equal(again.y, data.y)
    assert again.digest == data.digest


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"y": np.zeros(448)}, r"`y` must be float32 of shape \(448,\) .* but got float64"),
        ({"y": np.zeros((448, 1), np.float32)}, r"`y` must be .* but got float32 \(448, 1\)"),
        ({"y": np.full(448, np.nan, np.float32)}, "`y` must be finite"),
        ({"n_classes": 2}, "`n_classes` must be 1 for a regression, but got 2"),
        ({"task": CLASSIFICATION}, "`n_classes` must be at least 2, but got 1"),
        ({"task": CLASSIFICATION, "n_classes": 2}, "`y` must be int32 .* but got float32"),
    ],
)
def test_targets_that_are_no_numbers_are_refused(wrong: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        replace(dataset(), **wrong)


@pytest.mark.parametrize("technique", ["label_smoothing", "mixup", "early_stopping", "best_epoch"])
def test_techniques_that_need_labels_do_not_fit(
    technique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = TECHNIQUES[technique].lowest
    with pytest.raises(ValueError, match=r"needs class labels .* but the task is a regression"):
        build(Mlp("mlp", (4,)), change, (3,), 1, task=REGRESSION)
    study = loading.load().study("circles")
    techniques = {"none": sections.TechniqueParams(), technique: sections.TechniqueParams()}
    study = replace(study, techniques=techniques, outcomes=("test_mae", "test_r2", "noise_rmse"))
    monkeypatch.setattr(CirclesData, "trained_for", REGRESSION)
    (problem,) = study_problems(study)
    assert problem.startswith(f"techniques.{technique}: needs class labels")
    assert technique not in problem.split("expected one of ")[1].split(", ")


def test_noise_adds_the_error_that_the_slope_says() -> None:
    """Of f(x) = 2 x, noise of sigma adds an error of 2 sigma: on average over sigmas 0.2 * 2."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.set_weights([np.full((1, 1), 2, np.float32), np.zeros(1, np.float32)])
    x = np.random.default_rng(1).normal(size=(20_000, 1)).astype(np.float32)
    y = 2 * x[:, 0]
    assert noise_rmse(model, x, y, y) == pytest.approx(0.4, rel=0.02)
