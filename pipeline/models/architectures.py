"""The architectures of params.yaml as values: their sizes, and the names of their layers.

`building` makes the layers. Nothing here imports Keras.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from pipeline.datasets.section import FROZEN, at_most
from pipeline.datasets.task import RECONSTRUCTION, Task
from pipeline.techniques.part import NonLinearity, Place

Units = Annotated[int, Field(ge=1), at_most(2**16, "since layers of more units fit no memory")]
Layers = Annotated[tuple[Units, ...], Field(min_length=1, max_length=100)]
More = Annotated[tuple[Units, ...], Field(max_length=100)]  # layers that may be left out
MOST_WEIGHTS = 2**28


def _named(kind: str, sizes: Sequence[int]) -> dict[str, int]:
    """Layers' names → their sizes."""
    return {f"{kind}_{number}": size for number, size in enumerate(sizes, start=1)}


@dataclass(frozen=True, config=FROZEN)
class Mlp:
    """Hidden dense layers."""

    activity_places: ClassVar[tuple[Place, ...]] = ("before", "after")
    own_activation: ClassVar[bool] = False
    images: ClassVar[bool] = False  # whether it takes images only
    own_task: ClassVar[Task | None] = None  # the task of the data

    architecture: Literal["mlp"]
    hidden: Layers  # units per layer
    activation: NonLinearity = "relu"

    @property
    def hidden_layers(self) -> tuple[str, ...]:
        """The names of the layers with a kernel, except the output."""
        return tuple(self.dense)

    @property
    def dense(self) -> Mapping[str, int]:
        """The hidden dense layers: name → units."""
        return _named("hidden", self.hidden)


@dataclass(frozen=True, config=FROZEN)
class Cnn:
    """Blocks of a convolution and max pooling, then hidden dense layers. Takes images."""

    activity_places: ClassVar[tuple[Place, ...]] = ("before", "after")
    own_activation: ClassVar[bool] = False
    images: ClassVar[bool] = True  # whether it takes images only
    own_task: ClassVar[Task | None] = None  # the task of the data

    architecture: Literal["cnn"]
    filters: Layers  # per block
    kernel_size: Units = 3  # rows and columns
    pool: Units = 2  # rows and columns that are pooled into one
    hidden: More = ()  # units per dense layer
    activation: NonLinearity = "relu"

    @property
    def hidden_layers(self) -> tuple[str, ...]:
        """The names of the layers with a kernel, except the output."""
        return (*_named("block", self.filters), *self.dense)

    @property
    def dense(self) -> Mapping[str, int]:
        """The hidden dense layers: name → units."""
        return _named("hidden", self.hidden)


@dataclass(frozen=True, config=FROZEN)
class Lstm:
    """LSTM layers that read an image row by row, then hidden dense layers."""

    # Its output is a product of two non-linearities, so it has no output before them.
    activity_places: ClassVar[tuple[Place, ...]] = ("after",)
    own_activation: ClassVar[bool] = True
    images: ClassVar[bool] = True  # whether it takes images only
    own_task: ClassVar[Task | None] = None  # the task of the data

    architecture: Literal["lstm"]
    units: Layers  # per LSTM layer
    hidden: More = ()  # units per dense layer
    activation: NonLinearity = "relu"  # of the dense layers

    @property
    def hidden_layers(self) -> tuple[str, ...]:
        """The names of the layers with a kernel, except the output."""
        return (*_named("lstm", self.units), *self.dense)

    @property
    def dense(self) -> Mapping[str, int]:
        """The hidden dense layers: name → units."""
        return _named("hidden", self.hidden)


@dataclass(frozen=True, config=FROZEN)
class Autoencoder:
    """Dense layers down to a code and back up, which reproduce the input. Hinton et al. 2006."""

    activity_places: ClassVar[tuple[Place, ...]] = ("before", "after")
    own_activation: ClassVar[bool] = False
    images: ClassVar[bool] = False  # whether it takes images only
    own_task: ClassVar[Task | None] = RECONSTRUCTION

    architecture: Literal["autoencoder"]
    hidden: More  # units per layer before the code; mirrored after it
    code: Units  # units
    activation: NonLinearity = "relu"  # of the code too, so that a code can be sparse

    @property
    def hidden_layers(self) -> tuple[str, ...]:
        """The names of the layers with a kernel, except the output."""
        return tuple(self.dense)

    @property
    def dense(self) -> Mapping[str, int]:
        """The hidden dense layers: name → units."""
        decoder = _named("decoder", self.hidden[::-1])
        return {**_named("encoder", self.hidden), "code": self.code, **decoder}


MODELS: Mapping[str, type[Mlp | Cnn | Lstm | Autoencoder]] = {
    "mlp": Mlp,
    "cnn": Cnn,
    "lstm": Lstm,
    "autoencoder": Autoencoder,
}

# The architecture that every technique of a study starts from.
Model = Annotated[Mlp | Cnn | Lstm | Autoencoder, Field(discriminator="architecture")]


def size_problem(model: Model, shape: tuple[int, ...] | None) -> str | None:
    """Why an architecture is too large for its examples, or for any memory; None if it is not.

    `shape`: of one example, such as (28, 28); None if it is not known yet. The weights of the
    output layer are left out.
    """
    if isinstance(model, Cnn) and shape is not None:
        side = min(shape[:2])
        for key, size in (("kernel_size", model.kernel_size), ("pool", model.pool)):
            if size > side:
                return f"model.{key}: must be at most {side}, the images' side, but got {size}"
    weights = _weights(model, shape or (1,))
    if weights <= MOST_WEIGHTS:
        return None
    return (
        f"model: must have at most {MOST_WEIGHTS:,} weights, which with gradients and an "
        f"optimizer's moments take {MOST_WEIGHTS * 16 / 2**30:.0f} GiB, but got {weights:,}"
    )


def _weights(model: Model, shape: tuple[int, ...]) -> int:
    """The weights of the kernels of hidden layers."""
    inputs, count = prod(shape), 0
    if isinstance(model, Cnn):
        channels = shape[2] if len(shape) > 2 else 1
        sides = [*shape[:2]]
        for filters in model.filters:
            count += model.kernel_size**2 * channels * filters
            channels, sides = filters, [-(-side // model.pool) for side in sides]
        inputs = prod(sides) * channels
    elif isinstance(model, Lstm):
        inputs = shape[-1]
        for units in model.units:
            count += 4 * units * (inputs + units)
            inputs = units
    for units in model.dense.values():
        count += inputs * units
        inputs = units
    return count + (inputs * prod(shape) if isinstance(model, Autoencoder) else 0)
