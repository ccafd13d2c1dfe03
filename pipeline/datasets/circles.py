"""Two noisy circles, one inside the other (scikit-learn's `make_circles`)."""

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from pipeline.datasets import PARTS, Dataset, Floats, Ints
from pipeline.datasets.section import FROZEN, Draws, Pair, Section, at_most

ARTICLE_POINTS = 100
ARTICLE_TRAIN = 30
ARTICLE_NOISE = 0.1
ARTICLE_SEED = 1
NOISE = at_most(1000, "radii, beyond which there are no circles")


@dataclass(frozen=True, kw_only=True, config=FROZEN)
class CirclesData(Section):
    """Two noisy circles, one inside the other. Counts are points per draw."""

    images: ClassVar[bool] = False

    source: Literal["circles"] = "circles"
    noise: Annotated[float, Field(ge=0), NOISE] = (
        0.1  # standard deviation, in radii of the outer circle
    )
    train: Pair = 30
    held_out: Pair = 70  # the other points of the training sample
    validation: Pair = 70  # a sample of its own, as the test points are
    test: Pair = 4_000
    draws: Draws = 75  # independent draws; searches and final runs never share one

    @property
    def example_shape(self) -> tuple[int, ...]:
        """Two coordinates."""
        return (2,)

    @property
    def kept_values(self) -> int:
        """The coordinates of all points."""
        return 2 * self.draws * (self.train + self.held_out + self.validation + self.test)

    @property
    def article_points(self) -> bool:
        """The article's 100 points are among them."""
        return True


def prepare(study: str, data: CirclesData, seed: int) -> Dataset:
    """The article's 100 points, then independent draws of training, validation and test points.

    As in the article, a draw trains on the first points of a sample. `make_circles` spaces angles
    evenly, so the sample's other points lie midway between training points and are harder than new
    ones: a classifier's accuracy on them is about four points lower. Validation and test points are
    therefore samples of their own, and the other points are only what somebody with one sample
    would choose by. Draw i depends only on `seed` and i, so more draws do not change earlier ones.
    """
    samples = [_sample(ARTICLE_POINTS, ARTICLE_NOISE, ARTICLE_SEED)]
    for draw in range(data.draws):
        samples.extend(_draw(data, seed, draw))
    article = np.arange(ARTICLE_POINTS, dtype=np.int32)[np.newaxis]
    held_out, rows = article[:, ARTICLE_TRAIN:], _fresh_rows(data)
    return Dataset(
        name=study,
        n_classes=2,
        x=np.concatenate([x for x, _ in samples]),
        y=np.concatenate([y for _, y in samples]),
        splits={
            "article": {"train": article[:, :ARTICLE_TRAIN], "val": held_out, "test": held_out},
            "leak_free": {part: rows[part] for part in PARTS},
        },
        held_out=rows["held_out"],
    )


def _sample(n: int, noise: float, seed: int) -> tuple[Floats, Ints]:
    """n points, half of them per circle, in random order: x (n, 2) float32 and y (n,) int32."""
    from sklearn.datasets import make_circles  # here: reading params.yaml needs no scikit-learn

    x, y = make_circles(n_samples=n, noise=noise, random_state=seed)
    return x.astype(np.float32), y.astype(np.int32)


def _draw(data: CirclesData, seed: int, draw: int) -> list[tuple[Floats, Ints]]:
    """Three samples: the training points and those held out, validation points, test points."""
    states = np.random.SeedSequence(seed, spawn_key=(draw,)).generate_state(3)
    sizes = (data.train + data.held_out, data.validation, data.test)
    return [_sample(n, data.noise, int(state)) for n, state in zip(sizes, states, strict=True)]


def _fresh_rows(data: CirclesData) -> dict[str, Ints]:
    """Rows of each draw in the pool, where draws follow the article's points one by one."""
    sizes = {
        "train": data.train,
        "held_out": data.held_out,
        "val": data.validation,
        "test": data.test,
    }
    total = sum(sizes.values())
    rows = ARTICLE_POINTS + np.arange(data.draws * total, dtype=np.int32).reshape(-1, total)
    parts = np.split(rows, np.cumsum([*sizes.values()])[:-1], axis=1)
    return dict(zip(sizes, parts, strict=True))
