"""The measures of a model follow their formulas."""

import gzip
import itertools
import logging
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

from pipeline.datasets.task import KEPT, SIGMAS, kept_name
from pipeline.engine.gates import HardConcrete
from pipeline.models import building
from pipeline.models.architectures import Cnn, Lstm, Mlp, Model
from pipeline.models.plain import plain
from pipeline.techniques.changes import Change
from pipeline.techniques.penalties import Activity, Gates, Penalty
from pipeline.training import measures
from pipeline.training.measures import (
    calibration_error,
    kept_accuracies,
    measure,
    noise_accuracies,
    pruned,
    sampled_scores,
    weights,
)

from .engine.problem import Problem

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(20, 6, 6)).astype(np.float32)
Y = RANDOM.integers(3, size=20).astype(np.int32)
KERNELS = [RANDOM.normal(size=(4, 3)).astype(np.float32), np.zeros((3, 2), np.float32)]
BIASES = [np.array([3, 0, 4], np.float32), np.zeros(2, np.float32)]


def test_shares_and_norms_are_sums_over_all_kernels() -> None:
    kernels = [*KERNELS, np.array([[5e-4, -5e-4]], np.float32)]
    flat = [float(w) for kernel in kernels for w in kernel.ravel()]
    found = weights(kernels, BIASES)
    assert found["zero_weights"] == pytest.approx(6 / 20)
    assert found["near_zero_weights"] == pytest.approx(sum(abs(w) < 1e-3 for w in flat) / 20)
    assert found["negative_weights"] == pytest.approx(sum(w < 0 for w in flat) / 20)
    assert found["kernel_norm"] == pytest.approx(sum(w * w for w in flat) ** 0.5)
    assert found["bias_norm"] == pytest.approx(5)


def test_a_weight_at_the_bound_is_not_near_zero() -> None:
    found = weights([np.array([[2e-3, -2e-3, 0.9e-3, 0]], np.float32)], BIASES)
    assert found["near_zero_weights"] == 0.5


def test_gzip_holds_the_float32_kernels_and_shrinks_with_zeros() -> None:
    kernel = RANDOM.normal(size=(40, 30)).astype(np.float32)
    size = weights([kernel], BIASES)["kernel_gzip_bytes"]
    assert size == len(gzip.compress(kernel.tobytes(), 6, mtime=0))
    sparse = np.where(np.abs(kernel) < 1, np.float32(0), kernel)
    assert weights([sparse], BIASES)["kernel_gzip_bytes"] < 0.6 * size


def test_pruned_kernels_keep_the_largest_weights_of_all_together() -> None:
    kernels = [np.array([[3.0, -0.5], [9e-4, 0.2]]), np.array([[-4.0], [0.1]])]
    for share, left in ((1.0, 5), (0.5, 3), (0.3, 2), (0.1, 1)):
        found = np.concatenate([kernel.ravel() for kernel in pruned(kernels, share)])
        flat = np.concatenate([kernel.ravel() for kernel in kernels])
        kept = np.sort(np.abs(flat))[-left:]
        assert np.sort(np.abs(found[found != 0])).tolist() == kept.tolist()
        assert (found[found != 0] == flat[found != 0]).all()
    assert kernels[0][1, 0] == 9e-4  # the given ones stay as they are


@pytest.mark.parametrize("share", [0.0, 1.1, float("nan")])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=r"`share` must lie in \(0, 1\], but got"):
        pruned(KERNELS, share)


def test_gzip_of_pruned_kernels_drops_what_is_near_zero() -> None:
    near = np.where(RANDOM.random((40, 30)) < 0.5, 9e-4 * RANDOM.random((40, 30)), 1.0)
    found = weights([near.astype(np.float32)], BIASES)
    exact = weights([np.where(near < 1e-3, 0, near).astype(np.float32)], BIASES)
    assert found["pruned_gzip_bytes"] == exact["kernel_gzip_bytes"] < found["kernel_gzip_bytes"]


def test_accuracy_of_pruned_kernels_is_that_of_a_model_with_them() -> None:
    model = keras.Sequential([layers.Input((3,)), layers.Dense(4), layers.Dense(3)])
    x, y = RANDOM.normal(size=(50, 3)).astype(np.float32), RANDOM.integers(3, size=50)
    before = model.get_weights()
    found = kept_accuracies(model, x, y)
    for mine, kept in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, kept)
    assert list(found) == [kept_name(share) for share in KEPT]
    first, second = pruned(before[::2], 0.3)
    classes = ((x @ first) @ second).argmax(axis=1)  # biases are 0
    assert found["kept_30_accuracy"] == np.mean(classes == y)


def test_the_drop_under_noise_is_from_the_accuracy_without() -> None:
    x = RANDOM.normal(size=(400, 1)).astype(np.float32)
    found = noise_accuracies(sign, x, sign(x), sign(x))
    assert found["noise_drop"] > 0
    assert found["noise_drop"] == pytest.approx(1 - found["noise_accuracy"])


def test_calibration_error_is_the_gap_weighted_over_bins() -> None:
    confidences = np.array([0.95, 0.95, 0.5, 0.5, 0.5], np.float32)
    hits = np.array([True, False, True, True, False])
    expected = 2 / 5 * abs(1 / 2 - 0.95) + 3 / 5 * abs(2 / 3 - 0.5)
    assert calibration_error(confidences, hits) == pytest.approx(expected)


@pytest.mark.parametrize(("confidence", "share"), [(1.0, 1.0), (0.75, 0.75), (0.0, 0.0)])
def test_perfect_calibration_has_no_error(confidence: float, share: float) -> None:
    hits = np.arange(100) < 100 * share
    assert calibration_error(np.full(100, confidence), hits) == pytest.approx(0, abs=1e-12)


def test_confident_and_always_wrong_is_the_worst_calibration() -> None:
    assert calibration_error(np.ones(7), np.zeros(7, bool)) == 1


def test_calibration_of_a_model_that_diverged_is_not_a_number() -> None:
    assert np.isnan(calibration_error(np.full(3, np.nan), np.zeros(3, bool)))


def sign(x: np.ndarray) -> np.ndarray:
    return x[:, 0] > 0


def test_noise_lowers_the_accuracy_on_a_margin_as_the_normal_distribution_says() -> None:
    x = np.full((50_000, 1), 0.2, np.float32)
    found = noise_accuracies(sign, x, np.ones(len(x), np.int32), sign(x))
    expected = [0.9772, 0.8413, 0.6915]  # of a margin of 2, 1 and 1/2 standard deviations
    shown = [found[f"noise_{sigma}_accuracy"] for sigma in SIGMAS]
    assert shown == pytest.approx(expected, abs=0.006)
    area = (1 + shown[0]) / 2 * 0.1 + (shown[0] + shown[1]) / 2 * 0.1 + sum(shown[1:]) / 2 * 0.2
    assert found["noise_accuracy"] == pytest.approx(area / 0.4)


def test_noise_is_the_same_for_every_model() -> None:
    met: list[np.ndarray] = []

    def classify(x: np.ndarray) -> np.ndarray:
        met.append(x)
        return sign(x)

    x, y = np.zeros((5, 2), np.float32), np.ones(5, np.int32)
    clean = np.array([1, 0, 1, 1, 0])
    for _ in range(2):
        found = noise_accuracies(classify, x, y, clean)
        assert found["noise_0_accuracy"] == 0.6  # the curve starts without noise
    first, second = met
    np.testing.assert_array_equal(first, second)
    weakest, _, strongest = np.split(first, len(SIGMAS))
    np.testing.assert_allclose(strongest, 4 * weakest, rtol=1e-6)


@pytest.fixture(scope="module")
def model() -> keras.Sequential:
    problem = Problem()
    model = problem.model("dropout", {"rate": 0.5})
    model.set_weights(problem.member().weights)
    return model


def test_zero_noise_gives_the_test_accuracy(model: keras.Sequential) -> None:
    x, y = Problem().data()
    found = measure(model, {"test": (x, y)}).measures
    classes = measures.predict(model, x, y).classes
    still = noise_accuracies(
        lambda rows: measures.predict(model, rows, y).classes, x, y, classes, (1e-9,)
    )
    assert still["noise_accuracy"] == pytest.approx(found["test_accuracy"])
    assert found["noise_0_accuracy"] == found["test_accuracy"]


def test_a_constant_model_is_as_accurate_under_noise(model: keras.Sequential) -> None:
    x, y = Problem().data()
    constant = keras.models.clone_model(model)
    constant.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    found = measure(constant, {"test": (x, y)}).measures
    assert found["collapsed"]
    assert found["noise_accuracy"] == pytest.approx(found["test_accuracy"])
    assert found["calibration_error"] == pytest.approx(abs(found["test_accuracy"] - 1 / 3))
    assert found["zero_weights"] == 1


@pytest.mark.parametrize("classes", [2, 3])
def test_measures_are_those_of_keras(classes: int) -> None:
    problem = Problem(n_classes=classes)
    model, (x, y) = problem.model("none", {}), problem.data()
    model.set_weights(problem.member().weights)
    outputs = model.predict(x, verbose=0)
    if classes == 2:
        outputs = np.concatenate([1 - outputs, outputs], axis=1)
    hits = outputs.argmax(axis=1) == y
    found = measure(model, {"train": (x[:9], y[:9]), "test": (x, y)}).measures
    assert found["test_accuracy"] == pytest.approx(hits.mean())
    assert found["train_accuracy"] == pytest.approx(hits[:9].mean())
    assert found["test_loss"] == pytest.approx(-np.log(outputs[np.arange(len(y)), y]).mean(), 1e-4)
    error = calibration_error(outputs.max(axis=1), hits)
    assert found["calibration_error"] == pytest.approx(error, abs=1e-6)
    assert found["parameters"] == sum(weight.size for weight in model.get_weights())


def stack(*own: keras.Layer, inputs: int = 2, units: int = 3) -> keras.Sequential:
    return keras.Sequential(
        [keras.Input((inputs,)), *own, layers.Dense(units, activation="softmax")]
    )


def sampled(model: keras.Sequential, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    return sampled_scores(model, x, y, measures.predict(model, x, y).losses)


def test_the_mean_over_masks_is_that_of_all_masks_by_their_probability() -> None:
    model, rate = stack(layers.Dropout(0.25)), 0.25
    x, y = np.tile(np.array([[1.0, -2.0]], np.float32), (2000, 1)), np.zeros(2000, np.int32)
    kernel, bias = np.array([[2, -1, 0], [1, 0, -2]], np.float32), np.zeros(3, np.float32)
    model.set_weights([kernel, bias])
    mean = np.zeros(3)
    for mask in itertools.product((0, 1), repeat=2):
        logits = (x[0] * mask / (1 - rate)) @ kernel
        chance = np.prod([1 - rate if kept else rate for kept in mask])
        mean += chance * np.exp(logits) / np.exp(logits).sum()
    found = sampled(model, x, y)
    # Fifty passes are about 0.03 above the loss of all masks, since -log is convex.
    assert found["sampled_loss"] == pytest.approx(-np.log(mean[0]), abs=0.05)
    logits = x[0] @ kernel
    assert found["unsampled_loss"] == pytest.approx(
        -np.log(np.exp(logits) / np.exp(logits).sum())[0]
    )
    assert abs(found["sampled_loss"] - found["unsampled_loss"]) > 1  # or it would show nothing


@pytest.mark.parametrize("units", [1, 3])
def test_masks_that_drop_nothing_give_the_plain_scores_since_all_other_layers_are_in_inference(
    units: int,
) -> None:
    x = RANDOM.normal(size=(300, 6)).astype(np.float32)
    y = RANDOM.integers(max(2, units), size=300).astype(np.int32)
    noise = layers.GaussianNoise(1), layers.GaussianNoise(1)
    between = [noise[0], layers.Dropout(0), noise[1], layers.BatchNormalization()]
    output = layers.Dense(units, activation="softmax" if units > 1 else "sigmoid")
    model = keras.Sequential([keras.Input((6,)), layers.Dense(4), *between, output])
    plain = measure(model, {"test": (x, y)}).measures
    assert plain["sampled_accuracy"] == plain["test_accuracy"] == plain["noise_0_accuracy"]
    assert plain["sampled_loss"] == pytest.approx(plain["test_loss"], rel=1e-6)
    assert plain["unsampled_loss"] == plain["test_loss"]


def test_masks_are_the_same_whatever_the_model_has_drawn_before(model: keras.Sequential) -> None:
    x, y = Problem().data()
    again = keras.models.clone_model(model)
    again.set_weights(model.get_weights())
    again(x, training=True)
    states = [np.asarray(variable) for variable in again.variables]
    assert sampled(model, x, y) == sampled(again, x, y) == sampled(model, x, y)
    for state, variable in zip(states, again.variables, strict=True):
        np.testing.assert_array_equal(state, np.asarray(variable))


@pytest.mark.parametrize(
    ("technique", "values", "has"),
    [
        ("none", {}, False),
        ("gaussian_dropout", {"rate": 0.3}, False),
        ("dropout", {"rate": 0.3}, True),
        ("input_dropout", {"rate": 0.3}, True),
        ("dropout_l2", {"rate": 0.3, "strength": 0.1}, True),
    ],
)
def test_models_with_dropout_alone_are_measured_with_masks(
    technique: str, values: dict[str, float], has: bool
) -> None:
    problem = Problem()
    found = measure(problem.model(technique, values), {"test": problem.data()}).measures
    columns = {"sampled_accuracy", "sampled_loss", "unsampled_loss"}
    assert columns & found.keys() == (columns if has else set())


def test_hidden_outputs_are_those_after_the_non_linearity() -> None:
    """Of a convolution, an LSTM and a dense layer; pooling, dropout and the output do not count."""
    stack = [
        layers.Reshape((6, 6, 1)),
        layers.Conv2D(2, 3),
        layers.Activation("relu"),
        layers.MaxPooling2D(2),
        layers.Dropout(0.5),
        layers.Reshape((2, 4)),
        layers.LSTM(3, return_sequences=True),
        layers.LSTM(4),
        layers.Dense(5, activation="relu"),
    ]
    output = layers.Dense(3, activation="softmax")
    model = keras.Sequential([keras.Input((6, 6)), *stack, output])
    inner = keras.Model(model.inputs[0], [stack[i].output for i in (2, 6, 7, 8)])
    hidden = np.concatenate([np.asarray(h).ravel() for h in inner(X)])
    found = measure(model, {"test": (X, Y)}).measures
    assert found["zero_activations"] == pytest.approx(np.mean(hidden == 0))
    assert found["mean_activation"] == pytest.approx(np.mean(np.abs(hidden)))


def test_biases_are_those_of_layers_and_of_normalization_without_its_scale() -> None:
    hidden = [layers.Dense(2, use_bias=False), layers.BatchNormalization()]
    stack = [*hidden, layers.Activation("relu"), layers.Dense(3)]
    model = keras.Sequential([keras.Input((6, 6)), layers.Flatten(), *stack])
    for weight in model.weights:
        weight.assign(np.full(weight.shape, {"beta": 3.0, "bias": 4.0}.get(weight.name, 7.0)))
    assert measure(model, {"test": (X, Y)}).measures["bias_norm"] == np.sqrt(2 * 3**2 + 3 * 4**2)


def test_zero_weights_count_every_kernel_and_no_bias() -> None:
    model = keras.Sequential([keras.Input((6, 6)), layers.LSTM(2), layers.Dense(3)])
    kernel, recurrent, bias, last, _ = model.get_weights()
    kernel[:2], recurrent[0] = 0, 0
    model.set_weights([kernel, recurrent, bias, last, np.zeros(3)])
    found = measure(model, {"test": (X, Y)}).measures
    assert found["zero_weights"] == (16 + 8) / (48 + 16 + 6)


@pytest.mark.parametrize("given", [Cnn("cnn", (4,)), Lstm("lstm", (4, 3))], ids=["cnn", "lstm"])
def test_measuring_in_parts_changes_nothing(given: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    change = Change(Activity(Penalty(l1=1), "after"))
    model = building.build(given, change, (6, 6), 3)
    whole = measure(model, {"test": (X, Y)}).measures
    monkeypatch.setattr(
        measures, "VALUES_AT_ONCE", 6 * 6 * 4
    )  # one row of the convolution's output
    assert len(list(measures._parts(model, 20))) >= 4
    # The calibration error is what is left of float32 numbers near 1.
    assert measure(model, {"test": (X, Y)}).measures == pytest.approx(whole, rel=1e-6, abs=1e-7)


def test_one_program_scores_any_number_of_examples(
    model: keras.Sequential, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = Problem().data()
    traced: list[int] = []

    def score(*arguments: Any) -> Any:
        traced.append(1)
        return original(*arguments)

    original = measures._score
    monkeypatch.setattr(measures, "_score", score)
    measures._scorer.cache_clear()
    measure(model, {"train": (x[:9], y[:9]), "val": (x[:7], y[:7]), "test": (x, y)})
    assert len(traced) == 1


def points_model(kernel: np.ndarray, *before: keras.Layer) -> keras.Sequential:
    """A linear model of points, whose kernel this is, behind other layers."""
    model = keras.Sequential(
        [keras.Input(kernel.shape[:1]), *before, layers.Dense(kernel.shape[1])]
    )
    model.layers[-1].set_weights([kernel, np.ones(kernel.shape[1])])
    return model


def told(kernel: np.ndarray, informative: list[int]) -> dict[str, float]:
    norms = np.linalg.norm(kernel, axis=1)
    return measures.selection(norms, np.array(informative, np.int32))


def test_a_linear_model_that_was_fitted_recalls_the_inputs_it_was_made_from() -> None:
    rng = np.random.default_rng(0)
    x, informative = rng.normal(size=(200, 9)), [1, 4, 7]
    y = x[:, informative] @ np.array([[2.0], [-1.0], [0.5]])
    kernel, *_ = np.linalg.lstsq(x, y + rng.normal(0, 0.1, y.shape), rcond=None)
    model = points_model(kernel.astype(np.float32))
    np.testing.assert_allclose(measures.input_norms(model), np.abs(kernel[:, 0]), rtol=1e-6)
    assert told(kernel, informative) == {"informative_recall": 1, "noise_inputs_dropped": 0}
    dropped = np.where(np.abs(kernel) < 0.1, 0, kernel)
    assert told(dropped, informative) == {"informative_recall": 1, "noise_inputs_dropped": 1}
    assert told(dropped, [0, 4, 7])["informative_recall"] == pytest.approx(2 / 3)
    assert told(dropped, [0, 4, 7])["noise_inputs_dropped"] == pytest.approx(5 / 6)


@given(st.data())
def test_selection_knows_ranks_and_zeros_only(data: st.DataObject) -> None:
    """Sizes from the largest are ranks: order of inputs, scale and units change nothing."""
    inputs = data.draw(st.integers(2, 12))
    count = data.draw(st.integers(1, inputs - 1))
    informative = sorted(data.draw(st.permutations(range(inputs)))[:count])
    sizes = np.array(data.draw(st.permutations(range(inputs))), np.float32)
    weighty = data.draw(st.integers(0, inputs))  # inputs with a weight at all
    sizes = np.where(sizes >= inputs - weighty, sizes + 1, 0)
    signs = data.draw(st.lists(st.sampled_from([-1.0, 1.0]), min_size=3, max_size=3))
    kernel = sizes[:, None] * np.array([signs], np.float32)
    found = told(kernel, informative)
    heaviest = [i for i in range(inputs) if sizes[i] > max(0, inputs - count)]
    assert found["informative_recall"] == len(set(heaviest) & set(informative)) / count
    noise = set(range(inputs)) - set(informative)
    dropped = sum(sizes[i] == 0 for i in noise) / len(noise)
    assert found["noise_inputs_dropped"] == pytest.approx(dropped)
    order = data.draw(st.permutations(range(inputs)))
    moved = sorted(order.index(i) for i in informative)
    assert told(7 * kernel[order], moved) == found


def test_inputs_without_any_weight_are_not_selected() -> None:
    assert told(np.zeros((4, 2), np.float32), [0, 1]) == {
        "informative_recall": 0,
        "noise_inputs_dropped": 1,
    }


def test_weights_behind_whitening_are_those_of_the_raw_inputs() -> None:
    kernel = RANDOM.normal(size=(4, 2)).astype(np.float32)
    mixing = RANDOM.normal(size=(4, 4)).astype(np.float32)
    whitening = layers.Dense(4, trainable=False)
    model = points_model(kernel, whitening, layers.GaussianNoise(0.1))
    whitening.set_weights([mixing, np.ones(4)])
    np.testing.assert_allclose(
        measures.input_norms(model), np.linalg.norm(mixing @ kernel, axis=1), rtol=1e-5
    )


def test_an_input_behind_a_closed_gate_is_dropped() -> None:
    model = building.build(Mlp("mlp", (3,)), Change(Gates(0.1)), (4,), 2)
    for layer in model.layers:
        if isinstance(layer, HardConcrete):
            gates = np.zeros(layer.log_alpha.shape)
            gates[:1] = -9
            layer.log_alpha.assign(gates)
    without = plain(model)
    norms = measures.input_norms(without)
    assert measures.selection(norms, np.array([1, 2, 3], np.int32)) == {
        "informative_recall": 1,
        "noise_inputs_dropped": 1,
    }
    sizes = measure(without, {"test": (X[:, 0, :4], Y % 2)}).measures
    # Of the three units one is cut; what is left has a row of two zeros, and biases of zero.
    assert (sizes["parameters"], sizes["nonzero_parameters"]) == (4 * 2 + 2 + 2 + 1, 3 * 2 + 2)


def test_one_model_after_the_other_is_measured_without_a_warning(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorFlow warns where it believes that it traces one function again and again."""
    monkeypatch.setattr(logging.getLogger("tensorflow"), "propagate", True)
    for _ in range(6):
        model = building.build(Mlp("mlp", (4,)), Change(), (6, 6), 3)
        measure(model, {"val": (X[:7], Y[:7]), "test": (X, Y)})
    assert not caplog.records


@pytest.mark.parametrize("classes", [2, 3])
def test_losses_of_models_that_are_very_sure_are_those_of_evaluate(classes: int) -> None:
    model = building.build(Mlp("mlp", (8,)), Change(), (6, 6), classes)
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(0, 10, w.shape) for w in model.get_weights()])
    y = (Y % classes).astype(np.int32)
    kind = "binary" if classes == 2 else "sparse_categorical"
    model.compile(loss=f"{kind}_crossentropy")
    expected = model.evaluate(X, y, verbose=0)
    assert expected > 20
    assert measure(model, {"test": (X, y)}).measures["test_loss"] == pytest.approx(
        expected, rel=1e-5
    )
