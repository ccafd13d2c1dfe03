"""Every architecture carries a technique's change where it belongs, and starts as Keras starts."""

from collections.abc import Callable
from typing import Any, get_args

import keras
import numpy as np
import pytest

from pipeline import models, params
from pipeline.params import Cnn, Lstm, Mlp, Model
from pipeline.techniques import TECHNIQUES, Activation, Activity, Change, Penalty

SHAPE = (6, 6)
EXAMPLES: dict[str, Model] = {
    "mlp": Mlp("mlp", (8, 4)),
    "cnn": Cnn("cnn", (4, 3), hidden=(8,)),
    "lstm": Lstm("lstm", (4, 3), hidden=(8,)),
}
HIDDEN = (keras.layers.Dense, keras.layers.Conv2D, keras.layers.LSTM)
NAMES = pytest.mark.parametrize("name", EXAMPLES)


def build(name: str, change: Change, shape: tuple[int, ...] = SHAPE) -> keras.Sequential:
    return models.build(EXAMPLES[name], change, shape, 3)


def weighted(model: keras.Sequential) -> list[Any]:
    return [layer for layer in model.layers if isinstance(layer, HIDDEN)]


def test_every_architecture_is_built_and_tested() -> None:
    assert set(EXAMPLES) == set(params.MODELS) == set(models.ARCHITECTURES)


@NAMES
def test_penalties_are_on_all_hidden_layers_and_not_on_the_output(name: str) -> None:
    change = Change(
        kernel=Penalty(l2=0.5),
        bias=Penalty(l2=0.125),
        activity=Activity(Penalty(l1=0.25), "after"),
    )
    *hidden, output = weighted(build(name, change))
    assert len(hidden) == 2 + (name != "mlp")
    for layer in hidden:
        assert layer.kernel_regularizer.l2 == 0.5
        assert layer.bias_regularizer.l2 == 0.125
        assert layer.activity_regularizer.l1 == 0.25
        assert getattr(layer, "recurrent_regularizer", None) is None
    assert output.kernel_regularizer is None
    assert output.bias_regularizer is None
    assert output.activity_regularizer is None


@NAMES
def test_each_hidden_layer_can_have_a_kernel_penalty_of_its_own(name: str) -> None:
    penalties = tuple(Penalty(l2=0.5**i) for i in range(EXAMPLES[name].hidden_layers))
    *hidden, output = weighted(build(name, Change(kernel=penalties)))
    assert [layer.kernel_regularizer.l2 for layer in hidden] == [each.l2 for each in penalties]
    assert output.kernel_regularizer is None
    with pytest.raises(ValueError, match=f"needs {len(hidden) + 1} hidden layers, but got"):
        build(name, Change(kernel=(*penalties, Penalty())))


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_a_penalty_before_the_non_linearity_sits_on_a_linear_layer(name: str) -> None:
    model = build(name, Change(activity=Activity(Penalty(l1=1), "before")))
    for layer, following in zip(model.layers[:-1], model.layers[1:], strict=True):
        if isinstance(layer, HIDDEN):
            assert layer.activation is keras.activations.linear
            assert isinstance(following, keras.layers.Activation)


def test_an_lstm_has_no_place_before_its_non_linearity() -> None:
    with pytest.raises(ValueError, match=r"needs an output before.*but got 'lstm'"):
        build("lstm", TECHNIQUES["activity_l1_before"].apply({"strength": 0.1}))


@pytest.mark.parametrize("name", ["mlp", "cnn"])
@pytest.mark.parametrize("activation", get_args(Activation))
def test_another_non_linearity_is_in_all_hidden_layers(name: str, activation: Activation) -> None:
    *hidden, output = weighted(build(name, Change(activation=activation)))
    assert {layer.activation for layer in hidden} == {keras.activations.get(activation)}
    assert output.activation is keras.activations.softmax


def test_an_lstm_keeps_its_own_non_linearities() -> None:
    with pytest.raises(
        ValueError, match="needs hidden layers of any non-linearity, but got 'lstm'"
    ):
        build("lstm", Change(activation="gelu"))


@NAMES
def test_dropout_follows_every_hidden_layer(name: str) -> None:
    names = [layer.name for layer in build(name, Change(dropout=0.5)).layers]
    expected = {
        "mlp": ["hidden_1", "hidden_2"],
        "cnn": ["block_1_pool", "block_2_pool", "hidden_1"],
        "lstm": ["lstm_1", "lstm_2", "hidden_1"],
    }[name]
    after = [names[i - 1] for i, found in enumerate(names) if found.endswith("dropout")]
    assert after == expected


@pytest.mark.parametrize("shape", [(6, 6), (7, 5), (2, 1), (6, 6, 3)])
def test_a_cnn_takes_images_of_any_size(shape: tuple[int, ...]) -> None:
    assert build("cnn", Change(), shape).output_shape == (None, 3)


@pytest.mark.parametrize(("name", "shape"), [("cnn", (6,)), ("lstm", (6,)), ("lstm", (6, 6, 3))])
def test_rows_of_another_shape_are_refused(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=f"{name} takes .*but got input_shape="):
        build(name, Change(), shape)


@NAMES
def test_initial_weights_are_distributed_as_keras_initializes(name: str) -> None:
    keras.utils.set_random_seed(0)
    model = build(name, Change())
    for weight, ours in zip(model.weights, models.initial_weights(model, 0), strict=True):
        keras_own = np.asarray(weight)
        assert ours.shape == keras_own.shape
        assert ours.dtype == np.float32
        if weight.name == "kernel":  # uniform: the largest of n lies close below the limit
            assert np.max(np.abs(ours)) == pytest.approx(np.max(np.abs(keras_own)), rel=0.2)
        elif weight.name == "recurrent_kernel":
            np.testing.assert_allclose(ours @ ours.T, np.eye(len(ours)), atol=1e-6)
        else:
            np.testing.assert_array_equal(ours, keras_own)


@NAMES
def test_techniques_start_from_the_same_point(name: str) -> None:
    plain = models.initial_weights(build(name, Change()), 3)
    changed = models.initial_weights(build(name, Change(kernel=Penalty(l1=1), dropout=0.5)), 3)
    other = models.initial_weights(build(name, Change()), 4)
    assert all(np.array_equal(a, b) for a, b in zip(plain, changed, strict=True))
    assert not np.array_equal(plain[0], other[0])


@NAMES
def test_hidden_kernels_are_where_a_kernel_penalty_is(name: str) -> None:
    model = build(name, Change(kernel=Penalty(l1=1)))
    found = {model.weights[place].path for place in models.hidden_kernels(model)}
    assert found == {
        getattr(layer, "cell", layer).kernel.path
        for layer in model.layers
        if getattr(layer, "kernel_regularizer", None)
    }


Weights = list[np.ndarray]
PENALTIES: dict[str, tuple[dict[str, float], Callable[[Weights, Weights], float]]] = {
    "l1": ({"strength": 0.3}, lambda kernels, biases: 0.3 * l1(*kernels)),
    "l2": ({"strength": 0.3}, lambda kernels, biases: 0.3 * l2(*kernels)),
    "l1_l2": ({"l1": 0.3, "l2": 2}, lambda kernels, biases: 0.3 * l1(*kernels) + 2 * l2(*kernels)),
    "mixed_penalties": (
        {"l1": 0.3, "l2": 2, "l1_l2": 0.7},
        lambda kernels, biases: (
            0.3 * l1(kernels[0]) + 2 * l2(kernels[1]) + 0.7 * (l1(kernels[2]) + l2(kernels[2]))
        ),
    ),
    "bias_l1": ({"strength": 0.3}, lambda kernels, biases: 0.3 * l1(*biases)),
    "bias_l2": ({"strength": 0.3}, lambda kernels, biases: 0.3 * l2(*biases)),
}


def l1(*arrays: np.ndarray) -> float:
    return float(sum(np.abs(array).sum() for array in arrays))


def l2(*arrays: np.ndarray) -> float:
    return float(sum(np.square(array).sum() for array in arrays))


@pytest.mark.parametrize("technique", PENALTIES)
def test_penalties_are_what_their_formulas_say(technique: str) -> None:
    values, formula = PENALTIES[technique]
    mlp = Mlp("mlp", (8, 4, 3))
    model = models.build(mlp, TECHNIQUES[technique].apply(values), SHAPE, 3)
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=weight.shape) for weight in model.weights]
    model.set_weights(weights)
    *hidden, _ = zip(weights[::2], weights[1::2], strict=True)
    kernels, biases = (list(each) for each in zip(*hidden, strict=True))
    assert float(sum(model.losses)) == pytest.approx(formula(kernels, biases), rel=1e-5)


def test_mixed_penalties_are_article_cs() -> None:
    study = params.load().study("fashion_mnist")
    article = study.techniques["mixed_penalties"].article
    assert article is not None
    change = TECHNIQUES["mixed_penalties"].apply(article)
    *hidden, _ = weighted(models.build(study.model, change, (28, 28), 10))
    # The article's `l1_l2(0.01)` had l2=0.01 in Keras 2; in Keras 3 the default is 0.
    printed = [
        keras.regularizers.l1(),
        keras.regularizers.l2(0.001),
        keras.regularizers.l1_l2(0.01, 0.01),
    ]
    assert [layer.units for layer in hidden] == [200, 100, 50]
    for layer, expected in zip(hidden, printed, strict=True):
        assert layer.kernel_regularizer.get_config() == pytest.approx(expected.get_config())
