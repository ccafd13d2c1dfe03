"""SOURCES: how each kind of data is configured in params.yaml, and prepared."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.datasets import Dataset, circles, digits, features, idx, origins
from pipeline.datasets.section import Section
from pipeline.errors import UserError


@dataclass(frozen=True)
class Source:
    """A kind of data: its section of params.yaml, and the function that prepares a data set."""

    section: type[Section]
    # Arguments: the study's name, an instance of `section`, the seed, the folder of raw files.
    prepare: Callable[[str, Any, int, Path], Dataset]


SOURCES: Mapping[str, Source] = {
    "circles": Source(
        circles.CirclesData, lambda study, data, seed, raw: circles.prepare(study, data, seed)
    ),
    "digits": Source(
        digits.DigitsData, lambda study, data, seed, raw: digits.prepare(study, data, seed)
    ),
    "features": Source(
        features.FeaturesData, lambda study, data, seed, raw: features.prepare(study, data, seed)
    ),
    "idx": Source(idx.ImagesData, idx.prepare),
}


def _title(study: str, path: str, title: str) -> str:
    """The title of pages: the input's, followed by the study's name if that is different.

    >>> _title("mnist", "data/sources/mnist.yaml", "MNIST")
    'MNIST'
    >>> _title("small", "data/sources/mnist.yaml", "MNIST")
    'MNIST (small)'
    """
    if not title:
        return study
    return title if study == Path(path).stem else f"{title} ({study})"


def prepare(study: str, data: Section, seed: int, raw: Path) -> Dataset:
    """Make a study's data set, with the title and the description of its input.

    `data` is its section of params.yaml, `raw` the folder that `raw.fetch` has filled.
    Raises UserError for raw files or an input that are missing or damaged, and for sizes that the
    source does not have.
    """
    origin = origins.read(data.input)
    dataset = SOURCES[data.source].prepare(study, data, seed, raw)
    try:
        return replace(
            dataset,
            source=data.source,
            title=_title(study, data.input, origin.title),
            description=origin.description,
            leak=origin.leak,
            classes=origin.classes,
            task=data.task,
        )
    except ValueError as error:  # the classes do not fit
        raise UserError(f"{data.input}: {error}") from error
