"""Runs become plain Keras models and their measures; a trainer keeps nothing that grows."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import psutil
import pytest

from pipeline.analysis import inference
from pipeline.analysis.claims import CLAIMS
from pipeline.analysis.summary import COUNTS
from pipeline.config import loading, sections
from pipeline.config.sections import Pruning, TechniqueParams, Tuning
from pipeline.datasets import PARTS, Dataset, Ints, Part
from pipeline.datasets.circles import CirclesData
from pipeline.datasets.sources import prepare
from pipeline.datasets.task import CLASSIFICATION
from pipeline.engine import Engine, Trained
from pipeline.execution.journal import Journal
from pipeline.models import building, whitening
from pipeline.models.architectures import MODELS, Cnn, Lstm, Mlp, Model
from pipeline.models.stack import WHITENING
from pipeline.techniques.training import ProximalL1
from pipeline.training.measures import measure
from pipeline.training.runs import Plan, Run
from pipeline.training.trainer import Trainer, training_measures

BATCH = 10  # trials in one call

EXAMPLES: dict[str, Model] = {
    "mlp": Mlp("mlp", (8,)),
    "cnn": Cnn("cnn", (4, 3), hidden=(8,)),
    "lstm": Lstm("lstm", (4, 3), hidden=(8,)),
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Images of 4 x 4 pixels, whose brightest half is their class."""
    rng = np.random.default_rng(0)
    x, y = rng.random((80, 4, 4), np.float32), rng.integers(2, size=80).astype(np.int32)
    x[y == 1, 2:] += 1
    rows = np.arange(80, dtype=np.int32)[None]
    parts: dict[Part, Ints] = {"train": rows[:, :48], "val": rows[:, 48:64], "test": rows[:, 64:]}
    return Dataset("digits", 2, x, y, {"article": parts, "leak_free": parts})


def unit(model: Model, technique: str, values: dict[str, float], dataset: Dataset) -> Run:
    return Run(
        study="digits",
        data_digest=dataset.digest,
        model=model,
        training=sections.Training("adam", 0.01, 16, 12),
        technique=technique,
        values=values,
        setting="article",
        seed=0,
        draw=0,
        study_seed=1,
        program="auto",
        population="auto",
    )


def test_every_classifier_is_trained() -> None:
    """test_autoencoder.py trains the other architecture."""
    classifiers = {n for n, each in MODELS.items() if each.own_task is None}
    assert set(EXAMPLES) == classifiers


@pytest.mark.parametrize(
    ("technique", "values"),
    [
        ("dropout_l2", {"rate": 0.1, "strength": 1e-4}),
        ("activity_l1_after", {"strength": 1e-4}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("name", EXAMPLES)
def test_a_trained_run_is_a_plain_model_that_has_learnt(
    name: str, technique: str, values: dict[str, float], dataset: Dataset, tmp_path: Path
) -> None:
    given = unit(EXAMPLES[name], technique, values, dataset)
    result = Trainer(dataset, Engine()).run([given], [None])[0]
    assert result.curves is not None
    assert len(result.curves["train_loss"]) == 12
    assert result.curves["penalty"][-1] > 0
    assert result.measures["val_accuracy"] > 0.8

    assert result.model is not None
    (tmp_path / "model.keras").write_bytes(result.model)
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    assert {type(layer).__module__.split(".")[0] for layer in loaded.layers} == {"keras"}
    again = measure(loaded, {"test": dataset.split("article", "test", 0)}).measures
    assert again["test_loss"] == pytest.approx(result.measures["test_loss"], rel=1e-5)
    assert again["parameters"] == result.measures["parameters"]
    assert result.probabilities is not None
    outputs = loaded.predict(dataset.split("article", "test", 0)[0], verbose=0)
    np.testing.assert_allclose(result.probabilities, outputs, rtol=1e-5)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_proximal_step_leaves_zeros_in_the_model_and_nothing_in_the_penalty(
    name: str, dataset: Dataset, tmp_path: Path
) -> None:
    given = unit(EXAMPLES[name], "proximal_l1", {"strength": 0.8}, dataset)
    result = Trainer(dataset, Engine()).run([given], [None])[0]
    assert result.curves is not None
    assert not result.curves["penalty"].any()
    assert result.model is not None
    (tmp_path / "model.keras").write_bytes(result.model)
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    hidden = building.hidden_kernels(loaded, given.change, ProximalL1)
    for place, weight in enumerate(loaded.get_weights()):
        kernel = weight.ndim > 1
        assert not kernel or np.any(weight == 0) == (place in hidden)


def test_gates_that_close_make_the_stored_model_smaller(dataset: Dataset, tmp_path: Path) -> None:
    """At a rate that closes gates in few steps; the model has learnt and gives its measures."""
    given = unit(EXAMPLES["mlp"], "l0", {"strength": 0.05}, dataset)
    given = replace(given, training=sections.Training("adam", 0.05, 16, 60))
    plain = replace(given, technique="none", values={})
    trainer = Trainer(dataset, Engine())
    (result,), (other,) = (trainer.run([each], [None]) for each in (given, plain))
    assert result.measures["val_accuracy"] > 0.8
    assert result.measures["parameters"] < other.measures["parameters"]
    assert result.model is not None
    (tmp_path / "model.keras").write_bytes(result.model)
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    again = measure(loaded, {"test": dataset.split("article", "test", 0)}).measures
    assert again["test_loss"] == pytest.approx(result.measures["test_loss"], rel=1e-5)
    assert again["parameters"] == result.measures["parameters"] == loaded.count_params()


@pytest.mark.parametrize("name", EXAMPLES)
def test_whitening_reads_training_images_alone_and_is_exported_with_the_model(
    name: str, dataset: Dataset, tmp_path: Path
) -> None:
    values = {"epsilon": 0.01, "rate": 0.1}
    given = unit(EXAMPLES[name], "zca_dropout", values, dataset)
    given = replace(given, training=sections.Training("adam", 0.01, 16, 2))
    other = dataset.x.copy()
    other[dataset.splits["article"]["val"]] += 5
    other[dataset.splits["article"]["test"]] -= 3
    one, same = (
        Trainer(data, Engine()).run([given], [None])[0]
        for data in (dataset, replace(dataset, x=other))
    )
    loaded = []
    for result in (one, same):
        assert result.model is not None
        (tmp_path / "model.keras").write_bytes(result.model)
        loaded.append(keras.models.load_model(tmp_path / "model.keras", safe_mode=True))
    weights = zip(*(model.get_weights() for model in loaded), strict=True)
    assert all(np.array_equal(a, b) for a, b in weights)

    layer = loaded[0].get_layer(WHITENING)
    train, _ = dataset.split("article", "train", 0)
    for found, expected in zip(layer.get_weights(), whitening.fit(train).layer(0.01), strict=True):
        np.testing.assert_array_equal(found, expected)
    again = measure(loaded[0], {"test": dataset.split("article", "test", 0)}).measures
    assert again["test_loss"] == pytest.approx(one.measures["test_loss"], rel=1e-6)


def small(hidden: int, epochs: int = 1) -> tuple[Dataset, Plan]:
    """Few circles, and a study of few epochs on them."""
    given = loading.load().study("circles")
    drawn = CirclesData(input="data/sources/circles.yaml", test=50, draws=4)
    data = prepare("circles", drawn, 1, Path("nowhere"))
    tuning = Tuning(trials=1000, seeds=1, round=BATCH, epochs=epochs)
    model = replace(given.model, hidden=(hidden,))
    stopped = dict.fromkeys(
        ("dropout", "dropout_early_stopping", "dropout_early_stopping_again"), TechniqueParams()
    )
    techniques = {**given.techniques, **stopped}
    study = replace(given, data=drawn, model=model, tuning=tuning, techniques=techniques)
    return data, Plan("circles", data.digest, study, 1, sections.Engine())


def test_a_trial_never_meets_the_labels_of_the_test() -> None:
    data, plan = small(20)
    labels = data.y.astype(np.int32)
    labels[data.splits["leak_free"]["test"]] ^= 1
    unit = plan.trial("l2", {"strength": 1e-3}, 0, 0)
    one, other = (
        dict(Trainer(given, Engine()).run([unit], [None])[0].measures) | {"seconds": 0.0}
        for given in (data, replace(data, y=labels))
    )
    assert one == other
    assert not [name for name in one if name.startswith(("test", "noise", "calibration"))]


@pytest.mark.parametrize(
    ("technique", "values"), [("l2", {"strength": 0.01}), ("ema", {"horizon": 10})]
)
def test_a_trial_scored_after_the_choice_scores_as_a_final_run_of_the_same_weights(
    technique: str, values: dict[str, float], tmp_path: Path
) -> None:
    data, plan = small(20, epochs=3)
    techniques = {**plan.study.techniques, technique: TechniqueParams()}
    plan = replace(plan, study=replace(plan.study, techniques=techniques))
    final = plan.tuned(technique, values, 0)[1]
    trial, trainer = replace(final, setting="trial"), Trainer(data, Engine())
    (measured,), (tried,) = (trainer.run([run], [None]) for run in (final, trial))
    assert tried.weights is not None
    journal = Journal("circles", tmp_path)
    journal.add([trial], [tried])
    kept = journal.weights_path(trial.key)
    assert kept is not None
    (scores,) = trainer.scores([trial], [kept])
    for name in ("test_accuracy", "test_loss"):
        assert scores[name] == pytest.approx(measured.measures[name], rel=1e-6)
    assert data.held_out is not None
    rows = data.held_out[trial.draw]
    assert measured.model is not None
    (tmp_path / "model.keras").write_bytes(measured.model)
    model = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    expected = np.mean((model.predict(data.x[rows], verbose=0)[:, 0] > 0.5) == data.y[rows])
    assert scores["held_out_accuracy"] == pytest.approx(expected)
    assert scores.keys() == {
        f"{part}_{score}" for part in ("test", "held_out") for score in ("accuracy", "loss")
    }


def test_weights_of_trials_are_kept_only_if_they_are_small() -> None:
    data, plan = small(20)
    run = plan.trial("l2", {"strength": 1e-3}, 0, 0)
    (small_one,) = Trainer(data, Engine()).run([run], [None])
    assert small_one.weights is not None
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("pipeline.training.trainer.LARGEST_KEPT", 4 * 20)  # bytes: fewer weights
        (large,) = Trainer(data, Engine()).run([run], [None])
    assert large.weights is None
    assert {**large.measures, "seconds": 0} == {**small_one.measures, "seconds": 0}


def test_with_the_validation_examples_a_model_learns_them_too() -> None:
    data, plan = small(20)
    techniques = {**plan.study.techniques, "train_and_validation": TechniqueParams()}
    plan = replace(plan, study=replace(plan.study, techniques=techniques))
    (run, *_), (plain, *_) = (plan.tuned(n, {}, 0) for n in ("train_and_validation", "none"))
    trainer = Trainer(data, Engine())
    both, train = (set(trainer._train_rows(each).tolist()) for each in (run, plain))
    parts = {part: set(data.rows("leak_free", part, run.draw).tolist()) for part in PARTS}
    assert train == parts["train"]
    assert both == parts["train"] | parts["val"]
    assert not both & parts["test"]
    labels = data.y.astype(np.int32)
    labels[data.rows("leak_free", "val", run.draw)] ^= 1
    other = Trainer(replace(data, y=labels), Engine())
    for each, same in ((plain, True), (run, False)):
        losses = [t.run([each], [None])[0].measures["train_loss"] for t in (trainer, other)]
        assert (losses[0] == losses[1]) == same


def test_a_final_run_has_every_column_that_the_claims_need() -> None:
    data, plan = small(20)
    knowing = replace(data, informative=np.array([1], np.int32))
    unknowing, informed = (
        Trainer(each, Engine()).run(plan.tuned("none", {}, 0)[:1], [None])[0].measures
        for each in (data, knowing)
    )
    assert informed.keys() - unknowing.keys() == {"informative_recall", "noise_inputs_dropped"}
    needed = {each.measure for claim in CLAIMS for each in claim.statements}
    # The times are measured by a stage of its own, the others in models with dropout alone.
    elsewhere = {inference.COLUMN, "sampled_accuracy", "sampled_loss", "unsampled_loss"}
    assert needed - informed.keys() <= elsewhere
    assert CLASSIFICATION.measures.keys() - informed.keys() == elsewhere
    assert {*COUNTS} <= informed.keys()


def test_a_second_fit_continues_where_the_first_one_ended() -> None:
    data, plan = small(20, epochs=6)
    values = {"rate": 0.3}
    once = plan.tuned("dropout", values, 0)[0]
    again = plan.tuned("dropout_early_stopping_again", values | {"patience": 1}, 0)[0]
    first, both = (Trainer(data, Engine()).run([unit], [None])[0] for unit in (once, again))
    assert (once.training.epochs, again.training.epochs) == (6, 12)
    assert first.curves is not None
    assert both.curves is not None
    for name, curve in first.curves.items():
        np.testing.assert_allclose(both.curves[name][:6], curve, rtol=1e-5, err_msg=name)
    assert first.measures["last_fit_epochs"] == 6
    assert both.measures["last_fit_epochs"] == both.measures["epochs_run"] - 6 < 6


@pytest.mark.parametrize(("diverged", "told"), [(3, 0.2), (1, 0.1), (None, 0.3)])
def test_a_run_that_diverges_has_the_values_of_its_last_finite_epoch(
    diverged: int | None, told: float, dataset: Dataset
) -> None:
    curves = {"val_loss": np.array([0.1, 0.2, 0.3]), "val_accuracy": np.array([0.9, 0.8, 0.6])}
    trained = Trained([], curves, 3, None, diverged, 1.0)
    trained = replace(trained, epochs_run=diverged or 3)
    found = training_measures(unit(EXAMPLES["mlp"], "none", {}, dataset), trained)
    assert found["val_loss"] == told
    assert found["fall"] == pytest.approx(0.9 - found["val_accuracy"])
    assert found["diverged"] == (diverged is not None)


def test_trials_of_two_fits_start_anew() -> None:
    _, plan = small(20, epochs=4)
    tuning = replace(plan.study.tuning, pruning=Pruning(first=1, factor=2))
    plan = replace(plan, study=replace(plan.study, tuning=tuning))
    values = {"rate": 0.3, "patience": 1}
    assert plan.trial("dropout_early_stopping", values, 0, 0).goes_on_from is not None
    assert plan.trial("dropout_early_stopping_again", values, 0, 0).goes_on_from is None


@pytest.mark.exhaustive
def test_a_thousand_trials_do_not_grow_the_process() -> None:
    data, plan = small(20)
    trainer, process = Trainer(data, Engine()), psutil.Process()
    resident = []
    for first in range(0, 1000, BATCH):
        strengths = [1e-4 * (1 + i / 1000) for i in range(first, first + BATCH)]
        units = [plan.trial("l2", {"strength": strength}, 0, 0) for strength in strengths]
        trainer.run(units, [None] * BATCH)
        resident.append(process.memory_info().rss / 2**20)
    assert trainer.engine.traces == 1
    late = resident[-1] - resident[len(resident) // 4]
    assert late < 30, f"750 trials added {late:.0f} MiB to {resident[0]:.0f} MiB"
