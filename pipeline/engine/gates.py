"""A layer that Keras lacks. It serves training alone: `models.plain` removes it."""

import math
from typing import Any

import keras
from keras import ops

Tensor = Any

# The ends to which the concrete distribution is stretched, and its temperature, as in the article.
GAMMA, ZETA, TEMPERATURE = -0.1, 1.1, 2 / 3
SPREAD = 0.01  # standard deviation of log_alpha's initial values, as in the article's code


def random_gates(log_alpha: Tensor, uniform: Tensor) -> Tensor:
    """Draws of hard concrete gates in [0, 1], both ends included.

    `s = sigmoid((log(u) - log(1 - u) + log_alpha) / temperature)`, stretched to (gamma, zeta) and
    clipped. Both arguments of one shape; u uniform in (0, 1).
    """
    logits = ops.log(uniform) - ops.log1p(-uniform) + log_alpha
    return _clipped(ops.sigmoid(logits / TEMPERATURE))


def fixed_gates(log_alpha: Tensor) -> Tensor:
    """The gates without noise, for evaluation: exactly 0 where log_alpha <= -log(11)."""
    return _clipped(ops.sigmoid(log_alpha))


def _clipped(s: Tensor) -> Tensor:
    return ops.clip(s * (ZETA - GAMMA) + GAMMA, 0.0, 1.0)


def open_probability(log_alpha: Tensor) -> Tensor:
    """The probability that a random gate is not 0."""
    return ops.sigmoid(log_alpha - TEMPERATURE * math.log(-GAMMA / ZETA))


@keras.saving.register_keras_serializable("pipeline")
class HardConcrete(keras.layers.Layer):  # type: ignore[misc]  # keras has no types
    """Multiplies each feature, the last axis of its input, by a gate that can close for good.

    In training all examples of a batch share one draw of the gates. Added to the loss is
    `strength * sum(P(gate != 0))`, the expected L0 norm. Louizos, Welling and Kingma 2018.

    Args:
        strength: >= 0, of each gate; the weights that a gate switches count as one.
        droprate: in (0, 1), the initial probability that a gate is closed.
    """

    def __init__(self, strength: float, droprate: float = 0.5, **options: Any) -> None:
        super().__init__(**options)
        if not 0 < droprate < 1:
            raise ValueError(f"`droprate` must lie in (0, 1), but got droprate={droprate}")
        if not 0 <= strength < math.inf:
            raise ValueError(f"`strength` must be finite and >= 0, but got strength={strength}")
        self.strength, self.droprate = strength, droprate
        self.seed_generator = keras.random.SeedGenerator()

    @property
    def mean(self) -> float:
        """The mean of log_alpha's initial values."""
        return math.log(1 - self.droprate) - math.log(self.droprate)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Adds log_alpha, (features,)."""
        self.log_alpha = self.add_weight(
            shape=input_shape[-1:],
            initializer=keras.initializers.RandomNormal(self.mean, SPREAD),
            regularizer=lambda log_alpha: self.strength * ops.sum(open_probability(log_alpha)),
            name="log_alpha",
        )

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """The inputs times the gates: random ones in training, fixed ones in evaluation."""
        if not training:
            return inputs * fixed_gates(self.log_alpha)
        return inputs * random_gates(self.log_alpha, self.uniform())

    def uniform(self) -> Tensor:
        """Noise in (0, 1), (features,)."""
        tiny = 1e-6
        shape = self.log_alpha.shape
        return keras.random.uniform(shape, tiny, 1 - tiny, seed=self.seed_generator)

    def get_config(self) -> dict[str, Any]:
        """The arguments, for Keras."""
        return {**super().get_config(), "strength": self.strength, "droprate": self.droprate}
