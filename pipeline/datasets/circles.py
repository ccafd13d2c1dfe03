"""Two noisy circles, one inside the other (scikit-learn's `make_circles`)."""

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from pipeline.datasets import Dataset, Floats, Ints, Part
from pipeline.datasets.section import FROZEN, Count, Section

ARTICLE_POINTS = 100
ARTICLE_TRAIN = 30
ARTICLE_NOISE = 0.1
ARTICLE_SEED = 1


@dataclass(frozen=True, kw_only=True, config=FROZEN)
class CirclesData(Section):
    """Two noisy circles, one inside the other. Counts are points per draw."""

    images: ClassVar[bool] = False

    source: Literal["circles"] = "circles"
    noise: Annotated[float, Field(ge=0)] = 0.1  # standard deviation, in radii of the outer circle
    train: Annotated[int, Field(ge=2)] = 30
    validation: Annotated[int, Field(ge=2)] = 70
    test: Annotated[int, Field(ge=2)] = 10_000
    draws: Count = 64  # independent draws; tuning and final seeds never share one


def prepare(study: str, data: CirclesData, seed: int) -> Dataset:
    """The article's 100 points, then independent draws of training, validation and test points.

    As in the article, one sample of a draw is split into training and validation points; its test
    points are a second sample. Draw i depends only on `seed` and i, so more draws do not change the
    earlier ones.
    """
    samples = [_sample(ARTICLE_POINTS, ARTICLE_NOISE, ARTICLE_SEED)]
    for draw in range(data.draws):
        samples.extend(_draw(data, seed, draw))
    article = np.arange(ARTICLE_POINTS, dtype=np.int32)[np.newaxis]
    held_out = article[:, ARTICLE_TRAIN:]
    return Dataset(
        name=study,
        n_classes=2,
        x=np.concatenate([x for x, _ in samples]),
        y=np.concatenate([y for _, y in samples]),
        splits={
            "article": {"train": article[:, :ARTICLE_TRAIN], "val": held_out, "test": held_out},
            "leak_free": _fresh_rows(data),
        },
    )


def _sample(n: int, noise: float, seed: int) -> tuple[Floats, Ints]:
    """n points, half of them per circle, in random order: x (n, 2) float32 and y (n,) int32."""
    from sklearn.datasets import make_circles  # here: reading params.yaml needs no scikit-learn

    x, y = make_circles(n_samples=n, noise=noise, random_state=seed)
    return x.astype(np.float32), y.astype(np.int32)


def _draw(data: CirclesData, seed: int, draw: int) -> list[tuple[Floats, Ints]]:
    """Two samples: the training and validation points, and the test points."""
    states = np.random.SeedSequence(seed, spawn_key=(draw,)).generate_state(2)
    sizes = (data.train + data.validation, data.test)
    return [_sample(n, data.noise, int(state)) for n, state in zip(sizes, states, strict=True)]


def _fresh_rows(data: CirclesData) -> dict[Part, Ints]:
    """Rows of each draw in the pool, where draws follow the article's points one by one."""
    size = data.train + data.validation + data.test
    rows = ARTICLE_POINTS + np.arange(data.draws * size, dtype=np.int32).reshape(data.draws, size)
    train, val, test = np.split(rows, [data.train, data.train + data.validation], axis=1)
    return {"train": train, "val": val, "test": test}
