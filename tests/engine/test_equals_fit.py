"""Technique by technique: the engine trains as `model.fit` does, and plain Keras models.

This `fit` is given the batches in the engine's order, from a generator and with `shuffle=False`,
and the engine's noise; it runs eagerly, and no seed of TensorFlow is set or matters. The order that
`fit` itself would shuffle into is the subject of test_shuffling.py.

These tests are in one file so that each technique is compiled once.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import pytest
from keras import ops

from pipeline.datasets.task import REGRESSION
from pipeline.engine import Engine, Member, batch_order, mixup, noise_key
from pipeline.engine.gates import HardConcrete
from pipeline.engine.mixup import quantiles
from pipeline.engine.noise import Noise
from pipeline.engine.program import CURVES
from pipeline.models.plain import plain
from pipeline.techniques.registry import TECHNIQUES
from pipeline.techniques.structure import Whitening
from pipeline.techniques.training import BatchSize, Stopping

from .problem import AUTOENCODER, IMAGE, ROWS, Problem, off, same, suited, typical

# Kept between tests, as in a worker: techniques that share a program compile it once.
ENGINES = [Engine("xla", 3), Engine("graph", 1)]
IDS = ["xla, 3 members", "graph, 1 member"]


def usual(technique: str) -> str:
    """The kind of program that trains the technique's model in a study."""
    return "xla" if suited(technique).architecture.architecture == "mlp" else "graph"


def cost(technique: str, kind: str) -> list[pytest.MarkDecorator]:
    """Which `make` has a technique with a kind of program: compiling all of both takes minutes."""
    if not kind.startswith(usual(technique)):
        return [pytest.mark.exhaustive]
    return [] if technique == "dropout_l2" else [pytest.mark.slow]


WITH_ENGINES = pytest.mark.parametrize(
    ("technique", "engine"),
    [
        pytest.param(technique, engine, id=f"{technique}-{kind}", marks=cost(technique, kind))
        for technique in TECHNIQUES
        for engine, kind in zip(ENGINES, IDS, strict=True)
    ],
)
# What is left of a technique at zero, where it is not `none`.
BASELINES = {"alpha_dropout": "activation_selu"}
ACCURACIES = {"train": "accuracy", "val": "val_accuracy"}  # in the history of `fit`
# The engine's names → Keras's here, and where better values are.
MONITORS = {"val_accuracy": ("val_accuracy", "max"), "val_loss": ("val_unpenalised", "min")}


# How many numbers the engine draws for each row.
IMAGE_DRAWS = {
    keras.layers.RandomTranslation: 2,
    keras.layers.RandomRotation: 1,
    keras.layers.RandomZoom: 1,
    keras.layers.RandomFlip: 1,
    keras.layers.RandomErasing: 4,
}


class Steps(keras.callbacks.Callback):  # type: ignore[misc]  # keras has no types
    """Counts training steps, as the engine does, for the noise of the patched Dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.step = -1

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.step += 1


def soft_threshold(kernel: np.ndarray, size: float) -> np.ndarray:
    return np.asarray(np.sign(kernel) * np.maximum(np.abs(kernel) - size, 0))


def group_soft_threshold(kernel: np.ndarray, size: float) -> np.ndarray:
    inputs = kernel.shape[-2]
    groups = np.moveaxis(kernel, -2, 0).reshape(inputs, -1)
    norms = np.linalg.norm(groups, axis=1)
    with np.errstate(divide="ignore"):
        kept = np.maximum(0, 1 - size * np.sqrt(groups.shape[1]) / norms)
    return np.asarray(kernel * kept[:, None])


PROXIMAL = {"proximal_l1": soft_threshold, "proximal_group_lasso": group_soft_threshold}


class ProximalStep(keras.callbacks.Callback):  # type: ignore[misc]  # keras has no types
    """The proximal step of a penalty on the hidden kernels, after each batch."""

    def __init__(self, step: Callable[[np.ndarray], np.ndarray]) -> None:
        super().__init__()
        self.step = step

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        for layer in self.model.layers[:-1]:
            if layer.weights:
                layer.kernel.assign(self.step(np.asarray(layer.kernel)))


Loss = Callable[[Any, Any], Any]


def losses_of(problem: Problem, smoothing: float) -> tuple[Loss, Loss]:
    """Keras's loss with labels as they are, and with smoothed ones."""
    if not problem.aim.labels:
        return keras.losses.mean_squared_error, keras.losses.mean_squared_error
    if problem.n_classes == 2:
        plain = keras.losses.binary_crossentropy
        return plain, partial(plain, label_smoothing=smoothing)

    def smoothed(y: Any, outputs: Any) -> Any:
        target = ops.one_hot(ops.reshape(y, (-1,)), problem.n_classes)
        return keras.losses.categorical_crossentropy(target, outputs, label_smoothing=smoothing)

    plain = keras.losses.sparse_categorical_crossentropy
    return plain, smoothed if smoothing else plain


def optimizer_of(problem: Problem, member: Member) -> keras.optimizers.Optimizer:
    """Keras's optimizer, with weight decay on the hidden kernels if the member has it."""
    decay = member.kernel_steps.get("weight_decay")
    if decay is None:
        plain = {"adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}
        own: dict[str, Any] = {"momentum": member.momentum} if member.momentum else {}
        ema = {"use_ema": True, "ema_momentum": member.decay} if member.decay else {}
        return plain[problem.optimizer](member.learning_rate, **own, **ema)
    kinds = {"adam": keras.optimizers.AdamW, "sgd": keras.optimizers.SGD}
    optimizer = kinds[problem.optimizer](member.learning_rate, weight_decay=decay)
    *hidden, output = member.model.layers
    biases = [weight for layer in hidden for weight in layer.weights if weight.name != "kernel"]
    optimizer.exclude_from_weight_decay([*biases, *output.weights])
    return optimizer


class AverageOverEpochs(keras.callbacks.Callback):  # type: ignore[misc]  # keras has no types
    """Validates and keeps the mean of the weights at the ends of the epochs after `after`."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after
        self.ends: list[list[np.ndarray]] = []

    def on_test_begin(self, logs: Any = None) -> None:
        self.ends.append(self.model.get_weights())
        counted = self.ends[self.after :] or self.ends[-1:]
        self.mean = [np.mean(weights, axis=0) for weights in zip(*counted, strict=True)]
        self.model.set_weights(self.mean)

    def on_test_end(self, logs: Any = None) -> None:
        self.model.set_weights(self.ends[-1])

    def on_train_end(self, logs: Any = None) -> None:
        self.model.set_weights(self.mean)


def give_engine_noise(
    model: keras.Sequential, member: Member, steps: Steps, monkeypatch: Any
) -> None:
    """Makes the model's random layers use the noise that the engine would use for the member."""

    def uniform(gates: HardConcrete) -> Any:
        key = ops.convert_to_tensor(noise_key(member.seed)[None])
        stream, shape = model.layers.index(gates), tuple(gates.log_alpha.shape)
        return Noise(key, ops.cast(steps.step, "uint32")).uniform(stream, shape)[0]

    monkeypatch.setattr(HardConcrete, "uniform", uniform)

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
    patch(keras.layers.AlphaDropout, alpha_drop)
    for kind in IMAGE_DRAWS:
        patch(kind, transformed)

    def recurrent_masks(cell: Any, step_input: Any, rate: float) -> list[np.ndarray]:
        layer = next(each for each in model.layers if getattr(each, "cell", None) is cell)
        key = ops.convert_to_tensor(noise_key(member.seed)[None])
        noise = Noise(key, ops.cast(steps.step, "uint32"))
        bits = noise.bits(model.layers.index(layer), (4, *step_input.shape))
        return list(mask(bits, rate) / (1 - rate))

    monkeypatch.setattr(keras.layers.LSTMCell, "_create_dropout_mask", recurrent_masks)
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


def transformed(layer: Any, x: Any, noise: Noise, stream: int) -> Any:
    """Keras's own transformation of images, with this noise for its uniform numbers."""
    rows = x.shape[0]
    drawn = noise.uniform(stream, (rows, IMAGE_DRAWS[type(layer)]))
    columns = iter(np.asarray(drawn)[0].T)

    def uniform(shape: Any, minval: float = 0, maxval: float = 1, **options: Any) -> Any:
        # Whether to erase at all is drawn too; the answer is always yes.
        values = [next(columns, np.zeros(rows)) for _ in range(int(np.prod(shape)) // rows)]
        numbers = minval + (maxval - minval) * np.stack(values, axis=1).reshape(shape)
        return ops.cast(numbers, "float32")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(layer.backend.random, "uniform", uniform)
        return layer.transform_images(x, layer.get_random_transformation(x))


def alpha_drop(layer: Any, x: Any, noise: Noise, stream: int) -> Any:
    """As in Keras's call, but for where the mask comes from."""
    kept = mask(noise.bits(stream, tuple(x.shape)), layer.rate)
    limit = -1.6732632423543772 * 1.0507009873554805
    a = ((1 - layer.rate) * (1 + layer.rate * limit**2)) ** -0.5
    return a * (x * kept + limit * (1 - kept)) - a * limit * layer.rate


def mask(bits: Any, rate: float) -> np.ndarray:
    """The mask that the engine makes of the first member's bits."""
    threshold = np.uint32(np.float32(rate) * np.float32(2**32))
    return np.asarray(np.asarray(bits)[0] >= threshold, np.float32)


def fit(problem: Problem, technique: str, member: Member, monkeypatch: Any) -> tuple[Any, Any]:
    """Trains the member with `model.fit`; gives the model and {curve: values}.

    `fit` gets the engine's batches and noise, does not shuffle, and runs eagerly.
    """
    model, steps = member.model, Steps()
    x, labels = problem.data()
    y = labels[:, None] if problem.n_classes == 2 else labels
    y = x if problem.aim.target.of_input else y
    if problem.aim.quantity:
        y = (labels[:, None] - member.target_mean) / member.target_scale
    give_engine_noise(model, member, steps, monkeypatch)
    model.set_weights(member.weights)
    loss, smoothed = losses_of(problem, member.label_smoothing)
    accuracy: list[Any] = ["accuracy"] if problem.aim.labels else []
    if member.mixup:
        y = keras.utils.to_categorical(labels)
        loss = smoothed = keras.losses.categorical_crossentropy
        accuracy = [keras.metrics.MeanMetricWrapper(share_on_predicted, name="accuracy")]
    stopping = TECHNIQUES[technique].apply(typical(technique)).get(Stopping)
    callbacks: list[keras.callbacks.Callback] = [steps]
    averaging = problem.training(technique, typical(technique)).averaging
    if averaging == "steps":
        callbacks.append(keras.callbacks.SwapEMAWeights())
    if averaging == "epochs":
        callbacks.append(AverageOverEpochs(member.average_after))
    for name, strength in member.kernel_steps.items():
        if name in PROXIMAL:
            size = member.learning_rate * strength
            callbacks.append(ProximalStep(partial(PROXIMAL[name], size=size)))
    if stopping:
        monitor, mode = MONITORS[stopping.monitor]
        callbacks.append(
            keras.callbacks.EarlyStopping(
                monitor, patience=stopping.patience, restore_best_weights=True, mode=mode
            )
        )
    training = problem.training(technique, typical(technique))
    first, batch_size = training.start_from_epoch, training.batch_size
    history: dict[str, list[float]] = defaultdict(list)
    for begin, end in ((0, first), (first, problem.epochs)):
        if begin == end:
            continue
        # Each fit after a `compile` of its own, as article B has it: a new optimizer.
        unpenalised = keras.metrics.MeanMetricWrapper(loss, name="unpenalised")
        trained = keras.metrics.MeanMetricWrapper(smoothed, name="trained")
        model.compile(
            optimizer_of(problem, member),
            smoothed,
            metrics=[*accuracy, unpenalised, trained],
            run_eagerly=True,
        )
        used = member.train_rows
        rows = batches(x[used], y[used], batch_size, member.seed, begin)
        found = model.fit(
            mixed(rows, member) if member.mixup else rows,
            steps_per_epoch=-(-len(used) // batch_size),
            epochs=end - begin,
            validation_data=(x[ROWS:], y[ROWS:]),
            callbacks=callbacks if end == problem.epochs else [steps],
            verbose=0,
            shuffle=False,
        ).history
        for name, values in found.items():
            history[name] += values
    curves = {
        "train_loss": history["unpenalised"],
        "val_loss": history["val_unpenalised"],
        "penalty": np.subtract(history["loss"], history["trained"]),
    }
    if problem.aim.labels:
        curves |= {f"{part}_accuracy": history[name] for part, name in ACCURACIES.items()}
    return model, curves


def batches(
    x: np.ndarray, y: np.ndarray, size: int, seed: int, first_epoch: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches in the engine's order, epoch after epoch."""
    for epoch in count(first_epoch):
        order = batch_order(seed, epoch, len(x))
        for start in range(0, len(x), size):
            rows = order[start : start + size]
            yield x[rows], y[rows]


def mixed(
    rows: Iterator[tuple[np.ndarray, np.ndarray]], member: Member
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of examples and one-hot labels, mixed with the engine's numbers."""
    table, key = quantiles(member.mixup), ops.convert_to_tensor(noise_key(member.seed)[None])
    for step, arrays in enumerate(rows):
        noise = Noise(key, ops.cast(step, "uint32"))
        level, shift = np.asarray(noise.uniform(mixup.STREAM, (2,)))[0]
        share = np.interp(level, np.linspace(0, 1, len(table)), table)
        size = len(arrays[0])
        partners = (np.arange(size) + int(shift * size)) % size
        x, y = (share * each + (1 - share) * each[partners] for each in arrays)
        yield x.astype(np.float32), y.astype(np.float32)


def share_on_predicted(target: Any, predicted: Any) -> Any:
    """How much of a row's mixed label is on the class that is predicted for it."""
    hits = ops.one_hot(ops.argmax(predicted, axis=-1), target.shape[-1])
    return ops.sum(target * hits, axis=-1)


@WITH_ENGINES
def test_engines_equal_fit(technique: str, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = suited(technique, epochs=8 if "stopping" in technique else 4)
    check(problem, technique, typical(technique), [engine], monkeypatch)


@pytest.mark.slow
@WITH_ENGINES
def test_zero_strength_equals_no_regularizer(technique: str, engine: Engine) -> None:
    """But for techniques that say of themselves that they always act: those lose their penalty."""
    if not TECHNIQUES[technique].search:
        pytest.skip(f"{technique} has no hyperparameter, so no value that switches it off")
    if TECHNIQUES[technique].lowest.get(Whitening):
        pytest.skip(f"{technique} has no value that leaves the inputs as they are")
    if TECHNIQUES[technique].lowest.get(BatchSize):
        pytest.skip(f"{technique} has no value that is every study's")
    problem = suited(technique, epochs=25)  # two steps each
    baseline = BASELINES.get(technique, "none")
    none = problem.train(engine, [problem.member(baseline)], baseline)[0]
    training = problem.training(technique, off(technique))
    member = problem.member(technique, off(technique))
    zero = engine.train([member], training, *problem.data())[0]
    if training.restart_after:  # a new optimizer is never off: until it begins all is the same
        first = slice(training.restart_after)
        np.testing.assert_allclose(
            zero.curves["train_loss"][first], none.curves["train_loss"][first], rtol=1e-4
        )
        return
    if not TECHNIQUES[technique].off_at_zero:
        assert not np.any(zero.curves["penalty"])
        assert not np.allclose(zero.curves["train_loss"], none.curves["train_loss"], rtol=1e-3)
        return
    one_program = engine.program_name([member], training) == engine.program_name(
        [problem.member(baseline)], problem.training(baseline, {})
    )
    assert not one_program or same(none, zero)
    for name in CURVES:
        np.testing.assert_allclose(zero.curves[name], none.curves[name], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "technique",
    [name for name, each in TECHNIQUES.items() if each.search.keys() & {"strength", "l1"}],
)
def test_more_strength_leaves_less_of_what_is_penalised(technique: str) -> None:
    problem, values = Problem(epochs=25), typical(technique)
    factors = (1, 10, 100)
    members = [
        problem.member(technique, {n: v if n == "rate" else v * factor for n, v in values.items()})
        for factor in factors
    ]
    trained = problem.train(ENGINES[0], members, technique)
    if trained[0].curves["penalty"].any():
        left = [
            each.curves["penalty"][-1] / factor
            for each, factor in zip(trained, factors, strict=True)
        ]
    else:  # a step on the hidden kernels
        left = [sum(float(np.sum(k**2)) for k in each.weights[:-2:2]) for each in trained]
    assert left[0] > left[1] > left[2]


# Hyperparameters that are no strength but say how hard the training rows are to fit.
HARDER = {"rate", "stddev", "factor", "shift", "share", "alpha", "smoothing"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "technique", [name for name, each in TECHNIQUES.items() if each.search.keys() & HARDER]
)
def test_more_noise_fits_the_training_examples_less(technique: str) -> None:
    """Between the ends of the ranges; train loss is that of noisy examples, without penalties."""
    problem, search = suited(technique, epochs=25), TECHNIQUES[technique].search
    ends = (
        {n: found.low for n, found in search.items()},
        {n: found.high if n in HARDER else found.low for n, found in search.items()},
    )
    trained = [
        problem.train(ENGINES[0], [problem.member(technique, values)], technique)[0]
        for values in ends
    ]
    little, much = (each.curves["train_loss"][-5:].mean() for each in trained)
    assert much > little


@pytest.mark.slow
def test_a_tighter_max_norm_leaves_smaller_weights() -> None:
    problem = Problem(epochs=25)
    members = [problem.member("max_norm", {"max_norm": bound}) for bound in (0.5, 1.0, 2.0)]
    trained = problem.train(ENGINES[0], members, "max_norm")
    norms = [sum(float(np.sum(k**2)) for k in each.weights[:-2:2]) for each in trained]
    assert norms[0] < norms[1] < norms[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("technique", "name", "values"),
    [
        ("ema", "horizon", (300, 30, 3)),
        ("swa", "start", (0.1, 0.5, 0.9)),
        ("batch_size", "log2_batch_size", (6, 5, 4)),
    ],
)
def test_more_averaging_and_larger_batches_leave_weights_nearer_to_the_first(
    technique: str, name: str, values: tuple[float, ...]
) -> None:
    """The more of it, the longer ago are the weights in the average, or the fewer are the steps."""
    problem = Problem(epochs=20, optimizer="sgd")
    distances = []
    for value in values:
        member = problem.member(technique, {name: value})
        training = problem.training(technique, {name: value})
        (trained,) = ENGINES[0].train([member], training, *problem.data())
        pairs = zip(trained.weights, member.weights, strict=True)
        distances.append(sum(float(np.sum((new - first) ** 2)) for new, first in pairs))
    assert distances[0] < distances[1] < distances[2]


@pytest.mark.slow
@pytest.mark.parametrize("technique", TECHNIQUES)
def test_trained_models_are_plain_keras(technique: str, tmp_path: Path) -> None:
    """They load in safe mode and hold layers of Keras alone."""
    problem = suited(technique, epochs=1)
    model = problem.model(technique, typical(technique))
    model.set_weights(
        problem.train(ENGINES[0], [problem.member(technique, typical(technique))], technique)[
            0
        ].weights
    )
    x, _ = problem.data()
    plain(model).save(tmp_path / "model.keras")
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "expected.npy", np.asarray(model(x, training=False)))
    loaded: Any = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    assert {type(layer).__module__.split(".")[0] for layer in loaded.layers} == {"keras"}
    np.testing.assert_allclose(np.asarray(loaded(x)), np.load(tmp_path / "expected.npy"), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "problem",
    [
        Problem(n_classes=2),
        Problem(n_classes=2, batch_size=64),  # the whole data set in one batch, as in article A
        Problem(optimizer="sgd"),
        Problem(optimizer="sgd", momentum=0.9, batch_size=16),
        Problem(batch_size=16),  # three full batches and one of 2
        Problem(batch_size=1, epochs=2),
    ],
    ids=["binary", "one batch", "sgd", "momentum", "smaller last batch", "single rows"],
)
def test_engines_equal_fit_for_other_shapes(
    problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(problem, "l2", {"strength": 1e-3}, ENGINES, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("technique", ["activity_l1_after", "gaussian_noise"])
def test_engines_equal_fit_of_reconstructions(
    technique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The target is the example as it is in the data, without noise that the model adds."""
    problem = Problem(architecture=AUTOENCODER, shape=IMAGE, batch_size=20)  # and a rest of 10
    check(problem, technique, typical(technique), ENGINES, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize(
    "technique", [pytest.param("dropout_l2", marks=pytest.mark.exhaustive), "early_stopping_loss"]
)
def test_engines_equal_fit_of_regressions(technique: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The targets of `fit` are standardized, those of the engine are not."""
    problem = Problem(task=REGRESSION)
    check(problem, technique, typical(technique), ENGINES, monkeypatch)


@pytest.mark.slow
def test_smoothed_labels_of_two_classes_equal_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    check(Problem(n_classes=2), "label_smoothing", {"smoothing": 0.3}, ENGINES, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_classes", "technique"),
    [(2, "none"), (3, "none"), (2, "label_smoothing"), (3, "label_smoothing"), (3, "mixup")],
)
def test_engines_equal_fit_if_wrong_predictions_are_confident(
    n_classes: int, technique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such probabilities are rounded to 0, which leaves neither a loss nor a gradient of them."""
    problem = Problem(n_classes, optimizer="sgd", learning_rate=1e-4, confidence=300)
    x, y = problem.data()
    model = problem.model("none", {})
    model.set_weights(problem.member(seed=2).weights)
    right = model.predict(x, verbose=0)
    right = right[np.arange(len(y)), y] if n_classes > 2 else np.abs(1 - y - right[:, 0])
    assert np.any(right == 0)
    check(problem, technique, typical(technique), ENGINES, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("engine", ENGINES, ids=IDS)
def test_the_proximal_step_gives_exact_zeros_where_the_gradient_of_the_penalty_gives_none(
    optimizer: Literal["sgd", "adam"], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, values = Problem(optimizer=optimizer), {"strength": 1.0}
    check(problem, "proximal_l1", values, [engine], monkeypatch)
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


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES, ids=IDS)
def test_the_proximal_step_of_groups_removes_whole_inputs(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem, values = Problem(), {"strength": 4.0}
    check(problem, "proximal_group_lasso", values, [engine], monkeypatch)
    member = problem.member("proximal_group_lasso", values)
    training = problem.training("proximal_group_lasso", values)
    *kernels, output = engine.train([member], training, *problem.data())[0].weights[::2]
    removed = [np.all(kernel == 0, axis=1) for kernel in kernels]
    assert 0 < np.mean(np.concatenate(removed)) < 1
    for kernel, rows in zip(kernels, removed, strict=True):
        assert np.all(kernel[~rows] != 0)
    assert np.all(output != 0)


def check(
    problem: Problem,
    technique: str,
    values: Mapping[str, float],
    engines: Sequence[Engine],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Trains the last member of each engine's population with `fit`, and compares the two."""
    training, last = problem.training(technique, values), problem.member(technique, values, seed=2)
    before = [problem.member(technique, values, seed) for seed in range(2)]
    model, curves = fit(problem, technique, last, monkeypatch)
    # The penalty of `fit` is a difference of losses, and rounded as they are.
    rounding = 2e-6 * max(1, *curves["train_loss"])
    for engine in engines:
        members = [*before, last][-engine.population(last, training) :]
        found = engine.train(members, training, *problem.data())[-1]
        assert found.epochs_run == len(curves["val_loss"])
        assert found.curves.keys() == curves.keys()
        for name in curves:
            np.testing.assert_allclose(
                found.curves[name], curves[name], rtol=2e-5, atol=rounding, err_msg=name
            )
        for ours, theirs in zip(found.weights, model.get_weights(), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-5)
