"""Points with some informative inputs, the others are noise (`make_classification`).

Guyon 2003, "Design of experiments of the NIPS 2003 variable selection benchmark": the generator of
the Madelon data.
"""

from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from pipeline.datasets import Dataset, Doubles, Floats, Ints, Part, Scaling
from pipeline.datasets.section import FROZEN, Draws, Pair, Section, at_most

CLASSES = 2
INPUTS = at_most(10**5, "since each is a row of the first kernel")
SEPARATION = at_most(1000, "deviations, beyond which any model is right")


@dataclass(frozen=True, kw_only=True, config=FROZEN)
class FeaturesData(Section):
    """Points with some informative inputs, the others are noise. Counts are per draw.

    Raises ValueError if no input is left to be noise.
    """

    images: ClassVar[bool] = False

    source: Literal["features"] = "features"
    inputs: Annotated[int, Field(ge=2), INPUTS] = 50
    informative: Annotated[int, Field(ge=2)] = 10  # of the inputs; 2 are enough for 4 clusters
    separation: Annotated[float, Field(gt=0), SEPARATION] = (
        1.0  # half the side of the cube of class centres
    )
    train: Pair = 480
    validation: Pair = 480
    test: Pair = 2_000
    draws: Draws = 30  # independent draws

    @property
    def example_shape(self) -> tuple[int, ...]:
        """The inputs."""
        return (self.inputs,)

    @property
    def kept_values(self) -> int:
        """The inputs of all points."""
        return self.inputs * self.draws * (self.train + self.validation + self.test)

    def __post_init__(self) -> None:
        if self.informative >= self.inputs:
            raise ValueError(
                f"`informative` must be below inputs={self.inputs}, but got {self.informative}"
            )


def prepare(study: str, data: FeaturesData, seed: int) -> Dataset:
    """Independent draws, which differ in where the classes lie in the informative inputs.

    The informative inputs are the same in every draw. Each draw is standardized by the mean and the
    standard deviation of its training examples, so that the scale of an input does not reveal
    whether it is informative. Draw i depends only on `seed`, the counts and i, so more draws do not
    change the earlier ones. No article uses these data, so both protocols have the same splits.
    """
    informative = _informative_inputs(data, seed)
    samples = [_draw(data, informative, seed, draw) for draw in range(data.draws)]
    splits = _rows(data)
    return Dataset(
        name=study,
        n_classes=CLASSES,
        x=np.concatenate([sample.x for sample in samples]),
        y=np.concatenate([sample.y for sample in samples]),
        splits={"article": splits, "leak_free": splits},
        informative=informative,
        scaling=Scaling(
            np.stack([sample.mean for sample in samples]),
            np.stack([sample.deviation for sample in samples]),
        ),
    )


class _Sample(NamedTuple):
    """The examples of training, validation and test, in this order, and how they were scaled."""

    x: Floats  # (n, inputs)
    y: Ints  # (n,)
    mean: Doubles  # (inputs,), of the training examples
    deviation: Doubles


def _informative_inputs(data: FeaturesData, seed: int) -> Ints:
    """The sorted indices of the informative inputs, (informative,) int32."""
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    return np.sort(rng.permutation(data.inputs)[: data.informative]).astype(np.int32)


def _draw(data: FeaturesData, informative: Ints, seed: int, draw: int) -> _Sample:
    # Here: reading params.yaml needs no scikit-learn.
    from sklearn.datasets import make_classification

    problem_seed, order_seed = np.random.SeedSequence(seed, spawn_key=(draw,)).generate_state(2)
    x, y = make_classification(
        n_samples=data.train + data.validation + data.test,
        n_features=data.inputs,
        n_informative=data.informative,
        n_redundant=0,
        n_classes=CLASSES,
        flip_y=0,
        class_sep=data.separation,
        shuffle=False,  # informative inputs come first, examples are sorted by class
        random_state=int(problem_seed),
    )
    order = np.random.default_rng(int(order_seed)).permutation(len(x))
    noise = np.setdiff1d(np.arange(data.inputs), informative)
    ordered = np.empty_like(x)
    ordered[:, np.concatenate([informative, noise])] = x[order]
    train = ordered[: data.train]
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    scaled = (ordered - mean) / deviation
    return _Sample(scaled.astype(np.float32), y[order].astype(np.int32), mean, deviation)


def _rows(data: FeaturesData) -> dict[Part, Ints]:
    """Rows of each draw in the pool, which has the draws one after another: (draws, n)."""
    size = data.train + data.validation + data.test
    rows = np.arange(data.draws * size, dtype=np.int32).reshape(data.draws, size)
    train, val, test = np.split(rows, [data.train, data.train + data.validation], axis=1)
    return {"train": train, "val": val, "test": test}
