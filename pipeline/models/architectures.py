"""The architectures of params.yaml as values: their sizes, and the names of their layers.

`building` makes the layers. Nothing here imports Keras.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from pipeline.datasets.section import FROZEN, Count
from pipeline.datasets.task import RECONSTRUCTION, Task
from pipeline.techniques.part import NonLinearity, Place

Layers = Annotated[tuple[Count, ...], Field(min_length=1)]


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
    kernel_size: Count = 3  # rows and columns
    pool: Count = 2  # rows and columns that are pooled into one
    hidden: tuple[Count, ...] = ()  # units per dense layer
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
    hidden: tuple[Count, ...] = ()  # units per dense layer
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
    hidden: tuple[Count, ...]  # units per layer before the code; mirrored after it
    code: Count  # units
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
