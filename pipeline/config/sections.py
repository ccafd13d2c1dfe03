"""params.yaml as frozen, typed sections; every bound stands beside its field."""

import math
from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal

from pydantic import Field, GetCoreSchemaHandler, GetPydanticSchema
from pydantic.dataclasses import dataclass
from pydantic_core import CoreSchema

from pipeline.datasets.section import FROZEN, Count, Section
from pipeline.datasets.sources import SOURCES
from pipeline.errors import UserError, nearest
from pipeline.models.architectures import Model
from pipeline.techniques.ranges import Range
from pipeline.techniques.registry import TECHNIQUES, Technique, combination

Auto = Literal["auto"]


def _any_source(_: object, handler: GetCoreSchemaHandler) -> CoreSchema:
    """Lets `source` choose among the registered sections."""
    sections: Any = reduce(or_, (source.section for source in SOURCES.values()))
    return handler.generate_schema(Annotated[sections, Field(discriminator="source")])


Data = Annotated[Section, GetPydanticSchema(_any_source)]


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
