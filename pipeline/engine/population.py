"""The forward pass of P members of one Sequential architecture, with the population axis first.

A Keras model is taken apart into its structure, which decides the program, and its numbers
(penalties' strengths, dropout's rates), which are the program's inputs. Models that differ only
in numbers and weights are members of one population.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import ops

from pipeline.engine.backend import Tensor
from pipeline.engine.noise import Noise
from pipeline.engine.optimizers import per_member


@dataclass
class Pass:
    """One forward pass: what the layers read, and the penalty that they add up."""

    numbers: Mapping[str, Tensor]  # slot → (P,) float32
    noise: Noise | None  # None while evaluating
    penalty: Tensor = 0.0  # (P,)

    def penalize(self, slot: str, tensor: Tensor, scale: float = 1.0) -> None:
        """Adds `scale * (l1 * sum(|t|) + l2 * sum(t**2))` for the strengths the slot has."""
        axes = tuple(range(1, len(tensor.shape)))
        for name, size in (("l1", ops.abs), ("l2", ops.square)):
            strength = self.numbers.get(f"{slot}.{name}")
            if strength is not None:
                self.penalty += strength * ops.sum(size(tensor), axis=axes) * scale


@dataclass(frozen=True)
class LayerRule:
    """How the engine treats one class of Keras layer.

    `numbers(layer)`: its inputs by slot name. `forward(layer, slot, weights, x, pass)`: its
    output (P, rows, ...) for the layer's weights, each (P, ...).
    """

    numbers: Callable[[Any], dict[str, float]]
    forward: Callable[[Any, str, Sequence[Tensor], Tensor, Pass], Tensor]


def _strengths(place: str, regularizer: object) -> dict[str, float]:
    """The numbers of Keras's L1, L2 or L1L2."""
    if regularizer is None:
        return {}
    names = {keras.regularizers.L1: ["l1"], keras.regularizers.L2: ["l2"]}
    names[keras.regularizers.L1L2] = ["l1", "l2"]
    if type(regularizer) not in names:
        raise ValueError(
            f"{place}_regularizer: the engine knows L1, L2 and L1L2, but got {regularizer!r}"
        )
    found = names[type(regularizer)]
    return {f"{place}.{name}": float(getattr(regularizer, name)) for name in found}


def _dense_numbers(layer: keras.layers.Dense) -> dict[str, float]:
    if layer.kernel_constraint is not None or layer.bias_constraint is not None:
        raise ValueError(f"layer {layer.name}: the engine knows no constraints yet")
    return {
        **_strengths("kernel", layer.kernel_regularizer),
        **_strengths("bias", layer.bias_regularizer),
        **_strengths("activity", layer.activity_regularizer),
    }


def _dense(
    layer: keras.layers.Dense, slot: str, weights: Sequence[Tensor], x: Tensor, run: Pass
) -> Tensor:
    kernel = weights[0]
    run.penalize(f"{slot}.kernel", kernel)
    y = _product(x, kernel)
    if layer.use_bias:
        run.penalize(f"{slot}.bias", weights[1])
        y = y + ops.expand_dims(weights[1], 1)
    y = layer.activation(y)
    run.penalize(f"{slot}.activity", y, scale=1 / y.shape[1])
    return y


def _product(x: Tensor, kernel: Tensor) -> Tensor:
    """(P, rows, in) times (P, in, out)."""
    members, rows, width = x.shape
    units = kernel.shape[-1]
    if members == 1:  # the plain product is the one that oneDNN runs at the machine's peak
        # Reshaped, not indexed: the gradient of an index copies the whole kernel.
        plain = ops.matmul(ops.reshape(x, (rows, width)), ops.reshape(kernel, (width, units)))
        return ops.reshape(plain, (1, rows, units))
    if width <= 2:  # too thin for a product: multiply and add, fused with what follows
        terms = [x[:, :, i : i + 1] * kernel[:, i : i + 1, :] for i in range(width)]
        return terms[0] if width == 1 else terms[0] + terms[1]
    return ops.matmul(x, kernel)


def _flatten(
    layer: keras.layers.Flatten, slot: str, weights: Sequence[Tensor], x: Tensor, run: Pass
) -> Tensor:
    return ops.reshape(x, (*x.shape[:2], int(np.prod(x.shape[2:]))))


def _activation(
    layer: keras.layers.Activation, slot: str, weights: Sequence[Tensor], x: Tensor, run: Pass
) -> Tensor:
    y = layer.activation(x)
    run.penalize(f"{slot}.activity", y, scale=1 / y.shape[1])
    return y


def _dropout(
    layer: keras.layers.Dropout, slot: str, weights: Sequence[Tensor], x: Tensor, run: Pass
) -> Tensor:
    if run.noise is None:
        return x
    rate = run.numbers[f"{slot}.rate"]
    bits = run.noise.bits(int(slot), tuple(x.shape[1:]))
    threshold = ops.cast(rate * 2.0**32, "uint32")
    kept = ops.cast(bits >= per_member(threshold, bits), x.dtype)
    return x * (kept * per_member(1 / (1 - rate), x))


RULES: Mapping[type, LayerRule] = {
    keras.layers.Dense: LayerRule(_dense_numbers, _dense),
    keras.layers.Flatten: LayerRule(lambda layer: {}, _flatten),
    keras.layers.Activation: LayerRule(
        lambda layer: _strengths("activity", layer.activity_regularizer), _activation
    ),
    keras.layers.Dropout: LayerRule(lambda layer: {"rate": float(layer.rate)}, _dropout),
}

# What a layer's configuration says that is no part of its structure.
_NOT_STRUCTURE = {
    "name", "dtype", "trainable", "rate", "seed", "noise_shape", "quantization_config",
    "kernel_initializer", "bias_initializer", "kernel_constraint", "bias_constraint",
    "kernel_regularizer", "bias_regularizer", "activity_regularizer",
}  # fmt: skip


@dataclass(frozen=True)
class Population:
    """The structure that members share, made from any one of them.

    Args:
        model: a built Sequential of the layers in RULES. Raises ValueError for another.
        every_kernel: give each kernel strengths even where the model has no regularizer (they
            are 0 there), so that penalised and unpenalised models share one program.
    """

    model: keras.Sequential
    every_kernel: bool
    slots: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "slots", tuple(sorted(self._numbers(self.model))))

    @property
    def signature(self) -> str:
        """Equal for models that can be members of one population."""
        layers = [
            (type(layer).__name__, {k: v for k, v in config.items() if k not in _NOT_STRUCTURE})
            for layer in self.model.layers
            for config in [layer.get_config()]
        ]
        return json.dumps([self.model.input_shape, layers, self.slots], default=str)

    def numbers(self, model: keras.Sequential) -> np.ndarray:
        """(slots,) float32: a member's strengths and rates, in the order of `slots`."""
        found = self._numbers(model)
        return np.array([found[slot] for slot in self.slots], np.float32)

    def forward(
        self, weights: Sequence[Tensor], x: Tensor, numbers: Tensor, noise: Noise | None
    ) -> tuple[Tensor, Tensor]:
        """Outputs (P, rows, units) and penalties (P,).

        Args:
            weights: in the order of `model.weights`, each (P, ...).
            x: (P, rows, ...). numbers: (slots, P).
            noise: the step's noise while training, None while evaluating.
        """
        run = Pass({slot: numbers[i] for i, slot in enumerate(self.slots)}, noise)
        remaining = list(weights)
        for index, layer in enumerate(self.model.layers):
            own, remaining = remaining[: len(layer.weights)], remaining[len(layer.weights) :]
            x = RULES[type(layer)].forward(layer, str(index), own, x, run)
        return x, run.penalty + ops.zeros(x.shape[0])

    def _numbers(self, model: keras.Sequential) -> dict[str, float]:
        return dict(self._walk(model))

    def _walk(self, model: keras.Sequential) -> Iterator[tuple[str, float]]:
        for index, layer in enumerate(model.layers):
            rule = RULES.get(type(layer))
            if rule is None:
                known = ", ".join(kind.__name__ for kind in RULES)
                raise ValueError(
                    f"layer {layer.name}: the engine trains {known}, but got {type(layer).__name__}"
                )
            if self.every_kernel and isinstance(layer, keras.layers.Dense):
                yield from ((f"{index}.kernel.{name}", 0.0) for name in ("l1", "l2"))
            for name, value in rule.numbers(layer).items():
                yield f"{index}.{name}", value
