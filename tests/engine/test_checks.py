"""What does not fit is refused at the engine's door: the argument, what was expected, what came."""

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest

from pipeline.engine import Checkpoint, Engine, Member, Training
from pipeline.engine.optimizers import KernelStep
from pipeline.engine.program import CURVES

from .problem import same

INPUTS, ROWS = 8, 20
ENGINE = Engine()
NAN = float("nan")


def model(units: int = 3, activation: str | None = "softmax") -> keras.Sequential:
    layers = [keras.Input((INPUTS,)), keras.layers.Dense(units, activation)]
    return keras.Sequential(layers)


def member(own: keras.Sequential | None = None, **wrong: Any) -> Member:
    own, rows = own or model(), np.arange(ROWS)
    return replace(Member(own, own.get_weights(), 0.1, rows[:12], rows[12:], 0), **wrong)


def data() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, INPUTS)).astype(np.float32)
    return {"x": x, "y": rng.integers(3, size=ROWS).astype(np.int32)}


def options(**other: Any) -> Training:
    given = {"optimizer": "sgd", "batch_size": 6, "epochs": 1, "n_classes": 3, **other}
    return Training(**given)


def refused(expected: str, members: Any, training: Training | None = None, **arrays: Any) -> None:
    with pytest.raises(ValueError, match=expected):
        ENGINE.train(members, training or options(), **{**data(), **arrays})


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"optimizer": "rmsprop"}, "optimizer: expected one of adam, sgd, but got 'rmsprop'"),
        ({"optimizer": None}, "optimizer: expected one of adam, sgd, but got None"),
        ({"batch_size": 0}, "batch_size: expected a whole number >= 1 .* but got 0"),
        ({"batch_size": 2.5}, "batch_size: expected a whole number .* but got 2.5"),
        ({"batch_size": True}, "batch_size: expected a whole number .* but got True"),
        ({"epochs": 0}, "epochs: expected a whole number >= 1 .* but got 0"),
        ({"epochs": "3"}, "epochs: expected a whole number .* but got '3'"),
        ({"n_classes": 1}, "n_classes: expected None or a whole number >= 2 .* but got 1"),
        ({"n_classes": 2.0}, "n_classes: expected None or a whole number .* but got 2.0"),
        ({"monitor": "loss"}, "monitor: expected None or one of val_loss, val_accuracy, but"),
        (
            {"monitor": "val_accuracy", "n_classes": None},
            "monitor: expected None or one of val_loss, but got 'val_accuracy'",
        ),
        ({"start_from_epoch": -1}, "start_from_epoch: expected a whole number >= 0 .* got -1"),
        ({"averaging": "batches"}, "averaging: expected None or one of steps, epochs, but got"),
        ({"smoothed": True, "n_classes": None}, "smoothed: expected False .* but got True"),
        (
            {"momentum": True, "optimizer": "adam"},
            "momentum: expected False with adam, since momentum is of sgd, but got True",
        ),
        ({"regression": True}, "regression: expected False with classes, but got True"),
        ({"kernel_steps": ((1, 2),)}, r"kernel_steps\[0\]: expected \(KernelStep, indices\)"),
    ],
)
def test_options_of_a_training_are_checked(wrong: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=rf"^training\.{expected}"):
        options(**wrong)


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"program": "jax"}, "program: expected one of auto, xla, graph, but got 'jax'"),
        ({"population": 0}, "population: expected auto or a whole number >= 1 .* but got 0"),
        ({"population": "many"}, "population: expected auto or a whole number .* got 'many'"),
        ({"memory": 1.5}, "memory: expected None or a whole number of bytes, but got 1.5"),
    ],
)
def test_options_of_an_engine_are_checked(wrong: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=f"^{expected}"):
        Engine(**wrong)


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"model": "mlp"}, "model: expected a built keras.Sequential, but got 'mlp'"),
        ({"model": keras.Sequential([keras.layers.Dense(3)])}, "model: expected a built"),
        ({"weights": []}, r"weights: expected .*\(8, 3\), \(3,\).* but got \[\]"),
        (
            {"weights": [np.zeros((3, 8), np.float32), np.zeros(3, np.float32)]},
            r"weights: expected .*\[\(8, 3\), \(3,\)\], but got \[\(3, 8\), \(3,\)\]",
        ),
        ({"weights": [np.zeros((8, 3)), np.zeros(3)]}, r"weights\[0\]: expected float32, but got"),
        (
            {"weights": [np.zeros((8, 3), np.float32), np.full(3, NAN, np.float32)]},
            r"weights\[1\]: expected finite values, but got NaN",
        ),
        ({"learning_rate": 0.0}, "learning_rate: expected a finite number > 0, but got 0.0"),
        ({"learning_rate": -0.1}, "learning_rate: expected a finite number > 0, but got -0.1"),
        ({"learning_rate": NAN}, "learning_rate: expected a finite number > 0, but got nan"),
        ({"learning_rate": 1e-50}, "learning_rate: expected .* > 0, but got 1e-50"),
        ({"learning_rate": 1e39}, "learning_rate: expected a finite number .* but got 1e[+]39"),
        ({"learning_rate": "fast"}, "learning_rate: expected .* but got 'fast'"),
        ({"seed": -1}, "seed: expected a whole number >= 0, but got -1"),
        ({"seed": 0.5}, "seed: expected a whole number >= 0, but got 0.5"),
        ({"patience": -1}, "patience: expected a whole number >= 0 .* but got -1"),
        ({"patience": 2**31}, "patience: expected .* < 2147483648, but got 2147483648"),
        ({"label_smoothing": 1.0}, "label_smoothing: expected .* >= 0 and < 1, but got 1.0"),
        ({"label_smoothing": 0.1}, "label_smoothing: expected 0, as the training .* got 0.1"),
        ({"target_scale": 0.0}, "target_scale: expected a finite number > 0, but got 0.0"),
        ({"target_mean": NAN}, "target_mean: expected a finite number, but got nan"),
        ({"target_mean": 3.0}, "target_mean, target_scale: expected 0 and 1 .* got 3.0 and 1.0"),
        ({"momentum": 1.0}, "momentum: expected a finite .* >= 0 and < 1, but got 1.0"),
        ({"momentum": 0.9}, "momentum: expected 0, as the training .* but got 0.9"),
        ({"decay": 1.0}, "decay: expected a finite number >= 0 and < 1, but got 1.0"),
        ({"decay": 0.9}, "decay: expected 0, as the training does not use it, but got 0.9"),
        ({"average_after": -1}, "average_after: expected a whole number >= 0 .* but got -1"),
        ({"mixup": -1.0}, "mixup: expected a finite number >= 0, but got -1.0"),
        ({"mixup": 0.2}, "mixup: expected 0, as the training does not use it, but got 0.2"),
        ({"kernel_steps": {"shrink": NAN}}, r"kernel_steps\['shrink'\]: expected .* but got nan"),
        ({"train_rows": [0, 1]}, "train_rows: expected an array of whole numbers .* got list"),
        ({"train_rows": np.zeros(3)}, r"train_rows: expected .* but got float64 \(3,\)"),
        ({"val_rows": np.zeros((2, 2), int)}, r"val_rows: expected .* \(n,\), but got int64 \(2,"),
        ({"val_rows": np.array([], int)}, "val_rows: expected some rows, .* but got 0"),
        ({"train_rows": np.array([0, 20])}, "train_rows: expected .* 0 to 19, but got 0 to 20"),
        (
            {"checkpoint": Checkpoint({}, np.zeros((2, len(CURVES))), 0.0)},
            "checkpoint: expected at most the training's 1 epochs, but got 2",
        ),
        (
            {"checkpoint": Checkpoint({}, np.zeros((1, len(CURVES))), 0.0)},
            r"checkpoint.state\['weights'\]: expected .* but got \[\]",
        ),
        (
            {"checkpoint": Checkpoint({}, np.zeros((1, 2)), 0.0)},
            r"checkpoint.curves: expected shape \(epochs, 5\), but got \(1, 2\)",
        ),
    ],
)
def test_members_are_checked(wrong: dict[str, Any], expected: str) -> None:
    refused(rf"^members\[0\]\.{expected}", [member(**wrong)])


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"x": [[0.0] * INPUTS] * ROWS}, "x: expected a NumPy array, but got list"),
        ({"x": data()["x"].astype(float)}, r"x: expected float32 .* but got float64 \(20, 8\)"),
        ({"x": data()["x"][:, 0]}, r"x: expected float32 of shape .* but got float32 \(20,\)"),
        ({"x": data()["x"][:0], "y": data()["y"][:0]}, r"x: expected .* but got float32 \(0, 8\)"),
        ({"x": data()["x"][:, :7]}, r"x: expected .*input shape \(8,\), but got \(7,\)"),
        ({"x": np.full((ROWS, INPUTS), np.inf, np.float32)}, "`x` must be finite, but has"),
        ({"y": data()["y"].tolist()}, "y: expected a NumPy array, but got list"),
        ({"y": data()["y"][:5]}, "`x` and `y` must have the same length, but got 20 and 5"),
        ({"y": data()["y"][:, None]}, r"y: expected .* shape \(20,\), but got \(20, 1\)"),
        ({"y": data()["y"].astype(np.float32)}, "y: expected labels of an .* but got float32"),
        ({"y": data()["y"] + 1}, r"y: expected labels in \[0, 3\), but got 1 to 3"),
        ({"y": data()["y"] - 1}, r"y: expected labels in \[0, 3\), but got -1 to 1"),
    ],
)
def test_data_are_checked(wrong: dict[str, Any], expected: str) -> None:
    refused(f"^{expected}", [member()], **wrong)


@pytest.mark.parametrize(
    ("units", "n_classes", "activation", "expected"),
    [
        (1, None, None, r"a reconstruction of the input needs, but got \(1,\)"),
        (7, None, None, r"\(8,\) for one example, .* but got \(7,\)"),
        (2, 2, "sigmoid", r"\(1,\) for one example, as 2 classes need, but got \(2,\)"),
        (5, 3, "softmax", r"\(3,\) for one example, as 3 classes need, but got \(5,\)"),
        (1, 3, "softmax", r"\(3,\) for one example, as 3 classes need, but got \(1,\)"),
    ],
)
def test_an_output_that_would_be_broadcast_against_its_target_is_refused(
    units: int, n_classes: int | None, activation: str | None, expected: str
) -> None:
    """One unit against eight values trained, towards their mean."""
    given, training = [member(model(units, activation))], options(n_classes=n_classes)
    labels = data()["y"] % (n_classes or 3)
    refused(
        rf"^layer dense\w*: expected an output of shape .*{expected}", given, training, y=labels
    )
    with pytest.raises(ValueError, match=expected):
        ENGINE.program_name(given, training)


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"y": data()["y"]}, "y: expected float32 for a regression, but got int32"),
        ({"y": np.zeros(ROWS)}, "y: expected float32 for a regression, but got float64"),
        (
            {"y": np.zeros((ROWS, 1), np.float32)},
            r"y: expected one value .* shape \(20,\), but got \(20, 1\)",
        ),
        ({"y": np.full(ROWS, NAN, np.float32)}, "`y` must be finite, but has NaN"),
    ],
)
def test_targets_of_a_regression_are_checked(wrong: dict[str, Any], expected: str) -> None:
    training = options(n_classes=None, regression=True)
    refused(f"^{expected}", [member(model(1, None))], training, **wrong)


@pytest.mark.parametrize(
    ("units", "activation", "expected"),
    [
        (3, None, r"\(1,\) for one example, as a regression needs, but got \(3,\)"),
        (1, "sigmoid", "expected the activation linear .* but got sigmoid"),
    ],
)
def test_a_regression_needs_one_linear_unit(
    units: int, activation: str | None, expected: str
) -> None:
    training, y = options(n_classes=None, regression=True), np.zeros(ROWS, np.float32)
    refused(expected, [member(model(units, activation))], training, y=y)


def test_a_kernel_step_on_a_weight_that_the_model_lacks_is_refused() -> None:
    step = KernelStep("shrink", lambda kernel, size: kernel - size)
    training = options(kernel_steps=((step, (0, 2)),))
    expected = r"kernel_steps of shrink: expected indices .* 0 to 1, but got \[0, 2\]"
    refused(expected, [member(kernel_steps={"shrink": 0.1})], training)


def test_labels_of_another_integer_type_train_the_same() -> None:
    given, arrays = [member()], data()
    one = ENGINE.train(given, options(), **arrays)[0]
    other = ENGINE.train(given, options(), arrays["x"], arrays["y"].astype(np.uint8))[0]
    assert same(one, other)
