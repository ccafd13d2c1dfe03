"""The forward pass of P members of one Sequential architecture, with the population axis first.

A Keras model is taken apart into its structure, which decides the program, and its hyperparameters
(penalties' strengths, dropout's rates), which are the program's inputs. Models that differ only in
hyperparameters and weights can be members of one population.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from pipeline.engine.backend import Tensor
from pipeline.engine.layers import RULES, LayerRule, Pass
from pipeline.engine.losses import Activation
from pipeline.engine.noise import Noise

Both = Literal["all", "penalised", "none"]

# Options in a layer's configuration that are no part of its structure.
_NOT_STRUCTURE = {
    "name", "dtype", "seed", "quantization_config",
    "rate", "stddev", "recurrent_dropout", "strength", "droprate",
    "activity_regularizer", "unit_forget_bias",
    *(f"{weight}_{option}" for weight in ("kernel", "recurrent", "bias", "gamma", "beta")
      for option in ("initializer", "regularizer", "constraint")),
}  # fmt: skip


@dataclass(frozen=True)
class Population:
    """The structure that members share, made from the model of any of them.

    Args:
        model: a built Sequential of the layers in RULES.
        both: the kernels that get both an L1 and an L2 strength, 0 where their regularizer lacks
            it. "all": penalised and unpenalised models share one program; "penalised": kernels with
            either, so that L1 and L2 share one program; or "none".
        activation: of the last layer, if the objective applies it together with its loss, since
            the logarithm of a probability rounded to 0 is not finite. None: the model applies its
            own.

    Raises ValueError for a layer or option without a rule, and for another last activation.
    """

    model: keras.Sequential
    both: Both
    activation: Activation | None = None
    slots: tuple[str, ...] = field(init=False)
    trained: tuple[int, ...] = field(init=False)  # indices in `model.weights` with a gradient
    bounded: Mapping[int, int] = field(init=False)  # index in `model.weights` → max_norm's slot

    def __post_init__(self) -> None:
        object.__setattr__(self, "slots", tuple(sorted(self._hyperparameters(self.model))))
        last = getattr(self.model.layers[-1], "activation", None)
        if self.activation not in (None, last):
            raise ValueError(
                f"layer {self.model.layers[-1].name}: expected the activation "
                f"{_name(self.activation)} in the last layer of `model`, but got {_name(last)}"
            )
        trained = {id(weight) for weight in self.model.trainable_weights}
        indices = [index for index, w in enumerate(self.model.weights) if id(w) in trained]
        object.__setattr__(self, "trained", tuple(indices))
        object.__setattr__(self, "bounded", dict(self._bounded()))

    @property
    def signature(self) -> str:
        """Equal for models that can be members of one population."""
        layers = [(type(layer).__name__, _structure(layer)) for layer in self.model.layers]
        return json.dumps([self.model.input_shape, layers, self.slots], default=str)

    def hyperparameters(self, model: keras.Sequential) -> np.ndarray:
        """(slots,) float32: a member's strengths and rates, in the order of `slots`."""
        values = self._hyperparameters(model)
        return np.array([values[slot] for slot in self.slots], np.float32)

    def forward(
        self, weights: Sequence[Tensor], x: Tensor, hyperparameters: Tensor, noise: Noise | None
    ) -> tuple[Tensor, Tensor, dict[int, Tensor]]:
        """Outputs (P, rows, units), penalties (P,), and the weights that the pass itself updates.

        Outputs are before `activation`, if it is given. The updated weights are moving statistics,
        which no optimizer trains: index in `model.weights` → new value.

        Args:
            weights: in the order of `model.weights`, each (P, ...).
            x: (P, rows, ...).
            hyperparameters: (slots, P).
            noise: the step's noise in training; None in evaluation.
        """
        linear = None if self.activation is None else self.model.layers[-1]
        by_slot = {slot: hyperparameters[i] for i, slot in enumerate(self.slots)}
        run = Pass(by_slot, noise, linear, one_sum=self.both != "none")
        remaining = list(weights)
        for index, layer in enumerate(self.model.layers):
            rule, slot = RULES[type(layer)], str(index)
            own, remaining = remaining[: len(layer.weights)], remaining[len(layer.weights) :]
            for name, weight in zip(rule.weights, own, strict=False):  # the bias may be missing
                run.penalize(f"{slot}.{name}", weight)
            x = rule.forward(layer, slot, own, x, run)
            output = self.activation(x) if self.activation and layer is linear else x
            run.penalize(f"{slot}.activity", output, scale=1 / x.shape[1])
        moved = {self._index(name): value for name, value in run.moved.items()}
        return x, run.penalty + ops.zeros(x.shape[0]), moved

    def _bounded(self) -> Iterator[tuple[int, int]]:
        for slot, name in enumerate(self.slots):
            if name.endswith(".max_norm"):
                yield self._index(name.removesuffix(".max_norm")), slot

    def _index(self, name: str) -> int:
        """The index in `model.weights` of a weight named "<layer's index>.<weight's name>"."""
        return [
            f"{index}.{weight.name}"
            for index, layer in enumerate(self.model.layers)
            for weight in layer.weights
        ].index(name)

    def _hyperparameters(self, model: keras.Sequential) -> dict[str, float]:
        return dict(self._walk(model))

    def _walk(self, model: keras.Sequential) -> Iterator[tuple[str, float]]:
        """(slot, value) of each layer's hyperparameters.

        Raises ValueError for a layer, option or regularizer that the engine does not know.
        """
        for index, layer in enumerate(model.layers):
            rule = _rule(layer)
            for name in rule.hyperparameters:
                yield f"{index}.{name}", float(getattr(layer, name))
            for name in rule.ranges:
                for end, value in zip(("low", "high"), _ends(getattr(layer, name)), strict=True):
                    yield f"{index}.{name}.{end}", value
            for name in rule.switches:
                if value := float(getattr(layer, name)):
                    yield f"{index}.{name}", value
            # As in Keras, frozen weights are neither penalised nor bounded.
            trained = rule.weights if layer.trainable else ()
            if "kernel" in trained and self._has_both(layer):
                yield from ((f"{index}.kernel.{name}", 0.0) for name in ("l1", "l2"))
            for tensor in (*trained, "activity"):
                for name, strength in _strengths(layer, tensor):
                    yield f"{index}.{tensor}.{name}", strength
            for weight in trained:
                for name, bound in _bounds(layer, weight):
                    yield f"{index}.{weight}.{name}", bound

    def _has_both(self, layer: keras.Layer) -> bool:
        own = {name for name, _ in _strengths(layer, "kernel")} & {"l1", "l2"}
        return self.both == "all" or (self.both == "penalised" and bool(own))


def _name(activation: Activation | None) -> str:
    return "none" if activation is None else activation.__name__


def _structure(layer: keras.Layer) -> dict[str, Any]:
    """A layer's configuration without the options in which members may differ."""
    own = _NOT_STRUCTURE | set(RULES[type(layer)].ranges)
    return {name: value for name, value in layer.get_config().items() if name not in own}


def _rule(layer: keras.Layer) -> LayerRule:
    """The layer's rule. Raises ValueError for a layer or option that the engine does not know."""
    rule = RULES.get(type(layer))
    if rule is None:
        known = ", ".join(kind.__name__ for kind in RULES)
        raise ValueError(
            f"layer {layer.name}: the engine trains {known}, but got {type(layer).__name__}"
        )
    config = layer.get_config() | {"dtype": layer.dtype_policy.name}
    only = {"dtype": "float32", **rule.only}
    for name, value in only.items():
        if config.get(name, value) != value:
            raise ValueError(
                f"layer {layer.name}: the engine trains {type(layer).__name__} with {name}={value} "
                f"only, but got {name}={config[name]}"
            )
    return rule


def _bounds(layer: keras.Layer, weight: str) -> Iterator[tuple[str, float]]:
    """The bound of Keras's MaxNorm on a unit's incoming weights; `weight`: such as "kernel"."""
    constraint = getattr(layer, f"{weight}_constraint")
    if constraint is None:
        return
    known = weight == "kernel" and type(constraint) is keras.constraints.MaxNorm
    if known:
        inputs = len(getattr(layer, "cell", layer).kernel.shape) - 1
        known = sorted(np.atleast_1d(constraint.axis)) == list(range(inputs))
    if not known:
        raise ValueError(
            f"layer {layer.name}: {weight}_constraint: the engine knows MaxNorm of a kernel over "
            f"all axes but the last, but got {constraint!r}"
        )
    yield "max_norm", float(constraint.max_value)


def _ends(value: float | Sequence[float]) -> tuple[float, float]:
    """The ends of a range as Keras's augmentation layers take it; a number: from minus to plus."""
    low, high = value if isinstance(value, Sequence) else (-value, value)
    return float(low), float(high)


def _strengths(layer: keras.Layer, tensor: str) -> Iterator[tuple[str, float]]:
    """The strengths of Keras's penalty on a weight or on the activity, by their names in SIZES."""
    regularizer = getattr(layer, f"{tensor}_regularizer")
    if regularizer is None:
        return
    kind = type(regularizer)
    columns = kind is keras.regularizers.OrthogonalRegularizer and regularizer.mode == "columns"
    if columns and tensor == "kernel":
        yield "orthogonal", float(regularizer.factor)
        return
    names = {keras.regularizers.L1: ["l1"], keras.regularizers.L2: ["l2"]}
    names[keras.regularizers.L1L2] = ["l1", "l2"]
    if kind not in names:
        raise ValueError(
            f"layer {layer.name}: {tensor}_regularizer: the engine knows L1, L2 and L1L2, and on "
            f"kernels OrthogonalRegularizer of columns, but got {regularizer!r}"
        )
    for name in names[kind]:
        yield name, float(getattr(regularizer, name))
