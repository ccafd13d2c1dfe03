"""The forward pass of P members of one Sequential architecture, with the population axis first.

A Keras model is taken apart into its structure, which decides the program, and its numbers
(penalties' strengths, dropout's rates), which are the program's inputs. Models that differ only
in numbers and weights are members of one population.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import keras
import numpy as np
from keras import ops

from pipeline.engine.backend import Tensor
from pipeline.engine.layers import RULES, LayerRule, Pass
from pipeline.engine.noise import Noise

# What a layer's configuration says that is no part of its structure.
_NOT_STRUCTURE = {
    "name", "dtype", "trainable", "rate", "stddev", "seed", "quantization_config",
    "activity_regularizer", "unit_forget_bias",
    *(f"{weight}_{what}" for weight in ("kernel", "recurrent", "bias")
      for what in ("initializer", "regularizer", "constraint")),
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
            rule, slot = RULES[type(layer)], str(index)
            own, remaining = remaining[: len(layer.weights)], remaining[len(layer.weights) :]
            for place, weight in zip(rule.weights, own, strict=False):  # the bias may be missing
                run.penalize(f"{slot}.{place}", weight)
            x = rule.forward(layer, slot, own, x, run)
            run.penalize(f"{slot}.activity", x, scale=1 / x.shape[1])
        return x, run.penalty + ops.zeros(x.shape[0])

    def _numbers(self, model: keras.Sequential) -> dict[str, float]:
        return dict(self._walk(model))

    def _walk(self, model: keras.Sequential) -> Iterator[tuple[str, float]]:
        """(slot, number) of every layer; raises ValueError for what the engine does not know."""
        for index, layer in enumerate(model.layers):
            rule = _rule(layer)
            if self.every_kernel and "kernel" in rule.weights:
                yield from ((f"{index}.kernel.{name}", 0.0) for name in ("l1", "l2"))
            for name in rule.numbers:
                yield f"{index}.{name}", float(getattr(layer, name))
            for place in (*rule.weights, "activity"):
                for name, strength in _strengths(layer, place):
                    yield f"{index}.{place}.{name}", strength


def _rule(layer: keras.Layer) -> LayerRule:
    """The layer's rule. Raises ValueError for a layer or option that the engine does not know."""
    rule = RULES.get(type(layer))
    if rule is None:
        known = ", ".join(kind.__name__ for kind in RULES)
        raise ValueError(
            f"layer {layer.name}: the engine trains {known}, but got {type(layer).__name__}"
        )
    config = layer.get_config() | {"dtype": layer.dtype_policy.name}
    only = {"trainable": True, "dtype": "float32", **rule.only}
    only |= {f"{place}_constraint": None for place in rule.weights}
    for name, value in only.items():
        if config.get(name, value) != value:
            raise ValueError(
                f"layer {layer.name}: the engine trains {type(layer).__name__} with {name}={value} "
                f"only, but got {name}={config[name]}"
            )
    return rule


def _strengths(layer: keras.Layer, place: str) -> Iterator[tuple[str, float]]:
    """The numbers of Keras's L1, L2 or L1L2 on a weight or on the activity."""
    regularizer = getattr(layer, f"{place}_regularizer")
    if regularizer is None:
        return
    names = {keras.regularizers.L1: ["l1"], keras.regularizers.L2: ["l2"]}
    names[keras.regularizers.L1L2] = ["l1", "l2"]
    if type(regularizer) not in names:
        raise ValueError(
            f"layer {layer.name}: {place}_regularizer: the engine knows L1, L2 and L1L2, "
            f"but got {regularizer!r}"
        )
    for name in names[type(regularizer)]:
        yield name, float(getattr(regularizer, name))
