"""What is measured of convolutional and recurrent models."""

import keras
import numpy as np
import pytest
from keras import layers

from pipeline import measures, models
from pipeline.measures import measure
from pipeline.params import Cnn, Lstm, Model
from pipeline.techniques import Activity, Change, Penalty

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 6, 6)).astype(np.float32)
Y = RNG.integers(3, size=20).astype(np.int32)


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
    found = measure(model, {"test": (X, Y)})
    assert found["zero_activations"] == pytest.approx(np.mean(hidden == 0))
    assert found["mean_activation"] == pytest.approx(np.mean(np.abs(hidden)))


def test_zero_weights_count_every_kernel_and_no_bias() -> None:
    model = keras.Sequential([keras.Input((6, 6)), layers.LSTM(2), layers.Dense(3)])
    kernel, recurrent, bias, last, _ = model.get_weights()
    kernel[:2], recurrent[0] = 0, 0
    model.set_weights([kernel, recurrent, bias, last, np.zeros(3)])
    found = measure(model, {"test": (X, Y)})
    assert found["zero_weights"] == (16 + 8) / (48 + 16 + 6)


@pytest.mark.parametrize("given", [Cnn("cnn", (4,)), Lstm("lstm", (4, 3))], ids=["cnn", "lstm"])
def test_measuring_in_parts_changes_nothing(given: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    change = Change(activity=Activity(Penalty(l1=1), "after"))
    model = models.build(given, change, (6, 6), 3)
    whole = measure(model, {"test": (X, Y)})
    monkeypatch.setattr(
        measures, "VALUES_AT_ONCE", 6 * 6 * 4
    )  # one row of the convolution's output
    assert len(list(measures._parts(model, 20))) >= 4
    assert measure(model, {"test": (X, Y)}) == pytest.approx(whole, rel=1e-6)
