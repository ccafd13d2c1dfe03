"""Every architecture carries a technique's change where it belongs, and starts as Keras starts."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple, get_args

import keras
import numpy as np
import pytest

from pipeline.config import loading
from pipeline.engine import backend
from pipeline.engine.gates import HardConcrete, fixed_gates, open_probability
from pipeline.engine.population import Population
from pipeline.models import building
from pipeline.models.architectures import MODELS, Autoencoder, Cnn, Lstm, Mlp, Model
from pipeline.models.initial import Arrays, initial_weights
from pipeline.models.plain import plain
from pipeline.models.stack import WHITENING
from pipeline.techniques.changes import Change
from pipeline.techniques.noise import Dropout
from pipeline.techniques.part import NonLinearity, Place
from pipeline.techniques.penalties import (
    Activity,
    BiasPenalty,
    Gates,
    KernelPenalty,
    LayerPenalties,
    MaxNorm,
    Orthogonal,
    Penalty,
)
from pipeline.techniques.registry import TECHNIQUES, combination
from pipeline.techniques.structure import Activation, BatchNorm, Whitening
from pipeline.techniques.training import ProximalL1

from .engine.problem import ROWS as ROWS_OF_PROBLEM
from .engine.problem import suited, typical

SHAPE = (6, 6)
EXAMPLES: dict[str, Model] = {
    "mlp": Mlp("mlp", (8, 4)),
    "cnn": Cnn("cnn", (4, 3), hidden=(8,)),
    "lstm": Lstm("lstm", (4, 3), hidden=(8,)),
    "autoencoder": Autoencoder("autoencoder", (8,), code=4),
}
HIDDEN = (keras.layers.Dense, keras.layers.Conv2D, keras.layers.LSTM)
NAMES = pytest.mark.parametrize("name", EXAMPLES)


def build(name: str, change: Change, shape: tuple[int, ...] = SHAPE) -> keras.Sequential:
    return building.build(EXAMPLES[name], change, shape, 3)


def weighted(model: keras.Sequential) -> list[Any]:
    return [layer for layer in model.layers if isinstance(layer, HIDDEN)]


def test_every_architecture_is_built_and_tested() -> None:
    assert set(EXAMPLES) == set(MODELS) == set(building.ARCHITECTURES)


@NAMES
@pytest.mark.parametrize("kind", ["l1", "l2"])
def test_a_penalty_of_all_kernels_adds_the_output_layers_and_nothing_else(
    name: str, kind: str
) -> None:
    hidden_only, whole = (
        weighted(build(name, TECHNIQUES[technique].apply({"strength": 0.5})))
        for technique in (kind, f"{kind}_all")
    )
    assert getattr(whole[-1].kernel_regularizer, kind) == 0.5
    for without, layer in zip(hidden_only[:-1], whole[:-1], strict=True):
        assert layer.get_config() == without.get_config()
    added = {"kernel_regularizer": whole[-1].get_config()["kernel_regularizer"]}
    assert whole[-1].get_config() == hidden_only[-1].get_config() | added


@NAMES
def test_penalties_are_on_all_hidden_layers_and_not_on_the_output(name: str) -> None:
    change = Change(
        KernelPenalty(Penalty(l2=0.5)),
        BiasPenalty(Penalty(l2=0.125)),
        Activity(Penalty(l1=0.25), "after"),
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
    penalties = tuple(Penalty(l2=0.5**i) for i in range(len(EXAMPLES[name].hidden_layers)))
    *hidden, output = weighted(build(name, Change(LayerPenalties(penalties))))
    assert [layer.kernel_regularizer.l2 for layer in hidden] == [each.l2 for each in penalties]
    assert output.kernel_regularizer is None
    with pytest.raises(ValueError, match=f"needs {len(hidden) + 1} hidden layers, but got"):
        build(name, Change(LayerPenalties((*penalties, Penalty()))))


@NAMES
def test_max_norm_bounds_what_leads_into_each_hidden_unit(name: str) -> None:
    *hidden, output = weighted(build(name, Change(MaxNorm(0.01))))
    for layer in hidden:
        bounded = np.asarray(layer.kernel_constraint(getattr(layer, "cell", layer).kernel))
        norms = np.linalg.norm(bounded.reshape(-1, bounded.shape[-1]), axis=0)
        np.testing.assert_allclose(norms, 0.01, rtol=1e-3)
    assert output.kernel_constraint is None


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_a_penalty_before_the_non_linearity_sits_on_a_linear_layer(name: str) -> None:
    model = build(name, Change(Activity(Penalty(l1=1), "before")))
    for layer, following in zip(model.layers[:-1], model.layers[1:], strict=True):
        if isinstance(layer, HIDDEN):
            assert layer.activation is keras.activations.linear
            assert isinstance(following, keras.layers.Activation)


def test_an_lstm_has_no_place_before_its_non_linearity() -> None:
    with pytest.raises(ValueError, match=r"needs an output before.*but got 'lstm'"):
        build("lstm", TECHNIQUES["activity_l1_before"].apply({"strength": 0.1}))


@pytest.mark.parametrize("name", ["mlp", "cnn"])
@pytest.mark.parametrize("activation", get_args(NonLinearity))
def test_another_non_linearity_is_in_all_hidden_layers(name: str, activation: NonLinearity) -> None:
    *hidden, output = weighted(build(name, Change(Activation(activation))))
    assert {layer.activation for layer in hidden} == {keras.activations.get(activation)}
    assert output.activation is keras.activations.softmax


def test_an_lstm_keeps_its_own_non_linearities() -> None:
    with pytest.raises(
        ValueError, match="needs hidden layers of any non-linearity, but got 'lstm'"
    ):
        build("lstm", Change(Activation("gelu")))


@NAMES
def test_dropout_follows_every_hidden_layer(name: str) -> None:
    names = [layer.name for layer in build(name, Change(Dropout(0.5))).layers]
    expected = {
        "mlp": ["hidden_1", "hidden_2"],
        "cnn": ["block_1_pool", "block_2_pool", "hidden_1"],
        "lstm": ["lstm_1", "lstm_2", "hidden_1"],
        "autoencoder": ["encoder_1", "code", "decoder_1"],
    }[name]
    after = [names[i - 1] for i, found in enumerate(names) if found.endswith("dropout")]
    assert after == expected


@pytest.mark.parametrize("shape", [(6, 6), (7, 5), (2, 1), (6, 6, 3)])
def test_a_cnn_takes_images_of_any_size(shape: tuple[int, ...]) -> None:
    assert build("cnn", Change(), shape).output_shape == (None, 3)


@pytest.mark.parametrize(("name", "shape"), [("cnn", (6,)), ("lstm", (6,)), ("lstm", (6, 6, 3))])
def test_inputs_of_another_shape_are_rejected(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=f"{name} takes .*but got input_shape="):
        build(name, Change(), shape)


@NAMES
def test_initial_weights_are_distributed_as_keras_initializes(name: str) -> None:
    keras.utils.set_random_seed(0)
    model = build(name, Change())
    for weight, ours in zip(model.weights, initial_weights(model, 0), strict=True):
        keras_own = np.asarray(weight)
        assert ours.shape == keras_own.shape
        assert ours.dtype == np.float32
        if weight.name == "kernel":  # uniform: the largest of n lies close below the limit
            assert np.max(np.abs(ours)) == pytest.approx(np.max(np.abs(keras_own)), rel=0.2)
        elif weight.name == "recurrent_kernel":
            np.testing.assert_allclose(ours @ ours.T, np.eye(len(ours)), atol=1e-6)
        else:
            np.testing.assert_array_equal(ours, keras_own)


@pytest.mark.parametrize("change", [Change(Activation("selu")), Change()], ids=["selu", "relu"])
def test_the_deviation_of_initial_weights_is_as_keras_initializes(change: Change) -> None:
    keras.utils.set_random_seed(0)
    model = building.build(Mlp("mlp", (100, 200)), change, (50,), 3)
    initial = initial_weights(model, 0)
    for weight, ours in zip(model.weights, initial, strict=True):
        if weight.name == "kernel" and ours.size > 1000:
            # Deviations of samples this large are within 3 % of each other.
            assert np.std(ours) == pytest.approx(np.std(np.asarray(weight)), rel=0.05)
    selu = bool(change.own)
    assert np.std(initial[2]) == pytest.approx(0.1 if selu else (2 / 300) ** 0.5, rel=0.02)


@NAMES
def test_techniques_start_from_the_same_point(name: str) -> None:
    plain = initial_weights(build(name, Change()), 3)
    changed = initial_weights(build(name, Change(KernelPenalty(Penalty(l1=1)), Dropout(0.5))), 3)
    other = initial_weights(build(name, Change()), 4)
    assert all(np.array_equal(a, b) for a, b in zip(plain, changed, strict=True))
    assert not np.array_equal(plain[0], other[0])


@NAMES
def test_whitening_is_a_frozen_layer_before_an_architecture_that_starts_as_without(
    name: str,
) -> None:
    plain = build(name, Change())
    model = build(name, Change(Whitening(0.1)))
    assert [layer.name for layer in model.layers[:3]] == ["features", "whitening", "whitened"]
    assert [layer.name for layer in model.layers if not layer.trainable] == ["whitening"]
    fitted = [np.eye(36, dtype=np.float32), np.zeros(36, np.float32)]
    found = initial_weights(model, 3, {WHITENING: fitted})
    expected = [*fitted, *initial_weights(plain, 3)]
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    change = Change(Whitening(0.1), KernelPenalty(Penalty(l1=1)))
    places = building.hidden_kernels(model, change, KernelPenalty)
    shifted = [place + 2 for place in building.hidden_kernels(plain, change, KernelPenalty)]
    assert list(places) == shifted


@NAMES
def test_a_part_reaches_the_first_or_the_named_layers_only(name: str) -> None:
    layers = EXAMPLES[name].hidden_layers
    everything = ("l1", "dropout", "bias_l2", "activity_l1_after", "proximal_l1", "max_norm")
    for where, reached in (("first", {layers[0]}), ("/".join(layers[1:]), {*layers[1:]})):
        mixed = combination([f"{part}/{where}" for part in everything])
        change = mixed.apply(dict.fromkeys(mixed.search, 0.25))
        model = build(name, change)
        *hidden, _ = weighted(model)
        for kind in ("kernel", "bias", "activity"):
            penalised = {each.name for each in hidden if getattr(each, f"{kind}_regularizer")}
            assert penalised == reached
        assert {each.name for each in hidden if each.kernel_constraint} == reached
        dropped = [each for each in model.layers if isinstance(each, keras.layers.Dropout)]
        assert {each.name for each in dropped} == {f"{layer}_dropout" for layer in reached}
        places = building.hidden_kernels(model, change, ProximalL1)
        kernels = {id(model.weights[place]) for place in places}
        assert kernels == {id(each.weights[0]) for each in hidden if each.name in reached}
        assert change.anywhere(ProximalL1) == ProximalL1(0.25)


@NAMES
def test_article_a_keyword_is_on_dense_convolutional_and_recurrent_layers(name: str) -> None:
    change = TECHNIQUES["activity_l1_after"].apply({"strength": 1e-4})
    *hidden, _ = weighted(build(name, change))
    kinds = {type(layer).__name__ for layer in hidden}
    expected = {"cnn": "Conv2D", "lstm": "LSTM"}.get(name, "Dense")
    assert expected in kinds
    for layer in hidden:
        assert isinstance(layer.activity_regularizer, keras.regularizers.L1)
        assert float(layer.activity_regularizer.l1) == pytest.approx(1e-4)


@pytest.mark.parametrize("model", [Mlp("mlp", (256,)), Lstm("lstm", (256,))], ids=["Dense", "LSTM"])
def test_article_d_example_has_three_penalties_at_once(model: Model) -> None:
    mixed = combination(["l1_l2", "bias_l1_l2", "activity_l1_l2_after"])
    values = {name: 0.001 if name.endswith(".l1") else 0.01 for name in mixed.search}
    layer = weighted(building.build(model, mixed.apply(values), SHAPE, 10))[0]
    assert layer.units == 256
    for place in ("kernel", "bias", "activity"):
        penalty = getattr(layer, f"{place}_regularizer").get_config()
        penalty = {name: float(strength) for name, strength in penalty.items()}
        assert penalty == pytest.approx({"l1": 0.001, "l2": 0.01})


def test_two_lstm_layers_can_have_an_l1_and_an_l2_penalty() -> None:
    mixed = combination(["l1/lstm_1", "l2/lstm_2"])
    change = mixed.apply({"l1/lstm_1.strength": 0.5, "l2/lstm_2.strength": 0.25})
    first, second, dense, _ = weighted(build("lstm", change))
    assert isinstance(first.kernel_regularizer, keras.regularizers.L1)
    assert first.kernel_regularizer.l1 == 0.5
    assert isinstance(second.kernel_regularizer, keras.regularizers.L2)
    assert second.kernel_regularizer.l2 == 0.25
    assert dense.kernel_regularizer is None


@pytest.mark.parametrize("name", ["mlp", "cnn"])
@pytest.mark.parametrize("place", ["before", "after"])
def test_normalization_stands_before_the_non_linearity(name: str, place: Place) -> None:
    change = Change(BatchNorm(), Activity(Penalty(l1=1), place))
    model = build(name, change)
    layers = model.layers
    plain = initial_weights(build(name, Change()), 3)
    own = initial_weights(model, 3)
    kernels = [array for array in own if array.ndim > 1]
    drawn = [array for array in plain if array.ndim > 1]
    assert all(np.array_equal(a, b) for a, b in zip(kernels, drawn, strict=True))
    for layer, norm, activation in zip(layers, layers[1:], layers[2:], strict=False):
        if isinstance(norm, keras.layers.BatchNormalization):
            assert isinstance(layer, HIDDEN)
            assert not layer.use_bias
            assert isinstance(activation, keras.layers.Activation)
            assert (layer if place == "before" else activation).activity_regularizer
            assert not (activation if place == "before" else layer).activity_regularizer
    with pytest.raises(ValueError, match="which removes the biases"):
        change | Change(BiasPenalty(Penalty(l2=1)))
    with pytest.raises(ValueError, match="needs an output before the non-linearity"):
        build("lstm", Change(BatchNorm()))


def test_orthogonal_units_need_two_and_kernels_of_two_axes() -> None:
    change = Change(Orthogonal(0.1))
    with pytest.raises(ValueError, match="needs kernels of two axes, but got a convolution"):
        build("cnn", change)
    build("cnn", change.only("hidden_1"))
    with pytest.raises(ValueError, match=r"needs two units or more in .*but got 1 in 'hidden_2'"):
        building.build(Mlp("mlp", (4, 1)), change, SHAPE, 3)


@NAMES
def test_hidden_kernels_are_where_a_kernel_penalty_is(name: str) -> None:
    change = Change(KernelPenalty(Penalty(l1=1)))
    model = build(name, change)
    places = building.hidden_kernels(model, change, KernelPenalty)
    found = {model.weights[place].path for place in places}
    assert found == {
        getattr(layer, "cell", layer).kernel.path
        for layer in model.layers
        if getattr(layer, "kernel_regularizer", None)
    }


ROWS = 5
X = np.random.default_rng(2).normal(size=(ROWS, *SHAPE))


class Inside(NamedTuple):
    """The hidden layers of an MLP, in order, and the rows' activations there; float64."""

    kernels: Arrays
    biases: Arrays
    before: Arrays  # (ROWS, units) each, before the non-linearity
    after: Arrays
    gates: Arrays  # log_alpha, of the inputs of every kernel
    behind: list[int]  # weights behind each of these gates
    output: np.ndarray  # the kernel of the output layer


def inside(model: keras.Sequential, values: Arrays) -> Inside:
    """`values`: of `model.weights`; the activations are those of a network without gates."""
    named = defaultdict(list)
    for weight, value in zip(model.weights, values, strict=True):
        named[weight.name].append(value)
    h, before, after = X.reshape(ROWS, -1), [], []
    for kernel, bias in zip(named["kernel"][:-1], named["bias"], strict=False):
        before.append(h @ kernel + bias)
        after.append(h := np.maximum(before[-1], 0))
    behind = [kernel.shape[1] for kernel in named["kernel"]]
    kernels, biases = named["kernel"][:-1], named["bias"][:-1]
    output = named["kernel"][-1]
    return Inside(kernels, biases, before, after, named["log_alpha"], behind, output)


def l1(*arrays: np.ndarray) -> float:
    return float(sum(np.abs(array).sum() for array in arrays))


def l2(*arrays: np.ndarray) -> float:
    return float(sum(np.square(array).sum() for array in arrays))


def mean_cosine(kernel: np.ndarray) -> float:
    columns = kernel / np.linalg.norm(kernel, axis=0)
    return float(np.abs((columns.T @ columns)[~np.eye(kernel.shape[1], dtype=bool)]).mean())


def opened(log_alpha: np.ndarray) -> float:
    """The expected number of open gates: Louizos, Welling and Kingma 2018, equation 12."""
    return float(np.sum(1 / (1 + np.exp(2 / 3 * np.log(0.1 / 1.1) - log_alpha))))


Penalised = tuple[dict[str, float], Callable[[Inside], float]]


def elastic(name: str, of: Callable[[Inside], Arrays], per: int = 1) -> dict[str, Penalised]:
    return {
        name.format("l1"): ({"strength": 0.3}, lambda found: 0.3 * l1(*of(found)) / per),
        name.format("l2"): ({"strength": 0.3}, lambda found: 0.3 * l2(*of(found)) / per),
        name.format("l1_l2"): (
            {"l1": 0.3, "l2": 2},
            lambda found: (0.3 * l1(*of(found)) + 2 * l2(*of(found))) / per,
        ),
    }


PENALTIES: dict[str, Penalised] = {
    **elastic("{}", lambda found: found.kernels),
    **elastic("{}_all", lambda found: [*found.kernels, found.output]),
    **elastic("bias_{}", lambda found: found.biases),
    **elastic("activity_{}_before", lambda found: found.before, per=ROWS),
    **elastic("activity_{}_after", lambda found: found.after, per=ROWS),
    "mixed_penalties": (
        {"l1": 0.3, "l2": 2, "l1_l2": 0.7},
        lambda found: (
            0.3 * l1(found.kernels[0])
            + 2 * l2(found.kernels[1])
            + 0.7 * (l1(found.kernels[2]) + l2(found.kernels[2]))
        ),
    ),
    "orthogonal": (
        {"strength": 0.3},
        lambda found: 0.3 * sum(mean_cosine(kernel) for kernel in found.kernels),
    ),
    "l0": (
        {"strength": 0.3},
        lambda found: (
            0.3 / ROWS * sum(opened(a) * n for a, n in zip(found.gates, found.behind, strict=True))
        ),
    ),
    "dropout_l2": ({"rate": 0.5, "strength": 0.3}, lambda found: 0.3 * l2(*found.kernels)),
}


def penalised(technique: str) -> tuple[keras.Sequential, Arrays, Callable[[Arrays], float]]:
    """A model with a penalty, random weights for it, and the penalty's formula for such weights."""
    values, formula = PENALTIES[technique]
    mlp = Mlp("mlp", (8, 4, 3))
    model = building.build(mlp, TECHNIQUES[technique].apply(values), SHAPE, 3, ROWS)
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=weight.shape) for weight in model.weights]
    return model, weights, lambda weights: formula(inside(model, weights))


def test_every_technique_that_adds_to_the_loss_has_its_formula_here() -> None:
    parts = {"kernel", "output_kernel", "bias", "activity", "gates"}
    adding = {name for name, each in TECHNIQUES.items() if parts & each.lowest.parts().keys()}
    assert adding == set(PENALTIES)


@pytest.mark.parametrize("technique", PENALTIES)
def test_penalties_and_their_gradients_are_what_their_formulas_say(technique: str) -> None:
    """In Keras and in the engine; the gradients by central differences along random directions."""
    model, weights, formula = penalised(technique)
    model.set_weights(weights)
    model(X.astype(np.float32))
    assert float(sum(model.losses)) == pytest.approx(formula(weights), rel=1e-5)
    population = Population(model, both="none")
    x, numbers = X[None].astype(np.float32), population.hyperparameters(model)[:, None]

    def penalty(values: Any) -> Any:
        _, found, _ = population.forward(values, keras.ops.convert_to_tensor(x), numbers, None)
        return found, found

    tensors = [keras.ops.convert_to_tensor(w[None], "float32") for w in weights]
    gradients, found = backend.gradients(penalty, tensors)
    assert float(found[0]) == pytest.approx(formula(weights), rel=1e-5)
    rng, step = np.random.default_rng(1), 1e-6
    for _ in range(3):
        along = [rng.normal(size=w.shape) for w in weights]
        ahead, behind = (
            formula([w + sign * step * d for w, d in zip(weights, along, strict=True)])
            for sign in (1, -1)
        )
        slope = sum(
            float(np.sum(np.asarray(gradient)[0] * d))
            for gradient, d in zip(gradients, along, strict=True)
            if gradient is not None  # of what is not penalised
        )
        assert slope == pytest.approx((ahead - behind) / (2 * step), rel=1e-4)


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_a_models_configuration_is_all_of_it(technique: str) -> None:
    problem = suited(technique)
    model = problem.model(technique, typical(technique))
    again = keras.Sequential.from_config(model.get_config())
    assert again.get_config() == model.get_config()
    one, other = (Population(each, both="all").hyperparameters(each) for each in (model, again))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_an_outline_is_what_a_population_needs_of_a_model(technique: str) -> None:
    problem, change = suited(technique), TECHNIQUES[technique].apply(typical(technique))
    given = (problem.architecture, change, problem.shape, 3, ROWS)
    whole, outline = building.build(*given), building.outline(*given)
    one, other = (Population(model, both="all") for model in (whole, outline))
    assert one.signature == other.signature
    np.testing.assert_array_equal(one.hyperparameters(whole), one.hyperparameters(outline))
    first, second = (initial_weights(model, 1, {}) for model in (whole, outline))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_mixed_penalties_are_article_cs() -> None:
    study = loading.load().study("fashion_article")
    article = study.techniques["mixed_penalties"].article
    assert article is not None
    change = TECHNIQUES["mixed_penalties"].apply(article)
    *hidden, _ = weighted(building.build(study.model, change, (28, 28), 10))
    # The article's `l1_l2(0.01)` had l2=0.01 in Keras 2; in Keras 3 the default is 0.
    printed = [
        keras.regularizers.l1(),
        keras.regularizers.l2(0.001),
        keras.regularizers.l1_l2(0.01, 0.01),
    ]
    assert [layer.units for layer in hidden] == [200, 100, 50]
    for layer, expected in zip(hidden, printed, strict=True):
        assert layer.kernel_regularizer.get_config() == pytest.approx(expected.get_config())


GATED = pytest.mark.parametrize("name", ["mlp", "cnn"])


def gated(name: str, strength: float = 0.3, rows: int = 50) -> keras.Sequential:
    return building.build(EXAMPLES[name], Change(Gates(strength)), SHAPE, 3, rows)


def gates_of(model: keras.Sequential) -> list[HardConcrete]:
    return [layer for layer in model.layers if isinstance(layer, HardConcrete)]


@GATED
def test_every_weight_of_a_kernel_is_behind_one_gate(name: str) -> None:
    model = gated(name)
    for layer in gates_of(model):
        layer.log_alpha.assign(np.full(layer.log_alpha.shape, 0.7))
    kernels = sum(int(np.prod(layer.kernel.shape)) for layer in weighted(model))
    expected = 0.3 / 50 * kernels * float(open_probability(np.float32(0.7)))
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)


@GATED
def test_gates_leave_the_other_initial_weights_alone(name: str) -> None:
    model = gated(name)
    weights = initial_weights(model, 3)
    paths = [weight.path for weight in model.weights]
    rest = [w for w, path in zip(weights, paths, strict=True) if "log_alpha" not in path]
    ungated = initial_weights(build(name, Change()), 3)
    assert all(np.array_equal(a, b) for a, b in zip(rest, ungated, strict=True))
    logits = [w.mean() for w, path in zip(weights, paths, strict=True) if "log_alpha" in path]
    np.testing.assert_allclose(logits[0], np.log(4) if name == "mlp" else 0, atol=0.02)
    np.testing.assert_allclose(logits[1:], 0, atol=0.02)


@GATED
@pytest.mark.parametrize("closed", ["some", "none", "all"])
def test_closed_gates_are_removed_and_predictions_stay(name: str, closed: str) -> None:
    model = gated(name)
    rng = np.random.default_rng(1)
    weights = [rng.normal(size=weight.shape) for weight in model.weights]
    model.set_weights(weights)
    shift = {"some": 0, "none": 9, "all": -9}[closed]
    for layer in gates_of(model):
        layer.log_alpha.assign(3 * rng.normal(size=layer.log_alpha.shape) + shift)
    x = rng.normal(size=(20, *SHAPE)).astype(np.float32)
    found = plain(model)
    np.testing.assert_allclose(np.asarray(found(x)), np.asarray(model(x)), rtol=1e-5, atol=1e-6)
    assert {type(layer).__module__.split(".")[0] for layer in found.layers} == {"keras"}
    *_, last = weighted(found)
    left = last.kernel.shape[0]
    gates = np.asarray(fixed_gates(gates_of(model)[-1].log_alpha))
    assert left == max(1, np.count_nonzero(gates))
    assert (found.count_params() == build(name, Change()).count_params()) == (closed == "none")


def test_gates_after_whitening_are_removed_and_predictions_stay() -> None:
    change = Change(Gates(0.3), Whitening(0.1))
    model = building.build(EXAMPLES["mlp"], change, SHAPE, 3, 50)
    rng = np.random.default_rng(2)
    model.set_weights([rng.normal(size=weight.shape) for weight in model.weights])
    for layer in gates_of(model):
        layer.log_alpha.assign(3 * rng.normal(size=layer.log_alpha.shape))
    assert 0 < np.count_nonzero(np.asarray(fixed_gates(gates_of(model)[0].log_alpha))) < 36
    x = rng.normal(size=(20, *SHAPE)).astype(np.float32)
    found = plain(model)
    np.testing.assert_allclose(np.asarray(found(x)), np.asarray(model(x)), rtol=1e-4, atol=1e-5)
    assert found.get_layer(WHITENING).units == np.prod(SHAPE)


def test_a_model_without_gates_is_plain_already() -> None:
    model = build("mlp", Change())
    assert plain(model) is model


def test_an_lstm_has_no_gates() -> None:
    with pytest.raises(ValueError, match="needs dense layers and convolutions, but got 'lstm'"):
        build("lstm", Change(Gates(0.1)))


def own_model() -> keras.Sequential:
    """A network that no architecture of params.yaml is, whose non-linearities stand apart."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.GaussianNoise(0.1, name="grain"),
            layers.Conv2D(3, 2, padding="valid", name="filters"),
            layers.Activation("tanh", name="bend"),
            layers.MaxPooling2D(2, name="pool"),
            layers.Conv2D(2, 2, trainable=False, name="fixed"),
            layers.GlobalAveragePooling2D(name="mean"),
            layers.Dense(5, activation="relu", use_bias=False, name="dense"),
            layers.Dense(3, activation="softmax", name="classes"),
        ]
    )


def test_no_change_leaves_a_model_of_ones_own_as_it_is() -> None:
    model = own_model()
    found = building.apply(Change(), model)
    assert [layer.get_config() for layer in found.layers] == [
        layer.get_config() for layer in model.layers
    ]
    assert not {id(layer) for layer in found.layers} & {id(layer) for layer in model.layers}


def test_a_change_enters_a_model_of_ones_own() -> None:
    change = Change(
        KernelPenalty(Penalty(l2=0.5)),
        Activity(Penalty(l1=0.25), "after"),
        BatchNorm(),
        Dropout(0.5),
    )
    found = building.apply(change | Change(MaxNorm(2)).only("first"), own_model())
    assert [layer.name for layer in found.layers] == [
        *("grain", "filters", "filters_norm", "bend", "pool", "filters_dropout", "fixed", "mean"),
        *("dense", "dense_norm", "dense_relu", "dense_dropout", "classes"),
    ]
    filters, fixed, dense, classes = weighted(found)
    assert [each.kernel_regularizer is not None for each in (filters, fixed, dense, classes)] == [
        *(True, False),
        *(True, False),
    ]
    assert (filters.kernel_constraint is not None, dense.kernel_constraint) == (True, None)
    assert found.get_layer("bend").activity_regularizer.l1 == 0.25
    assert found.get_layer("dense_relu").activity_regularizer.l1 == 0.25
    assert found.get_layer("filters").activity_regularizer is None
    Population(found, both="none")  # which the engine trains


def test_gates_of_a_model_of_ones_own_spare_what_is_fixed() -> None:
    found = building.apply(Change(Gates(0.3)), own_model(), rows=50)
    assert {layer.name for layer in gates_of(found)} == {
        "filters_gates",
        "dense_gates",
        "classes_gates",
    }


def test_another_non_linearity_replaces_one_that_stands_apart() -> None:
    found = building.apply(Change(Activation("selu")), own_model())
    selu = {layer.name for layer in found.layers if getattr(layer, "activation", 0) is not None}
    assert {"filters_selu", "dense"} <= selu
    assert "bend" not in selu
    initial = found.get_layer("filters").kernel_initializer
    assert isinstance(initial, keras.initializers.LecunNormal)


def test_parts_that_do_not_fit_a_model_of_ones_own_are_rejected() -> None:
    with pytest.raises(
        ValueError, match=r"expected hidden layers .*'dense', 'filters'.*'hidden_1'"
    ):
        building.apply(Change(Dropout(0.5)).only("hidden_1"), own_model())
    lstm = keras.Sequential(
        [keras.Input((4, 3)), keras.layers.LSTM(2, name="steps"), keras.layers.Dense(3)]
    )
    for part in (Activity(Penalty(l1=1), "before"), BatchNorm(), Activation("gelu")):
        with pytest.raises(ValueError, match="layer steps: the non-linearities of an LSTM"):
            building.apply(Change(part), lstm)


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_a_change_of_the_baseline_is_the_model_with_the_change(technique: str) -> None:
    problem = suited(technique)
    baseline = problem.model("none", {})
    change = TECHNIQUES[technique].apply(typical(technique))
    found = building.apply(change, baseline, ROWS_OF_PROBLEM)
    expected = problem.model(technique, typical(technique))
    configs = ([layer.get_config() for layer in model.layers] for model in (found, expected))
    one, other = configs
    for layer in (*one, *other):
        layer.pop("seed", None)
    assert one == other
