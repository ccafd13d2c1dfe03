"""params.yaml as frozen, typed sections; every field has its bounds beside it."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, GetCoreSchemaHandler, GetPydanticSchema
from pydantic.dataclasses import dataclass
from pydantic_core import CoreSchema

from pipeline.datasets.section import FROZEN, Draws, Rows, Section, at_most
from pipeline.datasets.sources import SOURCES
from pipeline.errors import UserError, nearest, shown
from pipeline.models.architectures import Model, More
from pipeline.techniques.ranges import Range
from pipeline.techniques.registry import TECHNIQUES, Technique, combination

Auto = Literal["auto"]
LEAST_RATE, MOST_RATE = 1e-12, 1e3  # beyond them float32 weights stay as they are, or overflow
Rate = Annotated[
    float, Field(gt=0, ge=LEAST_RATE), at_most(MOST_RATE, "above which weights overflow")
]
MOST_EPOCHS = 10**6
Epochs = Annotated[int, Field(ge=1), at_most(MOST_EPOCHS, "since curves keep a value for each")]
Trials = Annotated[int, Field(ge=1), at_most(10**5, "since each is a training")]
Workers = Annotated[int, Field(ge=1), at_most(1024, "since each is a process")]
Members = Annotated[int, Field(ge=1), at_most(10**4, "since a program holds all their weights")]
# What an article may have of its own for a technique:
OF_TRAINING = ("learning_rate", "momentum", "epochs")


def _address(text: str) -> str:
    """The text, if it can be a cluster's address. Raises ValueError otherwise."""
    if text != "auto" and not re.fullmatch(r"([\w.-]+|\[[\da-fA-F:.]+\]):\d{1,5}", text):
        raise ValueError(f"expected host:port or auto, but got {shown(text)}")
    return text


Executors = Literal["local", "ray"]
Address = Annotated[str, AfterValidator(_address)]


def _any_source(_: object, handler: GetCoreSchemaHandler) -> CoreSchema:
    """The schema of a union of all sources' sections, which `source` discriminates."""
    sections: Any = reduce(or_, (source.section for source in SOURCES.values()))
    return handler.generate_schema(Annotated[sections, Field(discriminator="source")])


Data = Annotated[Section, GetPydanticSchema(_any_source)]


@dataclass(frozen=True, config=FROZEN)
class Training:
    """Training in the article setting; the tuned setting shares optimizer and batch size."""

    optimizer: Literal["adam", "sgd"]
    learning_rate: Rate
    batch_size: Rows
    epochs: Epochs
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0  # of sgd, as Keras's; 0: none
    # Balanced: errors on a class with few training examples cost more, so that all classes count
    # the same in the loss that is trained on.
    class_weight: Literal["balanced"] | None = None


@dataclass(frozen=True, config=FROZEN)
class SearchRange:
    """A hyperparameter's range in params.yaml; see `techniques.ranges.Range`."""

    low: float
    high: float
    log: bool = False
    integer: bool = False

    def range(self) -> Range:
        """The same range as a value of `techniques`. Raises ValueError for an invalid one."""
        return Range(self.low, self.high, self.log, self.integer)


@dataclass(frozen=True, config=FROZEN)
class Pruning:
    """Successive halving within each round. Jamieson and Talwalkar 2016.

    After `first` epochs, then after `factor` times as many, and so on, the best 1 / `factor` of a
    round's trials continue, and the others are pruned.
    """

    first: Epochs
    factor: Annotated[int, Field(ge=2), at_most(1000, "since one in so many goes on")] = 3

    def rungs(self, epochs: int) -> tuple[int, ...]:
        """The epochs after which trials are compared, including the last one.

        >>> Pruning(first=10, factor=3).rungs(200)
        (10, 30, 90, 200)
        """
        rungs = []
        reached = self.first
        while reached < epochs:
            rungs.append(reached)
            reached *= self.factor
        return (*rungs, epochs)


@dataclass(frozen=True, config=FROZEN)
class Heat:
    """One round of a race: the best candidates so far go on to more draws."""

    candidates: Trials
    draws: Draws  # of each candidate, those of earlier rounds included


@dataclass(frozen=True, config=FROZEN)
class Tuning:
    """The search for hyperparameters, with the same budget for every technique."""

    trials: Trials
    seeds: Draws  # a trial's score is the mean over these paired seeds, each with its own draw
    round: Trials  # trials proposed at a time; fixed, so that results do not depend on the machine
    epochs: Epochs  # of every trial, and of the final runs of the tuned setting
    learning_rate: SearchRange | None = None  # None: fixed at the article's value
    pruning: Pruning | None = None  # None: every trial is trained to the last epoch
    race: Annotated[
        tuple[Heat, ...], Field(max_length=20)
    ] = ()  # after all trials, so that the choice is no lottery

    @property
    def heats(self) -> tuple[Heat, ...]:
        """All rounds of the race; in the first one are all trials, on `seeds` draws."""
        return (Heat(self.trials, self.seeds), *self.race)

    @property
    def draws(self) -> int:
        """The most draws that a candidate is trained on."""
        return self.heats[-1].draws

    @property
    def rungs(self) -> tuple[int, ...]:
        """The epochs after which trials are compared, including the last one."""
        return self.pruning.rungs(self.epochs) if self.pruning else (self.epochs,)


def random_trials(trials: int, round_size: int) -> int:
    """The number of a search's first trials that are quasi-random: a third, at least one round.

    >>> random_trials(trials=48, round_size=8), random_trials(trials=12, round_size=8)
    (16, 8)
    """
    return min(trials, max(round_size, math.ceil(trials / 3)))


@dataclass(frozen=True, config=FROZEN)
class Vary:
    """What a study is repeated at, searches included: training rows, or units of hidden layers."""

    rows: Annotated[
        tuple[Rows, ...], Field(max_length=100)
    ] = ()  # the first so many training examples of a draw or split
    width: More = ()  # units of every hidden layer

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes of the one that is varied."""
        return self.rows or self.width

    @property
    def what(self) -> str:
        """What is varied: rows or width."""
        return "rows" if self.rows else "width"

    def setting(self, size: int) -> str:
        """The name of the final runs of one size, such as rows_50."""
        return f"{self.what}_{size}"


@dataclass(frozen=True, config=FROZEN)
class Final:
    """The final runs of each setting.

    A replicate is a draw or a split of the data, or, where there is one split, a seed. With
    `searches` every chosen setting is trained on every replicate; without it each replicate has a
    search of its own, on its own training and validation examples.
    """

    replicates: Draws
    searches: Draws | None = None  # None: one for each replicate
    seeds: Draws = 1  # on each replicate
    article_seeds: Draws | None = None  # replicates of the article's settings; None: as many
    vary: Vary | None = None  # None: the data and the model as they are

    @property
    def article(self) -> int:
        """The number of replicates of the article's settings."""
        return self.article_seeds or self.replicates

    @property
    def crossed(self) -> bool:
        """Whether every chosen setting is trained on every replicate."""
        return self.searches is not None

    @property
    def turns(self) -> range:
        """The indices of the searches of one technique."""
        return range(self.searches or self.replicates)


@dataclass(frozen=True, config=FROZEN)
class FinalOverride:
    """Other numbers of final runs for one technique; pairs are what it shares with `none`."""

    replicates: Draws | None = None
    searches: Draws | None = None
    seeds: Draws | None = None
    article_seeds: Draws | None = None


@dataclass(frozen=True, config=FROZEN)
class TechniqueParams:
    """A technique in a study: the article's values, if any, and ranges other than the defaults."""

    # The article's values: the technique's hyperparameters, and those of OF_TRAINING that are not
    # the study's.
    article: Mapping[str, float] | None = None
    tuned: bool = True  # False: the article setting only, if only a claim needs it
    search: Mapping[str, SearchRange] = Field(default_factory=dict)
    values_of: str | None = None  # no search of its own: the values chosen for this technique
    final: FinalOverride = Field(default_factory=FinalOverride)
    # The parts of a combination with a name of its own: [l2, dropout], or [l1/first] for one layer.
    combine: Annotated[tuple[str, ...], Field(max_length=20)] = ()


@dataclass(frozen=True, config=FROZEN)
class Study:
    """Everything that determines one study's results."""

    data: Data
    model: Model
    training: Training
    tuning: Tuning
    final: Final
    techniques: Mapping[str, TechniqueParams]
    # Compared beside the score, as one family of its own; columns of runs.csv.
    outcomes: tuple[str, ...] = ()

    @property
    def tuned(self) -> list[str]:
        """The techniques that are trained with tuned values."""
        return [name for name, technique in self.techniques.items() if technique.tuned]

    @property
    def searched(self) -> list[str]:
        """The techniques that have searches of their own."""
        return [name for name in self.tuned if self.techniques[name].values_of is None]

    def is_reference(self, technique: str, setting: str) -> bool:
        """Whether a technique is compared beside the others, since it is not given what they are.

        It has the values of another one's search, or the article setting another number of epochs.
        """
        params = self.techniques[technique]
        epochs = (params.article or {}).get("epochs", self.training.epochs)
        longer = setting == "article" and epochs != self.training.epochs
        return longer or params.values_of is not None

    def at(self, size: int) -> "Study":
        """The study at one size of what it varies; the rows are counted by its runs."""
        if self.final.vary is None or not self.final.vary.width:
            return self
        hidden = (size,) * len(self.model.hidden)
        return replace(self, model=replace(self.model, hidden=hidden))

    def final_of(self, technique: str) -> Final:
        """The numbers of a technique's final runs."""
        own = asdict(self.techniques[technique].final)
        return replace(self.final, **{key: value for key, value in own.items() if value})

    @property
    def replicates(self) -> int:
        """The most replicates that a technique has in any setting."""
        own = map(self.final_of, self.techniques)
        return max((max(each.replicates, each.article) for each in own), default=0)

    def technique(self, name: str) -> Technique:
        """The registered technique or the study's combination of this name."""
        parts = self.techniques[name].combine
        return combination(parts) if parts else TECHNIQUES[name]

    def search(self, technique: str) -> dict[str, Range]:
        """The search ranges of a technique, and that of the learning rate if it is tuned."""
        ranges = dict(self.technique(technique).search)
        ranges |= {
            name: search_range.range()
            for name, search_range in self.techniques[technique].search.items()
        }
        if self.tuning.learning_rate is not None:
            ranges["learning_rate"] = self.tuning.learning_rate.range()
        return ranges


@dataclass(frozen=True, config=FROZEN)
class Engine:
    """Where and how members are trained. `workers`, `executor` and `address` change no result."""

    workers: Workers | Auto = "auto"  # processes; auto: one per core
    executor: Executors = "local"  # local: this machine's processes; ray: those of a Ray cluster
    # Of the cluster: host:port, or auto for one that runs on this machine; None: one of this
    # machine alone, for as long as a stage lasts.
    address: Address | None = None
    program: Literal["auto", "xla", "graph"] = "auto"
    population: Members | Auto = "auto"  # members in one XLA program
    deterministic: bool = True  # on a GPU: the same bits for the same seed, but slower
    # Of a GPU, which one worker has; with executor: ray alone.
    gpu_share: Annotated[float, Field(gt=0, le=1)] = 1.0

    def __post_init__(self) -> None:
        for name, unset in (("address", None), ("gpu_share", 1.0)):
            if self.executor != "ray" and (given := getattr(self, name)) != unset:
                raise ValueError(f"{name}: needs executor: ray, but got {name}: {given!r} alone")


@dataclass(frozen=True, config=FROZEN)
class Tracking:
    """What MLflow shows of a run."""

    curve_points: Annotated[int, Field(ge=3), at_most(10**4, "since MLflow keeps each")] = (
        50  # points of a learning curve
    )
    system_metrics: bool = False  # the machine's load, every ten seconds, on the parent runs


@dataclass(frozen=True, config=FROZEN)
class Params:
    """The whole of params.yaml."""

    seed: Annotated[int, Field(ge=0), at_most(2**32 - 1, "as NumPy's seeds")]
    studies: Annotated[Mapping[str, Study], Field(min_length=1)]  # by names that the user chooses
    engine: Engine = Field(default_factory=Engine)
    tracking: Tracking = Field(default_factory=Tracking)

    def study(self, name: str) -> Study:
        """The study of this name. Raises UserError if params.yaml does not have it."""
        if name not in self.studies:
            raise UserError(
                f"unknown study {name!r} in params.yaml:studies{nearest(name, self.studies)}"
            )
        return self.studies[name]
