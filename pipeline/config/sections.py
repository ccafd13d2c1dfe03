"""params.yaml as frozen, typed sections; every bound stands beside its field."""

import math
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, GetCoreSchemaHandler, GetPydanticSchema
from pydantic.dataclasses import dataclass
from pydantic_core import CoreSchema

from pipeline.datasets.section import FROZEN, Count, Section
from pipeline.datasets.sources import SOURCES
from pipeline.datasets.task import RECONSTRUCTION, Task
from pipeline.errors import UserError, nearest
from pipeline.techniques.changes import (
    IMAGE_PARTS,
    KERNEL_STEPS,
    MOVES,
    Activation,
    Change,
    Orthogonal,
    Place,
)
from pipeline.techniques.registry import TECHNIQUES, Range, Technique, combination

Layers = Annotated[tuple[Count, ...], Field(min_length=1)]
Auto = Literal["auto"]


def _any_source(_: object, handler: GetCoreSchemaHandler) -> CoreSchema:
    """Lets `source` choose among the registered sections."""
    sections: Any = reduce(or_, (source.section for source in SOURCES.values()))
    return handler.generate_schema(Annotated[sections, Field(discriminator="source")])


Data = Annotated[Section, GetPydanticSchema(_any_source)]


def _named(kind: str, sizes: Sequence[int]) -> dict[str, int]:
    """Layers' names → their sizes."""
    return {f"{kind}_{place}": size for place, size in enumerate(sizes, start=1)}


@dataclass(frozen=True, config=FROZEN)
class Mlp:
    """Hidden dense layers."""

    activity_places: ClassVar[tuple[Place, ...]] = ("before", "after")
    own_activation: ClassVar[bool] = False
    own_task: ClassVar[Task | None] = None  # that of the data

    architecture: Literal["mlp"]
    hidden: Layers  # units of each
    activation: Activation = "relu"

    @property
    def hidden_layers(self) -> tuple[str, ...]:
        """The names of the layers that have a kernel, the output aside."""
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
    own_task: ClassVar[Task | None] = None  # that of the data

    architecture: Literal["cnn"]
    filters: Layers  # of each block
    kernel_size: Count = 3  # rows and columns
    pool: Count = 2  # rows and columns that become one
    hidden: tuple[Count, ...] = ()  # units of each
    activation: Activation = "relu"

    @property
    def hidden_layers(self) -> tuple[str, ...]:
        """The names of the layers that have a kernel, the output aside."""
        return (*_named("block", self.filters), *self.dense)

    @property
    def dense(self) -> Mapping[str, int]:
        """The hidden dense layers: name → units."""
        return _named("hidden", self.hidden)


@dataclass(frozen=True, config=FROZEN)
class Lstm:
    """LSTM layers that read an image row by row, then hidden dense layers."""

    # Its output is a product of two non-linearities, so there is nothing before them.
    activity_places: ClassVar[tuple[Place, ...]] = ("after",)
    own_activation: ClassVar[bool] = True
    own_task: ClassVar[Task | None] = None  # that of the data

    architecture: Literal["lstm"]
    units: Layers  # of each LSTM layer
    hidden: tuple[Count, ...] = ()  # units of each dense layer
    activation: Activation = "relu"  # of the dense layers

    @property
    def hidden_layers(self) -> tuple[str, ...]:
        """The names of the layers that have a kernel, the output aside."""
        return (*_named("lstm", self.units), *self.dense)

    @property
    def dense(self) -> Mapping[str, int]:
        """The hidden dense layers: name → units."""
        return _named("hidden", self.hidden)


@dataclass(frozen=True, config=FROZEN)
class Autoencoder:
    """Dense layers down to a code and back, which reproduce their input. Hinton et al. 2006."""

    activity_places: ClassVar[tuple[Place, ...]] = ("before", "after")
    own_activation: ClassVar[bool] = False
    own_task: ClassVar[Task | None] = RECONSTRUCTION

    architecture: Literal["autoencoder"]
    hidden: tuple[Count, ...]  # units of each layer before the code; mirrored after it
    code: Count  # units
    activation: Activation = "relu"  # of the code too, so that a code can be sparse

    @property
    def hidden_layers(self) -> tuple[str, ...]:
        """The names of the layers that have a kernel, the output aside."""
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

TAKE_IMAGES = ("cnn", "lstm")

# The architecture that every technique of a study starts from.
Model = Annotated[Mlp | Cnn | Lstm | Autoencoder, Field(discriminator="architecture")]


def misfit(change: Change, model: Model, images: bool = True) -> str | None:
    """Why a change does not fit an architecture on images or points, in words; None if it does."""
    if not images and (parts := [part for part in IMAGE_PARTS if part in change.parts()]):
        return f"needs images for {', '.join(parts)}, but the data are points"
    layers = model.hidden_layers
    for named, part in (((), change), *(change.at or ())):
        if unknown := set(named) - {"first", *layers}:
            word = min(unknown)
            return f"names the layer {word!r}, which there is not{nearest(word, layers)}"
        if problem := _misfit_of_kind(part, model):
            return problem
    try:
        for place, layer in enumerate(layers):
            if problem := _misfit_of_layer(change.on(layer, place), layer, model):
                return problem
        for step in KERNEL_STEPS:
            change.anywhere(step)
    except ValueError as error:
        return str(error)
    return None


def _misfit_of_kind(change: Change, model: Model) -> str | None:
    """Why the architecture has no place for a part, on whatever layers it is."""
    if change.activity and change.activity.place not in model.activity_places:
        return (
            f"needs an output {change.activity.place} the non-linearity, "
            f"but got {model.architecture!r}, which has none"
        )
    if change.gates and model.own_activation:
        return f"gates dense layers and convolutions, but got {model.architecture!r}"
    if change.activation and model.own_activation:
        return (
            "needs hidden layers of any non-linearity, "
            f"but got {model.architecture!r}, which has its own"
        )
    if change.spatial_dropout is not None and model.architecture != "cnn":
        return f"needs the feature maps of a 'cnn', but got {model.architecture!r}"
    if change.batch_norm and model.own_activation:
        return (
            "needs an output before the non-linearity of each hidden layer, "
            f"but got {model.architecture!r}, which has none"
        )
    own_task = model.own_task
    if own_task and not own_task.labels and (problem := _misfit_without_labels(change, model)):
        return problem
    if change.recurrent_dropout is not None and model.architecture != "lstm":
        return f"needs the steps of an 'lstm', but got {model.architecture!r}"
    count = len(model.hidden_layers)
    if isinstance(change.kernel, tuple) and len(change.kernel) != count:
        return f"needs {len(change.kernel)} hidden layers, but got {count}"
    return None


def _misfit_without_labels(change: Change, model: Model) -> str | None:
    """Why a part means nothing where the row itself, as the data have it, is the target."""
    got = f"but got {model.architecture!r}, which"
    if change.label_smoothing is not None or change.mixup is not None:
        return f"needs labels, {got} has none"
    if change.stopping and change.stopping.monitor == "val_accuracy":
        return f"needs a validation accuracy, {got} has none"
    if change.gates:
        return f"cuts units out of a classifier, {got} is none"
    if moved := [part for part in MOVES if getattr(change, part) is not None]:
        return f"moves images by {', '.join(moved)}, {got} must reproduce them where they were"
    return None


def _misfit_of_layer(own: Change, layer: str, model: Model) -> str | None:
    """Why what is on one hidden layer does not fit it."""
    if not isinstance(own.kernel, Orthogonal) or layer.startswith("lstm"):
        return None
    if layer not in model.dense:
        return f"needs kernels of two axes, but got a convolution in {layer!r}"
    if model.dense[layer] == 1:
        return f"needs two units or more in each layer, but got 1 in {layer!r}"
    return None


def fitting(model: Model, images: bool) -> list[str]:
    """The registered techniques that fit an architecture on images or points."""
    return [n for n, each in TECHNIQUES.items() if misfit(each.lowest, model, images) is None]


@dataclass(frozen=True, config=FROZEN)
class Training:
    """How the article trains; the tuned setting shares optimizer and batch size."""

    optimizer: Literal["adam", "sgd"]
    learning_rate: Annotated[float, Field(gt=0)]
    batch_size: Count
    epochs: Count


@dataclass(frozen=True, config=FROZEN)
class SearchRange:
    """A hyperparameter's range in params.yaml; see `techniques.Range`."""

    low: float
    high: float
    log: bool = False
    integer: bool = False

    def range(self) -> Range:
        """The same range as `techniques` knows it."""
        return Range(self.low, self.high, self.log, self.integer)


@dataclass(frozen=True, config=FROZEN)
class Pruning:
    """Successive halving within each round: Jamieson and Talwalkar 2016.

    After `first` epochs, then after `factor` times as many and so on, the best 1 / `factor` of a
    round's trials go on and the others are pruned.
    """

    first: Count
    factor: Annotated[int, Field(ge=2)] = 3

    def rungs(self, epochs: int) -> tuple[int, ...]:
        """The epochs after which trials are compared, the last one included."""
        found = []
        reached = self.first
        while reached < epochs:
            found.append(reached)
            reached *= self.factor
        return (*found, epochs)


@dataclass(frozen=True, config=FROZEN)
class Tuning:
    """The search for each technique's hyperparameters: the same budget for every technique."""

    trials: Count
    seeds: Count  # a trial's value is the mean over these paired seeds
    round: Count  # trials asked at a time; fixed, so that results do not depend on the machine
    epochs: Count  # of every trial, and of the final runs of the tuned setting
    learning_rate: SearchRange | None = None  # None holds it at the article's value
    pruning: Pruning | None = None  # None trains every trial to the last epoch

    @property
    def rungs(self) -> tuple[int, ...]:
        """The epochs after which trials are compared, the last one included."""
        return self.pruning.rungs(self.epochs) if self.pruning else (self.epochs,)


def random_trials(trials: int, round_size: int) -> int:
    """How many of a search's first trials are quasi-random: a third, at least one round."""
    return min(trials, max(round_size, math.ceil(trials / 3)))


@dataclass(frozen=True, config=FROZEN)
class Final:
    """The final runs of each setting."""

    seeds: Count


@dataclass(frozen=True, config=FROZEN)
class TechniqueParams:
    """A technique in a study: the article's values, if it has any, and ranges that differ."""

    article: Mapping[str, float] | None = None
    tuned: bool = True  # False: the article's setting alone, as a claim about it needs
    search: Mapping[str, SearchRange] = Field(default_factory=dict)
    # What it is made of, under a name of one's own: [l2, dropout], or [l1/first] for one layer.
    combine: tuple[str, ...] = ()


@dataclass(frozen=True, config=FROZEN)
class Study:
    """Everything that decides one study's results."""

    data: Data
    model: Model
    training: Training
    tuning: Tuning
    final: Final
    techniques: Mapping[str, TechniqueParams]

    @property
    def tuned(self) -> list[str]:
        """The techniques that are searched, and then trained with what was found."""
        return [name for name, given in self.techniques.items() if given.tuned]

    def technique(self, name: str) -> Technique:
        """A registered technique, or the combination that the study gives this name."""
        parts = self.techniques[name].combine
        return combination(parts) if parts else TECHNIQUES[name]

    def search(self, technique: str) -> dict[str, Range]:
        """What is searched for a technique: its own ranges, then the learning rate's."""
        own = dict(self.technique(technique).search)
        own |= {name: given.range() for name, given in self.techniques[technique].search.items()}
        if self.tuning.learning_rate is not None:
            own["learning_rate"] = self.tuning.learning_rate.range()
        return own


@dataclass(frozen=True, config=FROZEN)
class Engine:
    """Where and how members are trained. `workers` never changes a result."""

    workers: Count | Auto = "auto"  # processes; auto: one per core
    program: Literal["auto", "xla", "graph"] = "auto"
    population: Count | Auto = "auto"  # members in one XLA program
    deterministic: bool = True  # on a GPU: the same bits for the same seed; costs speed there


@dataclass(frozen=True, config=FROZEN)
class Tracking:
    """What MLflow shows of a run."""

    curve_points: Annotated[int, Field(ge=3)] = 50  # points of a learning curve
    system_metrics: bool = False  # the machine's load, every ten seconds, on the parent runs


@dataclass(frozen=True, config=FROZEN)
class Params:
    """The whole of params.yaml."""

    seed: Annotated[int, Field(ge=0)]
    studies: Annotated[Mapping[str, Study], Field(min_length=1)]  # by names of the user's own
    engine: Engine = Field(default_factory=Engine)
    tracking: Tracking = Field(default_factory=Tracking)

    def study(self, name: str) -> Study:
        """The study of this name. Raises UserError for one that params.yaml does not have."""
        if name not in self.studies:
            raise UserError(
                f"unknown study {name!r} in params.yaml:studies{nearest(name, self.studies)}"
            )
        return self.studies[name]
