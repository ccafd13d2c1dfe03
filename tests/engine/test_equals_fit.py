"""The engine gives what `model.fit` gives, technique by technique."""

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any, Literal

import keras
import numpy as np
import pytest
from keras import ops

from pipeline.engine import Engine, Member, batch_order, noise_key
from pipeline.engine.noise import Noise
from pipeline.engine.program import CURVES
from pipeline.techniques import TECHNIQUES

from .problem import ROWS, Problem, typical

# Kept between tests, as in a worker: techniques that share a program compile it once.
ENGINES = [Engine("xla", 3), Engine("graph", 1)]
IDS = ["xla, 3 members", "graph, 1 member"]


class Steps(keras.callbacks.Callback):  # type: ignore[misc]  # keras has no types
    """Counts training steps, as the engine does, for the noise of the patched Dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.step = -1

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.step += 1


class SoftThreshold(keras.callbacks.Callback):  # type: ignore[misc]  # keras has no types
    """The proximal step of an L1 penalty on the hidden kernels, after each batch."""

    def __init__(self, size: float) -> None:
        super().__init__()
        self.size = size

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        for layer in self.model.layers[:-1]:
            if layer.weights:
                kernel = np.asarray(layer.kernel)
                shrunk = np.maximum(np.abs(kernel) - self.size, 0)
                layer.kernel.assign(np.sign(kernel) * shrunk)


def give_engine_noise(
    model: keras.Sequential, member: Member, steps: Steps, monkeypatch: Any
) -> None:
    """Makes the model's random layers use the noise that the engine would use for the member."""

    def patch(kind: type, noisy: Callable[[Any, Any, Noise, int], Any]) -> None:
        def call(layer: Any, inputs: Any, training: bool = False) -> Any:
            if not training:
                return inputs
            key = ops.convert_to_tensor(noise_key(member.seed)[None])
            noise = Noise(key, ops.cast(steps.step, "uint32"))
            return noisy(layer, inputs, noise, model.layers.index(layer))

        monkeypatch.setattr(kind, "call", call)

    def drop(shape: Callable[[Any], Any]) -> Callable[[Any, Any, Noise, int], Any]:
        return lambda layer, x, noise, stream: (
            x * mask(noise.bits(stream, shape(x)), layer.rate) / (1 - layer.rate)
        )

    def normal(x: Any, noise: Noise, stream: int) -> Any:
        return noise.normal(stream, tuple(x.shape))[0]

    patch(keras.layers.Dropout, drop(lambda x: tuple(x.shape)))
    patch(keras.layers.SpatialDropout2D, drop(lambda x: (x.shape[0], 1, 1, x.shape[-1])))
    patch(
        keras.layers.GaussianNoise,
        lambda layer, x, noise, stream: x + layer.stddev * normal(x, noise, stream),
    )
    patch(
        keras.layers.GaussianDropout,
        lambda layer, x, noise, stream: (
            x * (1 + np.sqrt(layer.rate / (1 - layer.rate)) * normal(x, noise, stream))
        ),
    )


def mask(bits: Any, rate: float) -> np.ndarray:
    """The mask that the engine makes of the first member's bits."""
    threshold = np.uint32(np.float32(rate) * np.float32(2**32))
    return np.asarray(np.asarray(bits)[0] >= threshold, np.float32)


def fit(problem: Problem, technique: str, member: Member, monkeypatch: Any) -> tuple[Any, Any]:
    """Trains the member with `model.fit`; gives the model and {curve: values}."""
    model, steps = member.model, Steps()
    x, labels = problem.data()
    y = labels[:, None] if problem.n_classes == 2 else labels
    give_engine_noise(model, member, steps, monkeypatch)
    model.set_weights(member.weights)
    binary = problem.n_classes == 2
    loss = "binary_crossentropy" if binary else "sparse_categorical_crossentropy"
    optimizer = {"adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}[problem.optimizer]
    unpenalised = keras.metrics.MeanMetricWrapper(keras.losses.get(loss), name="unpenalised")
    model.compile(
        optimizer(member.learning_rate), loss, metrics=["accuracy", unpenalised], run_eagerly=True
    )
    stopping = TECHNIQUES[technique].apply(typical(technique)).stopping
    callbacks: list[keras.callbacks.Callback] = [steps]
    if member.proximal:
        callbacks.append(SoftThreshold(member.learning_rate * member.proximal))
    if stopping:
        callbacks.append(
            keras.callbacks.EarlyStopping(
                "val_accuracy", patience=stopping.patience, restore_best_weights=True, mode="max"
            )
        )
    history = model.fit(
        batches(x[:ROWS], y[:ROWS], problem.batch_size, member.seed),
        steps_per_epoch=-(-ROWS // problem.batch_size),
        epochs=problem.epochs,
        validation_data=(x[ROWS:], y[ROWS:]),
        callbacks=callbacks,
        verbose=0,
        shuffle=False,
    ).history
    return model, {
        "train_loss": history["unpenalised"],
        "train_accuracy": history["accuracy"],
        "val_loss": history["val_unpenalised"],
        "val_accuracy": history["val_accuracy"],
        "penalty": np.subtract(history["loss"], history["unpenalised"]),
    }


def batches(
    x: np.ndarray, y: np.ndarray, size: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches in the engine's order, epoch after epoch."""
    for epoch in count():
        order = batch_order(seed, epoch, len(x))
        for start in range(0, len(x), size):
            rows = order[start : start + size]
            yield x[rows], y[rows]


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("engine", ENGINES, ids=IDS)
def test_engine_equals_fit(technique: str, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Problem(epochs=8 if "stopping" in technique else 4)
    values = typical(technique)
    check(problem, technique, values, engine, monkeypatch)


@pytest.mark.parametrize(
    "problem",
    [
        Problem(n_classes=2),
        Problem(n_classes=2, batch_size=64),  # the whole data set in one batch, as in article A
        Problem(optimizer="sgd"),
        Problem(batch_size=10),  # batches come out even
        Problem(batch_size=1, epochs=2),
    ],
    ids=["binary", "one batch", "sgd", "even batches", "single rows"],
)
@pytest.mark.parametrize("engine", ENGINES, ids=IDS)
def test_engine_equals_fit_for_other_shapes(
    problem: Problem, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(problem, "l2", {"strength": 1e-3}, engine, monkeypatch)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("engine", ENGINES, ids=IDS)
def test_the_proximal_step_gives_exact_zeros_where_the_gradient_of_the_penalty_gives_none(
    optimizer: Literal["sgd", "adam"], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, values = Problem(optimizer=optimizer), {"strength": 1.0}
    check(problem, "proximal_l1", values, engine, monkeypatch)
    zeros = {}
    for technique in ("proximal_l1", "l1"):
        member = problem.member(technique, values)
        training = problem.training(technique, values)
        weights = engine.train([member], training, *problem.data())[0].weights
        *kernels, output = weights[::2]
        zeros[technique] = np.mean(np.concatenate([kernel.ravel() for kernel in kernels]) == 0)
        assert np.all(output != 0)
    assert zeros["proximal_l1"] > 0.1
    assert zeros["l1"] == 0


def check(
    problem: Problem,
    technique: str,
    values: Mapping[str, float],
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Trains a population with the engine and its members with `fit`, and compares them."""
    training = problem.training(technique, values)
    members = engine.population(problem.member(technique, values), training)
    population = [problem.member(technique, values, seed) for seed in range(members)]
    trained = engine.train(population, training, *problem.data())
    for place in {0, members - 1}:
        model, curves = fit(problem, technique, population[place], monkeypatch)
        found = trained[place]
        assert found.epochs_run == len(curves["val_loss"])
        for name in CURVES:
            np.testing.assert_allclose(
                found.curves[name], curves[name], rtol=2e-5, atol=2e-6, err_msg=name
            )
        for ours, theirs in zip(found.weights, model.get_weights(), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-5)
