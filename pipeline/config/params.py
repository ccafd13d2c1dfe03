"""params.yaml as frozen, typed sections. The only reader of that file.

Unknown keys are refused with the nearest known name; every bound stands beside its field.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from pipeline.datasets.task import CLASSIFICATION, RECONSTRUCTION, Objective
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

FILE = "params.yaml"
FROZEN = ConfigDict(extra="forbid")
Count = Annotated[int, Field(ge=1)]
Layers = Annotated[tuple[Count, ...], Field(min_length=1)]
Auto = Literal["auto"]
T = TypeVar("T")


@dataclass(frozen=True, config=FROZEN)
class CirclesData:
    """Two noisy circles, one inside the other. Counts are points per draw."""

    images: ClassVar[bool] = False

    noise: Annotated[float, Field(ge=0)] = 0.1  # standard deviation, in radii of the outer circle
    train: Annotated[int, Field(ge=2)] = 30
    validation: Annotated[int, Field(ge=2)] = 70
    test: Annotated[int, Field(ge=2)] = 10_000
    draws: Count = 64  # independent draws; tuning and final seeds never share one


@dataclass(frozen=True, config=FROZEN)
class DigitsData:
    """scikit-learn's 1,797 digits of 8 x 8 pixels; the rest of the rows train."""

    images: ClassVar[bool] = True

    validation: Annotated[int, Field(ge=10)] = 360
    test: Annotated[int, Field(ge=10)] = 360


@dataclass(frozen=True, config=FROZEN)
class FeaturesData:
    """Points of which some inputs tell the class and the others are noise. Counts are per draw."""

    images: ClassVar[bool] = False

    inputs: Annotated[int, Field(ge=2)] = 50
    informative: Annotated[int, Field(ge=2)] = 10  # of the inputs; 2 have room for 4 clusters
    separation: Annotated[float, Field(gt=0)] = 1.0  # half a side of the cube of class centres
    train: Annotated[int, Field(ge=2)] = 480
    validation: Annotated[int, Field(ge=2)] = 480
    test: Annotated[int, Field(ge=2)] = 2_000
    draws: Count = 64  # independent draws; tuning and final seeds never share one


@dataclass(frozen=True, config=FROZEN)
class ImagesData:
    """Which of the 60,000 training images validate."""

    images: ClassVar[bool] = True

    validation: Annotated[int, Field(ge=1, lt=60_000)]
    validation_from: Literal["first", "last"]
    article_trains_on_validation: bool  # the article's split keeps them in the training set


def _named(kind: str, sizes: Sequence[int]) -> dict[str, int]:
    """Layers' names → their sizes."""
    return {f"{kind}_{place}": size for place, size in enumerate(sizes, start=1)}


@dataclass(frozen=True, config=FROZEN)
class Mlp:
    """Hidden dense layers."""

    activity_places: ClassVar[tuple[Place, ...]] = ("before", "after")
    own_activation: ClassVar[bool] = False
    objective: ClassVar[Objective] = CLASSIFICATION

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
    objective: ClassVar[Objective] = CLASSIFICATION

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
    objective: ClassVar[Objective] = CLASSIFICATION

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
    objective: ClassVar[Objective] = RECONSTRUCTION

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
    if model.objective is RECONSTRUCTION and (problem := _misfit_of_reconstruction(change, model)):
        return problem
    if change.recurrent_dropout is not None and model.architecture != "lstm":
        return f"needs the steps of an 'lstm', but got {model.architecture!r}"
    count = len(model.hidden_layers)
    if isinstance(change.kernel, tuple) and len(change.kernel) != count:
        return f"needs {len(change.kernel)} hidden layers, but got {count}"
    return None


def _misfit_of_reconstruction(change: Change, model: Model) -> str | None:
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
    """Everything that decides one data set's results."""

    data: CirclesData | DigitsData | FeaturesData | ImagesData
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
class CirclesStudy(Study):
    """A study of circles."""

    data: CirclesData


@dataclass(frozen=True, config=FROZEN)
class DigitsStudy(Study):
    """A study of scikit-learn's digits."""

    data: DigitsData


@dataclass(frozen=True, config=FROZEN)
class FeaturesStudy(Study):
    """A study of inputs that are known to be informative or noise."""

    data: FeaturesData


@dataclass(frozen=True, config=FROZEN)
class ImagesStudy(Study):
    """A study of MNIST or Fashion-MNIST."""

    data: ImagesData


@dataclass(frozen=True, config=FROZEN)
class Studies:
    """One study per data set. One that is left out here must leave dvc.yaml's lists too."""

    circles: CirclesStudy | None = None
    digits: DigitsStudy | None = None
    features: FeaturesStudy | None = None
    mnist: ImagesStudy | None = None
    fashion_mnist: ImagesStudy | None = None


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
    studies: Studies
    engine: Engine = Field(default_factory=Engine)
    tracking: Tracking = Field(default_factory=Tracking)

    def study(self, dataset: str) -> Study:
        """The study of a data set. Raises UserError for one that params.yaml does not have."""
        study = getattr(self.studies, dataset, None) if dataset in DATASET_NAMES else None
        if not isinstance(study, Study):
            present = [name for name in DATASET_NAMES if getattr(self.studies, name)]
            raise UserError(
                f"unknown data set {dataset!r}; params.yaml has studies of {', '.join(present)}"
            )
        return study


DATASET_NAMES: tuple[str, ...] = tuple(field.name for field in fields(Studies))


def load(path: str | Path = FILE) -> Params:
    """Reads and checks params.yaml. Raises UserError that lists every mistake and where it is."""
    return parse(read(path), str(path))


def read(path: str | Path = FILE) -> Any:
    """The content of params.yaml, not yet checked. Raises UserError if there is none."""
    path = Path(path)
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} not found; run this from the folder that holds it") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {error}") from None


def parse(raw: object, where: str = FILE) -> Params:
    """Checks the parsed YAML; `where` names its source in messages. Raises UserError."""
    params = validate(Params, raw, where)
    problems = [
        f"{where}:studies.{name}.{problem}"
        for name in DATASET_NAMES
        if (study := getattr(params.studies, name))
        for problem in _study_problems(study)
    ]
    if problems:
        raise UserError("\n".join(problems))
    return params


def validate(kind: type[T], raw: object, where: str) -> T:
    """`raw` as a `kind`. Raises UserError that lists every mistake and its place in `where`."""
    try:
        return TypeAdapter(kind).validate_python(raw)
    except ValidationError as error:
        lines = [f"{where}:{_explain(dict(item))}" for item in error.errors()]
        raise UserError("\n".join(dict.fromkeys(lines))) from None


def _explain(item: dict[str, Any]) -> str:
    """One validation error in words: where, what was expected, what was received."""
    # pydantic also names the branch of a union, of which params.yaml knows nothing.
    loc = [part for part in map(str, item["loc"]) if not re.search(r"[-\[]", part)]
    place = [part for before, part in pairwise(["", *loc]) if not _is_tag(before, part)]
    if item["type"] == "unexpected_keyword_argument":
        *section, key = place
        hint = nearest(key, _known_keys(loc[:-1]))
        return f"{'.'.join(section) or 'top level'}: unknown key {key!r}{hint}"
    if item["type"] == "union_tag_invalid":
        found = item["ctx"]["tag"]
        return f"{'.'.join(place)}.architecture: unknown {found!r}{nearest(found, MODELS)}"
    if item["type"] == "union_tag_not_found":
        return f"{'.'.join(place)}.architecture: required, but missing"
    if item["type"] in ("missing", "missing_argument"):
        return f"{'.'.join(place)}: required, but missing"
    message = item["msg"][0].lower() + item["msg"][1:]
    return f"{'.'.join(place)}: {message}, but got {item['input']!r}"


def _is_tag(section: str, part: str) -> bool:
    """Whether this part of a place is the architecture that chose the section's class."""
    return section == "model" and part in MODELS


def _known_keys(section: Sequence[str]) -> list[str]:
    """The keys that a section of params.yaml may have, found by walking the classes."""
    here: Any = Params
    for before, part in pairwise(["", *section]):
        if _is_tag(before, part):
            here = MODELS[part]
            continue
        if get_origin(here) is Mapping:
            here = get_args(here)[1]
            continue
        here = get_type_hints(here).get(part) if is_dataclass(here) else None
        optional = [kind for kind in get_args(here) if is_dataclass(kind)]
        here = optional[0] if optional and get_origin(here) is not Mapping else here
    return [field.name for field in fields(here)] if is_dataclass(here) else []


def _study_problems(study: Study) -> Iterator[str]:
    """What no single field can see: names of techniques, their values, and counts that add up."""
    architecture = study.model.architecture
    if not study.data.images and architecture in TAKE_IMAGES:
        yield (
            "model.architecture: points are for an 'mlp' or 'autoencoder'; "
            f"{architecture!r} takes images"
        )
    if isinstance(study.data, FeaturesData) and study.data.informative >= study.data.inputs:
        got = study.data.informative
        yield f"data.informative: must be below inputs={study.data.inputs}, but got {got}"
    for name in study.techniques:
        yield from _technique_problems(name, study)
    learning_rate = study.tuning.learning_rate
    if learning_rate is not None:
        yield from _range_problems("tuning.learning_rate", learning_rate)
        if learning_rate.low <= 0:
            yield f"tuning.learning_rate.low: must be > 0, but got {learning_rate.low}"
    pruning = study.tuning.pruning
    if pruning is not None and pruning.first >= study.tuning.epochs:
        yield (
            f"tuning.pruning.first: must be below epochs={study.tuning.epochs}, "
            f"but got {pruning.first}"
        )
    yield from _baseline_problems(study.techniques)
    if study.tuning.round > study.tuning.trials:
        yield f"tuning.round: at most trials={study.tuning.trials}, but got {study.tuning.round}"
    if isinstance(study.data, CirclesData | FeaturesData):
        needed = study.tuning.seeds + study.final.seeds
        if study.data.draws < needed:
            got = study.data.draws
            yield f"data.draws: at least tuning.seeds + final.seeds = {needed}, but got {got}"


def _baseline_problems(techniques: Mapping[str, TechniqueParams]) -> Iterator[str]:
    """Every setting that a technique has needs its baseline."""
    baseline = techniques.get("none")
    if baseline is None:
        yield "techniques: `none`, the baseline of every comparison, is missing"
    elif baseline.article is None:
        others = [name for name, given in techniques.items() if given.article is not None]
        if others:
            yield (
                "techniques.none.article: `article: {}` is missing, the baseline of the article's "
                f"setting of {', '.join(others)}"
            )


def _technique_problems(name: str, study: Study) -> Iterator[str]:
    """What one technique is called and made of, whether it fits, and its values."""
    given = study.techniques[name]
    if given.combine and not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII):
        # It becomes a folder, a parameter's name in MLflow, an id in a page.
        yield f"techniques: expected letters, digits and _ in a name of your own, but got {name!r}"
        return
    if given.combine and name in TECHNIQUES:
        yield f"techniques.{name}.combine: expected a name of its own, but {name!r} is registered"
        return
    if not given.combine and name not in TECHNIQUES:
        yield (
            f"techniques: unknown key {name!r}{nearest(name, TECHNIQUES)}; a name of your own needs"
            " `combine`"
        )
        return
    try:
        technique = study.technique(name)
    except ValueError as error:
        yield f"techniques.{name}.combine: {error}"
        return
    images = study.data.images
    if problem := misfit(technique.lowest, study.model, images):
        expected = ", ".join(fitting(study.model, images))
        yield f"techniques.{name}: {problem}; expected one of {expected}"
    yield from _value_problems(name, given, technique)


def _range_problems(place: str, given: SearchRange) -> Iterator[str]:
    try:
        given.range()
    except ValueError as error:
        yield f"{place}: {error}"


def _value_problems(name: str, given: TechniqueParams, technique: Technique) -> Iterator[str]:
    """The article's values and the ranges of one technique, against what it takes."""
    known = technique.search
    for key, found in given.search.items():
        if key not in known:
            yield f"techniques.{name}.search: unknown key {key!r}{nearest(key, known)}"
            return
        if known[key].integer and not found.integer:
            yield f"techniques.{name}.search.{key}: `integer: true` is needed for whole numbers"
        yield from _range_problems(f"techniques.{name}.search.{key}", found)
    searched = {**known, **given.search}
    for end in ("low", "high"):
        try:
            technique.apply({key: getattr(found, end) for key, found in searched.items()})
        except ValueError as error:
            yield f"techniques.{name}.search: {error}"
    if not given.tuned and (given.article is None or name == "none"):
        why = "and every comparison needs none" if name == "none" else "but `article` is missing"
        yield f"techniques.{name}.tuned: false leaves only the article's setting, {why}"
    if not given.tuned and given.search:
        yield f"techniques.{name}.search: `tuned: false` searches nothing"
    if given.article is not None:
        try:
            technique.apply(given.article)
        except ValueError as error:
            yield f"techniques.{name}.article: {error}"
