"""Hard concrete gates are what their article says."""

import numpy as np
import pytest
from keras import ops

from pipeline.engine import backend
from pipeline.engine.gates import HardConcrete, fixed_gates, open_probability, random_gates
from pipeline.engine.noise import Noise

LOG_ALPHAS = np.array([-4, -2, 0, 1, 3], np.float32)


def test_random_gates_are_open_as_often_as_the_closed_form_says() -> None:
    draws = 200_000
    noise = Noise(ops.convert_to_tensor(np.array([[1, 2]], np.uint32)), ops.zeros((), "uint32"))
    uniform = noise.uniform(0, (draws, len(LOG_ALPHAS)))[0]
    gates = np.asarray(random_gates(np.tile(LOG_ALPHAS, (draws, 1)), uniform))
    expected = np.asarray(open_probability(LOG_ALPHAS))
    error = np.sqrt(expected * (1 - expected) / draws)
    assert np.all(np.abs(np.mean(gates != 0, axis=0) - expected) < 4 * error)
    assert (gates.min(), gates.max()) == (0, 1)
    assert np.mean(gates == 1, axis=0)[2] == pytest.approx(1 - expected[2], abs=4 * float(error[2]))


def test_fixed_gates_close_at_the_ends() -> None:
    end = np.float32(np.log(11))
    gates = np.asarray(fixed_gates(np.array([-end - 0.01, -end + 0.01, 0, end + 0.01], np.float32)))
    np.testing.assert_allclose(gates, [0, 0.001, 0.5, 1], atol=1e-3)
    assert gates[0] == 0 < gates[1]


def test_the_gradient_of_the_penalty_is_its_finite_difference() -> None:
    layer = HardConcrete(0.3)
    layer.build((None, len(LOG_ALPHAS)))

    def penalty(values: np.ndarray) -> float:
        """In double precision, from the article: P(s > -gamma / (zeta - gamma))."""
        odds = values - 2 / 3 * np.log(0.1 / 1.1)
        return float(0.3 * np.sum(1 / (1 + np.exp(-odds))))

    def loss(weights: object) -> tuple[object, None]:
        return layer.log_alpha.regularizer(weights[0]), None  # type: ignore[index]

    values = LOG_ALPHAS.astype(np.float64)
    (gradient,), _ = backend.gradients(loss, [ops.convert_to_tensor(LOG_ALPHAS)])
    steps = 1e-5 * np.eye(len(values))
    differences = [(penalty(values + step) - penalty(values - step)) / 2e-5 for step in steps]
    np.testing.assert_allclose(np.asarray(gradient), differences, rtol=1e-4)
    layer.log_alpha.assign(LOG_ALPHAS)
    assert float(layer.losses[0]) == pytest.approx(penalty(values), rel=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strength": -1.0}, "`strength` must be finite and >= 0, but got strength=-1.0"),
        ({"strength": 1.0, "droprate": 1.0}, r"`droprate` must lie in \(0, 1\), but got"),
    ],
)
def test_invalid_options_of_gates_are_rejected(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HardConcrete(**options)
