"""A stack of Keras layers that the parts of a change enter: layers are cloned, not changed.

`Stack` and `HiddenLayer` implement the protocols `Network` and `HiddenLayer` of `techniques.part`.
They know Keras's classes; the parts of a technique say which ones it needs.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import keras
import numpy as np

from pipeline.engine.gates import HardConcrete
from pipeline.techniques.changes import Change
from pipeline.techniques.part import NonLinearity, Place

WHITENING = "whitening"  # the layer's name
HIDDEN = (keras.layers.Dense, keras.layers.Conv2D, keras.layers.LSTM)
# Layers that belong to the hidden layer before them. What a part adds comes after these.
BELONGS = (
    keras.layers.Activation,
    keras.layers.BatchNormalization,
    keras.layers.MaxPooling2D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.Dropout,
    keras.layers.SpatialDropout2D,
    keras.layers.GaussianNoise,
    keras.layers.GaussianDropout,
    keras.layers.AlphaDropout,
)
# The initial probability that a gate of an input, or of a unit, is closed: as in the L0 article's
# code.
FIRST_DROPRATE, DROPRATE = 0.2, 0.5


def cloned(layer: keras.Layer) -> keras.Layer:
    """A copy of the layer, without its weights."""
    return type(layer).from_config(layer.get_config())


class HiddenLayer:
    """A layer with a kernel, and what belongs to it; see `techniques.part.HiddenLayer`."""

    def __init__(self, layer: keras.Layer, index: int, following: Sequence[keras.Layer]) -> None:
        self.name, self.index = layer.name, index
        self._class, self._options = type(layer), layer.get_config()
        self._between: list[keras.Layer] = []  # the layer and a separate non-linearity
        self._apart: dict[str, Any] | None = None  # the options of that non-linearity
        self._following = [cloned(follower) for follower in following]
        self._own_activation = isinstance(layer, keras.layers.LSTM)
        if not self._own_activation and layer.activation is keras.activations.linear:
            self._find_activation()

    def _find_activation(self) -> None:
        """The non-linearity of a linear layer is the first activation layer after it."""
        kinds = [type(layer) for layer in self._following]
        if keras.layers.Activation in kinds:
            index = kinds.index(keras.layers.Activation)
            self._between = self._following[:index]
            self._apart = self._following[index].get_config()
            self._following = self._following[index + 1 :]

    @property
    def kind(self) -> str:
        """The class's name."""
        return self._class.__name__

    def regularize(self, weights: Literal["kernel", "bias"], kind: str, **options: Any) -> None:
        """Puts a penalty on the kernel or the bias."""
        self._options[f"{weights}_regularizer"] = _regularizer(kind, options)

    def regularize_output(self, place: Place, kind: str, **options: Any) -> None:
        """Puts a penalty on the layer's output, after its non-linearity or before it.

        Raises ValueError if the layer has no output before the non-linearity.
        """
        if place == "before":
            self._stand_apart()
        holder = self._options if place == "before" or self._apart is None else self._apart
        holder["activity_regularizer"] = _regularizer(kind, options)

    def bound_norms(self, bound: float) -> None:
        """Bounds norms over all axes of the kernel but the last, that of the units."""
        axis = [0, 1, 2] if self._class is keras.layers.Conv2D else 0
        self._options["kernel_constraint"] = keras.constraints.MaxNorm(bound, axis)

    def activate(self, activation: NonLinearity) -> None:
        """Replaces the non-linearity, and the initializer that it needs."""
        self._check_activation()
        self._options["kernel_initializer"] = initializer(activation)
        if self._apart is None:
            self._options["activation"] = activation
        else:
            self._apart |= {"activation": activation, "name": f"{self.name}_{activation}"}

    def normalize(self, **options: Any) -> None:
        """Adds batch normalization, after any penalty on the output before the non-linearity."""
        self._stand_apart()
        self._options["use_bias"] = False
        norm = keras.layers.BatchNormalization(name=f"{self.name}_norm", **options)
        self._between.append(norm)

    def set(self, **options: Any) -> None:
        """Replaces options of the layer."""
        self._options |= options

    def after(self, kind: str, suffix: str, **options: Any) -> None:
        """Adds a layer after those that belong to this one."""
        layer = getattr(keras.layers, kind)(name=f"{self.name}_{suffix}", **options)
        self._following.append(layer)

    def layers(self) -> Iterator[keras.Layer]:
        """The layer and those that belong to it."""
        yield self._class.from_config(self._options)
        yield from self._between
        if self._apart is not None:
            yield keras.layers.Activation.from_config(self._apart)
        yield from self._following

    def _stand_apart(self) -> None:
        """Makes the non-linearity a separate layer, which takes over the penalty on the output."""
        self._check_activation()
        if self._apart is None:
            activation = self._options["activation"]
            self._apart = {
                "activation": activation,
                "activity_regularizer": self._options.pop("activity_regularizer", None),
                "name": f"{self.name}_{activation}",
            }
            self._options["activation"] = "linear"

    def _check_activation(self) -> None:
        if self._own_activation:
            raise ValueError(f"layer {self.name}: the non-linearities of an LSTM cannot be changed")


class Stack:
    """The layers of a Sequential model, taken apart; see `techniques.part.Network`.

    `rows`: the number of training examples, by which the gates' penalty is divided.
    """

    def __init__(
        self, layers: Sequence[keras.Layer], input_shape: tuple[int, ...], rows: int
    ) -> None:
        self._input_shape, self._rows = input_shape, rows
        self._augmentation: list[keras.Layer] = []
        self._whitening: list[keras.Layer] = []
        self._disturbance: list[keras.Layer] = []
        self._gates: float | None = None  # their strength
        self._parts = list(_parted(layers))

    def take(self, change: Change) -> None:
        """Applies each part of the change."""
        for part in change.own:
            part.on_network(self)
        for layer in self._parts:
            if isinstance(layer, HiddenLayer):
                for part in change.on(layer.name, layer.index).own:
                    part.on_layer(layer)

    def augment(self, kind: str, name: str, **options: Any) -> None:
        """Adds a layer before all others."""
        self._augmentation.append(getattr(keras.layers, kind)(name=name, **options))

    def whiten(self) -> None:
        """Adds a frozen linear layer over all features, so that the model takes raw examples."""
        shape = self._input_shape
        whitening = keras.layers.Dense(int(np.prod(shape)), trainable=False, name=WHITENING)
        self._whitening = [whitening]
        if len(shape) > 1:
            features = keras.layers.Flatten(name="features")
            self._whitening = [
                features,
                whitening,
                keras.layers.Reshape(shape, name="whitened"),
            ]

    def disturb(self, kind: str, name: str, **options: Any) -> None:
        """Adds a layer after whitening."""
        self._disturbance.append(getattr(keras.layers, kind)(name=name, **options))

    def regularize_output_layer(self, kind: str, **options: Any) -> None:
        """Puts a penalty on the kernel of the last dense layer."""
        output = [layer for layer in self._parts if isinstance(layer, keras.layers.Dense)][-1]
        changed = output.get_config() | {"kernel_regularizer": _regularizer(kind, options)}
        self._parts[self._parts.index(output)] = type(output).from_config(changed)

    def gate(self, strength: float) -> None:
        """Puts gates before dense layers and after convolutions, except whitening."""
        self._gates = strength / self._rows

    def layers(self) -> list[keras.Layer]:
        """All layers, in order."""
        stack = [*self._disturbance, *self._own_layers()]
        if self._gates is not None:
            stack = list(_gated(stack, self._gates, self._input_shape))
        return [*self._on_images(), *self._whitening, *stack]

    def _own_layers(self) -> Iterator[keras.Layer]:
        for part in self._parts:
            if isinstance(part, HiddenLayer):
                yield from part.layers()
            else:
                yield part

    def _on_images(self) -> list[keras.Layer]:
        """Augmentation, with the axis of channels that it needs."""
        shape, layers = self._input_shape, self._augmentation
        if not layers or len(shape) != 2:
            return layers
        to_image = keras.layers.Reshape((*shape, 1), name="image")
        return [to_image, *layers, keras.layers.Reshape(shape, name="rows")]


def initializer(activation: str) -> str:
    """Of a kernel: SELU keeps mean and variance only with weights of variance 1 / fan-in."""
    return "lecun_normal" if activation == "selu" else "glorot_uniform"


def below_output(layers: Sequence[keras.Layer]) -> list[keras.Layer]:
    """The layers before the output, which is the last dense layer and what comes after it."""
    dense = [index for index, layer in enumerate(layers) if isinstance(layer, keras.layers.Dense)]
    return list(layers[: dense[-1]])


def hidden_layers(layers: Sequence[keras.Layer]) -> list[keras.Layer]:
    """The layers with a kernel, except the output and frozen layers."""
    kernels = [layer for layer in below_output(layers) if isinstance(layer, HIDDEN)]
    return [layer for layer in kernels if layer.trainable]


def _parted(layers: Sequence[keras.Layer]) -> Iterator[HiddenLayer | keras.Layer]:
    """Each hidden layer with those that belong to it; clones of the other layers."""
    hidden = [id(layer) for layer in hidden_layers(layers)]
    remaining = list(layers)
    while remaining:
        layer = remaining.pop(0)
        if id(layer) not in hidden:
            yield cloned(layer)
            continue
        following = []
        while isinstance(remaining[0], BELONGS):
            following.append(remaining.pop(0))
        yield HiddenLayer(layer, hidden.index(id(layer)), following)


def _gated(
    layers: Sequence[keras.Layer], strength: float, input_shape: tuple[int, ...]
) -> Iterator[keras.Layer]:
    """The layers with gates on every dense layer's inputs and on every convolution's maps.

    A gate on an input switches its outgoing weights, a gate on a map switches the map's filter.
    """
    maps, filter_weights, droprate = "", 0, FIRST_DROPRATE
    channels = input_shape[2] if len(input_shape) == 3 else 1
    for layer in layers:
        if maps and isinstance(layer, (keras.layers.Conv2D, keras.layers.Flatten)):
            yield HardConcrete(strength * filter_weights, DROPRATE, name=f"{maps}_gates")
            maps = ""
        if isinstance(layer, keras.layers.Conv2D):
            if layer.trainable:
                maps, droprate = layer.name, DROPRATE
                filter_weights = channels * int(np.prod(layer.kernel_size))
            channels = layer.filters
        elif isinstance(layer, keras.layers.Dense) and layer.trainable:
            yield HardConcrete(strength * layer.units, droprate, name=f"{layer.name}_gates")
            droprate = DROPRATE
        yield layer


def _regularizer(kind: str, options: dict[str, Any]) -> keras.Regularizer:
    return getattr(keras.regularizers, kind)(**options)
