"""Weights of examples and of classes: the engine trains as `model.fit` does with them."""

from collections import defaultdict
from dataclasses import replace
from functools import partial
from typing import Any

import keras
import numpy as np
import pytest

from pipeline.datasets.task import CLASSIFICATION, REGRESSION, Task
from pipeline.engine import Engine, Member, Training, batch_order

from .problem import ROWS, VAL_ROWS, Problem, same, typical

ENGINES = [Engine("xla", 3), Engine("graph", 1)]
WITH_ENGINES = pytest.mark.parametrize("engine", ENGINES, ids=["xla", "graph"])
CLASSES = np.array([0.5, 2.0, 1.25], np.float32)

pytestmark = pytest.mark.slow


def weights(rows: int, seed: int) -> np.ndarray:
    """Of mean 1, from about a tenth to three."""
    found = np.random.default_rng(seed).gamma(2.0, size=rows) + 0.1
    return np.asarray(found / found.mean(), np.float32)


def weighted(problem: Problem, technique: str, classes: bool) -> tuple[Member, Training]:
    member, training = (
        problem.member(technique, typical(technique), seed=2),
        problem.training(technique, typical(technique)),
    )
    if classes:
        member = replace(member, class_weights=CLASSES[: problem.n_classes])
        return member, replace(training, class_weighted=True)
    member = replace(member, train_weights=weights(ROWS, 0), val_weights=weights(VAL_ROWS, 1))
    return member, replace(training, weighted=True)


def loss_of(problem: Problem, smoothing: float) -> Any:
    if problem.task.quantity:
        return keras.losses.mean_squared_error
    assert problem.n_classes == 2 or not smoothing, "labels are not one-hot"
    if problem.n_classes == 2:
        return partial(keras.losses.binary_crossentropy, label_smoothing=smoothing)
    return keras.losses.sparse_categorical_crossentropy


def fitted(problem: Problem, technique: str, member: Member) -> tuple[Any, dict[str, list[float]]]:
    """The model after `fit` with `sample_weight` or `class_weight`, and its history."""
    model, (x, y) = member.model, problem.data()
    target = y[:, None]
    if problem.task.quantity:
        target = (target - member.target_mean) / member.target_scale
    model.set_weights(member.weights)
    plain = keras.metrics.MeanMetricWrapper(loss_of(problem, 0.0), name="plain")
    accuracy: list[Any] = [] if problem.task.quantity else ["accuracy"]
    by_class = member.class_weights is not None
    metrics = {("metrics" if by_class else "weighted_metrics"): [*accuracy, plain]}
    loss = loss_of(problem, member.label_smoothing)
    model.compile(keras.optimizers.Adam(member.learning_rate), loss, **metrics)
    history: dict[str, list[float]] = defaultdict(list)
    for epoch in range(problem.epochs):
        order = batch_order(member.seed, epoch, ROWS)
        how: dict[str, Any] = {"validation_data": (x[ROWS:], target[ROWS:], member.val_weights)}
        if member.class_weights is not None:
            how = {"validation_data": (x[ROWS:], target[ROWS:])}
            how["class_weight"] = dict(enumerate(member.class_weights.tolist()))
        else:
            assert member.train_weights is not None
            how["sample_weight"] = member.train_weights[order]
        found = model.fit(
            *(x[order], target[order]),
            batch_size=problem.batch_size,
            shuffle=False,
            verbose=0,
            **how,
        )
        for name, values in found.history.items():
            history[name] += values
    return model, history


@WITH_ENGINES
@pytest.mark.parametrize("classes", [False, True], ids=["examples", "classes"])
@pytest.mark.parametrize(
    ("task", "n_classes", "technique", "batch_size"),
    [
        (CLASSIFICATION, 3, "l2", 16),  # three batches and a rest
        (CLASSIFICATION, 2, "label_smoothing", 25),
        (CLASSIFICATION, 2, "none", 64),  # all in one batch
        (REGRESSION, 3, "l2", 25),
    ],
    ids=["l2", "smoothed", "one batch", "regression"],
)
def test_weights_are_those_of_fit(
    task: Task, n_classes: int, technique: str, batch_size: int, classes: bool, engine: Engine
) -> None:
    if classes and task is REGRESSION:
        pytest.skip("a regression has no classes")
    problem = Problem(n_classes, batch_size, task=task)
    member, training = weighted(problem, technique, classes)
    model, history = fitted(problem, technique, member)
    before = [replace(member, seed=seed) for seed in range(2)]
    members = [*before, member][-engine.population(member, training) :]
    found = engine.train(members, training, *problem.data())[-1]
    for ours, theirs in zip(found.weights, model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-5)
    names = {"train_loss": "plain", "val_loss": "val_plain"}
    names |= {} if task.quantity else {"train_accuracy": "accuracy", "val_accuracy": "val_accuracy"}
    for name, theirs in names.items():
        np.testing.assert_allclose(found.curves[name], history[theirs], rtol=2e-5, err_msg=name)


@WITH_ENGINES
@pytest.mark.parametrize("technique", ["l2", "mixup"])
def test_equal_weights_train_as_none(technique: str, engine: Engine) -> None:
    problem = Problem()
    member = problem.member(technique, typical(technique))
    training = problem.training(technique, typical(technique))
    ones = {name: np.ones(rows, np.float32) for name, rows in (("train", ROWS), ("val", VAL_ROWS))}
    equal = replace(
        member,
        train_weights=ones["train"],
        val_weights=ones["val"],
        class_weights=np.ones(3, np.float32),
    )
    given = replace(training, weighted=True, class_weighted=True)
    (plain,) = engine.train([member], training, *problem.data())
    (weighed,) = engine.train([equal], given, *problem.data())
    for name, curve in plain.curves.items():
        np.testing.assert_allclose(weighed.curves[name], curve, rtol=2e-5, atol=2e-6)


def test_members_of_one_program_have_their_own_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, engine = Problem(), Engine("xla", 3)
    member, training = weighted(problem, "none", classes=False)
    members = [replace(member, train_weights=weights(ROWS, seed)) for seed in range(3)]
    together = engine.train(members, training, *problem.data())
    for one, alone in zip(together, members, strict=True):
        assert same(one, engine.train([alone], training, *problem.data())[0])
    assert not same(together[0], together[1])
    monkeypatch.setattr("pipeline.engine.program.EVALUATION_ROWS", 8)  # validation in parts
    (parts,) = Engine("xla", 3).train(members[:1], training, *problem.data())
    np.testing.assert_allclose(parts.curves["val_loss"], together[0].curves["val_loss"], rtol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"train_weights": None}, r"train_weights: expected floating-point .*\(50,\).*got None"),
        ({"val_weights": np.ones(4)}, r"val_weights: .* of shape \(30,\), but got float64 \(4,\)"),
        (
            {"train_weights": np.zeros(ROWS)},
            "train_weights: expected finite numbers > 0, but got 0",
        ),
        ({"class_weights": np.ones(3)}, "class_weights: expected None, as the training does not"),
    ],
)
def test_weights_that_do_not_fit_are_refused(wrong: dict[str, Any], expected: str) -> None:
    problem = Problem()
    member, training = weighted(problem, "none", classes=False)
    with pytest.raises(ValueError, match=expected):
        ENGINES[1].train([replace(member, **wrong)], training, *problem.data())
