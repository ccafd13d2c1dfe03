"""Each layer that the engine trains gives what Keras's own gives; what differs is rejected."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from keras.constraints import MaxNorm
from keras.regularizers import L1, L1L2, L2

from pipeline.engine import Engine, work_per_step
from pipeline.engine.gates import HardConcrete
from pipeline.engine.layers import RULES
from pipeline.engine.population import Population
from pipeline.engine.program import CURVES

from .problem import ROWS, VAL_ROWS, Problem
from .test_equals_fit import check

SIDE = 6
GRAPH = Engine("graph", 1)
# XLA takes long to compile convolutions and recurrences; studies train them in the graph.
ENGINES = pytest.mark.parametrize(
    "engine",
    [
        pytest.param(Engine("xla", 2), id="xla, 2 members", marks=pytest.mark.exhaustive),
        pytest.param(GRAPH, id="graph, 1 member"),
    ],
)
Stack = Callable[[], list[keras.Layer]]


@dataclass(frozen=True)
class Images(Problem):
    """Images of 6 x 6 pixels, or 6 steps of 6 features, for a stack of layers."""

    epochs: int = 2
    stack: Stack = field(default=list, kw_only=True)

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(0)
        x = rng.normal(size=(ROWS + VAL_ROWS, SIDE, SIDE)).astype(np.float32)
        y = (x.reshape(len(x), -1) @ rng.normal(size=(SIDE**2, self.n_classes))).argmax(axis=1)
        return x, y.astype(np.int32)

    def model(self, technique: str = "none", values: object = None) -> keras.Sequential:
        output = layers.Dense(self.n_classes, activation="softmax")
        return keras.Sequential([keras.Input((SIDE, SIDE)), *self.stack(), output])


def everywhere(
    places: str = "kernel bias activity", l1: float = 0.001, l2: float = 0.01
) -> dict[str, Any]:
    """Article D's penalty in all its places."""
    return {f"{place}_regularizer": L1L2(l1, l2) for place in places.split()}


def image() -> keras.Layer:
    return layers.Reshape((SIDE, -1, 1))


STACKS: dict[str, Stack] = {
    "convolutions": lambda: [
        image(),
        layers.Conv2D(4, 3, activation="relu", **everywhere()),
        layers.MaxPooling2D(2),
        layers.Conv2D(
            3,
            (1, 2),
            2,
            "same",
            use_bias=False,
            kernel_regularizer=L1(0.01),
            kernel_constraint=MaxNorm(0.5, axis=[0, 1, 2]),
        ),
        layers.Flatten(),
    ],
    "pooling": lambda: [
        image(),
        layers.Conv2D(3, (2, 3), activation="tanh", bias_regularizer=L2(0.1)),
        layers.MaxPooling2D(3, strides=2, padding="same"),
        layers.GlobalAveragePooling2D(keepdims=True),
        layers.Flatten(),
    ],
    "lstm": lambda: [
        layers.Reshape((3, 12)),
        layers.LSTM(4, return_sequences=True, **everywhere("kernel recurrent bias activity")),
        layers.LSTM(
            3,
            use_bias=False,
            recurrent_dropout=0.3,
            recurrent_regularizer=L2(0.01),
            kernel_constraint=MaxNorm(0.5),
        ),
    ],
    "article D": lambda: [
        layers.Reshape((3, 12)),
        layers.Dense(5, activation="relu", **everywhere()),
        layers.LSTM(4, **everywhere()),
    ],
    "article A": lambda: [
        image(),
        layers.Conv2D(2, 3, activation="relu", activity_regularizer=L1(0.001)),
        layers.MaxPooling2D(2),
        layers.Reshape((2, -1)),
        layers.LSTM(3, activity_regularizer=L1(0.001)),
        layers.Dense(4, activation="relu", activity_regularizer=L1(0.001)),
    ],
    "batch normalization": lambda: [
        image(),
        layers.Conv2D(3, 3, use_bias=False),
        layers.BatchNormalization(momentum=0.9, gamma_regularizer=L2(0.1)),
        layers.Activation("relu"),
        layers.Flatten(),
        layers.Dense(5, use_bias=False),
        layers.BatchNormalization(momentum=0.5, epsilon=0.1),
        layers.BatchNormalization(trainable=False),
    ],
    "frozen": lambda: [
        image(),
        layers.Conv2D(3, 3, **everywhere(), kernel_constraint=MaxNorm(0.1, [0, 1, 2])),
        layers.Conv2D(3, 3, trainable=False, **everywhere()),
        layers.Flatten(),
        layers.Dense(4, trainable=False, kernel_constraint=MaxNorm(0.1)),
    ],
    "images": lambda: [
        image(),
        layers.RandomTranslation(0.2, (0.1, 0.4), "constant"),
        layers.RandomRotation(0.1, "constant"),
        layers.RandomZoom((-0.3, 0.1), None, "constant"),
        layers.RandomFlip("horizontal"),
        layers.RandomErasing((1.0, 1.0), (0.1, 0.3), 0.0, (0, 1)),
        layers.Conv2D(4, 3, activation="relu"),
        layers.Flatten(),
    ],
    "noise": lambda: [
        layers.GaussianNoise(0.3),
        image(),
        layers.Conv2D(8, 3, activation="relu"),
        layers.SpatialDropout2D(0.3),
        layers.Dropout(0.4),
        layers.GaussianDropout(0.2),
        layers.AlphaDropout(0.3),
        layers.Flatten(activity_regularizer=L2(0.001)),
    ],
    "gates": lambda: [
        image(),
        layers.Conv2D(4, 3, activation="relu"),
        HardConcrete(0.01),
        layers.Flatten(),
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", STACKS)
@ENGINES
def test_engines_equal_fit(name: str, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    check(Images(stack=STACKS[name]), "none", {}, [engine], monkeypatch)


@pytest.mark.slow
@ENGINES
def test_frozen_layers_keep_their_weights(engine: Engine) -> None:
    problem = Images(stack=STACKS["frozen"])
    member = problem.member()
    trained = problem.train(engine, [member])[0]
    pairs = zip(member.weights, trained.weights, strict=True)
    frozen = [np.array_equal(one, other) for one, other in pairs]
    assert frozen == [False, False, True, True, True, True, False, False]


def test_the_stacks_hold_every_layer() -> None:
    held = {type(layer) for stack in STACKS.values() for layer in stack()}
    assert held | {layers.Activation} == set(RULES)


@pytest.mark.slow
def test_zero_strength_equals_no_regularizer() -> None:
    def stack(convolution: dict[str, Any], lstm: dict[str, Any]) -> Stack:
        return lambda: [
            image(),
            layers.Conv2D(3, 3, activation="relu", **convolution),
            layers.MaxPooling2D(2),
            layers.Reshape((2, -1)),
            layers.LSTM(3, **lstm),
        ]

    penalised = stack(
        everywhere(l1=0, l2=0), everywhere("kernel recurrent bias activity", l1=0, l2=0)
    )
    found = []
    for each in (stack({}, {}), penalised):
        problem = Images(stack=each)
        found.append(problem.train(GRAPH, [problem.member()])[0])
    for name in CURVES:
        np.testing.assert_allclose(found[1].curves[name], found[0].curves[name], rtol=1e-5)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layers.Conv2D(2, 3, groups=2), "Conv2D with groups=1 only, but got groups=2"),
        (layers.Conv2D(2, 3, dilation_rate=2), r"dilation_rate=\(2, 2\)"),
        (layers.Conv2D(6, 1, data_format="channels_first"), "data_format=channels_first"),
        (layers.MaxPooling2D(2, data_format="channels_first"), "data_format=channels_first"),
        (layers.SpatialDropout2D(0.5, "channels_first"), "data_format=channels_first"),
        (layers.Dropout(0.5, noise_shape=(None, 1, 1, 1)), r"noise_shape=\(None, 1, 1, 1\)"),
        (layers.BatchNormalization(center=False), "with center=True only, but got center=False"),
        (layers.Conv2D(2, 3, dtype="float16"), "dtype=float32 only, but got dtype=float16"),
        (
            layers.Dense(2, kernel_constraint="non_neg"),
            "kernel_constraint: the engine knows MaxNorm",
        ),
        (layers.Dense(2, kernel_constraint=MaxNorm(1, axis=-1)), "over all axes but the last"),
        (layers.Conv2D(2, 3, kernel_constraint=MaxNorm(1, axis=0)), "over all axes but the last"),
        (layers.Dense(2, bias_constraint=MaxNorm(1)), "bias_constraint: the engine knows"),
        (
            layers.Dense(2, bias_regularizer="orthogonal_regularizer"),
            "L1, L2 and L1L2, and on kernels",
        ),
        *[
            (keras.Sequential([layers.Reshape((6, 12)), layers.LSTM(2, **{name: value})]), message)
            for name, value, message in [
                ("activation", "relu", "activation=tanh only, but got activation=relu"),
                ("recurrent_activation", "tanh", "but got recurrent_activation=tanh"),
                ("dropout", 0.1, "LSTM with dropout=0 only, but got dropout=0.1"),
                ("go_backwards", True, "but got go_backwards=True"),
                ("stateful", True, "but got stateful=True"),
                ("unroll", True, "but got unroll=True"),
                ("recurrent_constraint", "non_neg", "recurrent_constraint: the engine knows"),
            ]
        ],
    ],
    ids=lambda value: None if isinstance(value, str) else "",
)
def test_what_the_engine_does_not_know_is_rejected(layer: keras.Layer, expected: str) -> None:
    chain = layer.layers if isinstance(layer, keras.Sequential) else [layer]
    model = keras.Sequential([keras.Input((6, 6, 2), batch_size=5), *chain])
    with pytest.raises(ValueError, match=expected):
        Population(model, "none")


@pytest.mark.parametrize("name", STACKS)
def test_convolutional_and_recurrent_networks_train_in_the_graph(name: str) -> None:
    assert Engine().kind(Images(stack=STACKS[name]).model(), 1) == "graph"


def test_work_counts_a_kernel_as_often_as_it_is_used() -> None:
    model = Images(
        stack=lambda: [
            image(),
            layers.Conv2D(4, 3),  # 4 x 4 places of 9 x 4
            layers.Reshape((4, 16)),
            layers.Dense(5),  # 4 places of 16 x 5
            layers.LSTM(2),  # 4 steps of 5 x 8 and 2 x 8
        ]
    ).model()
    assert work_per_step(model, 10) == 10 * (16 * 36 + 4 * 80 + 4 * (40 + 16) + 2 * 3)
