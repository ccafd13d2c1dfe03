"""SOURCES: how each kind of data is configured in params.yaml, and prepared."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.datasets import Dataset, circles, digits, features, idx, origins
from pipeline.datasets.origins import Origin
from pipeline.datasets.own import ArraysData, FolderData, OwnData, TableData
from pipeline.datasets.section import Section
from pipeline.errors import UserError


@dataclass(frozen=True)
class Source:
    """A kind of data: its section of params.yaml, and the function that prepares a data set."""

    section: type[Section]
    # Arguments: the study's name, an instance of `section`, the seed, the folder of raw files.
    prepare: Callable[[str, Any, int, Path], Dataset]


# Here: reading params.yaml needs neither pandas nor scikit-learn.


def _table(study: str, data: TableData, seed: int, raw: Path) -> Dataset:
    from pipeline.datasets import table

    return table.prepare(study, data, seed)


def _folder(study: str, data: FolderData, seed: int, raw: Path) -> Dataset:
    from pipeline.datasets import folder

    return folder.prepare(study, data, seed)


def _arrays(study: str, data: ArraysData, seed: int, raw: Path) -> Dataset:
    from pipeline.datasets import arrays

    return arrays.prepare(study, data, seed)


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
    "table": Source(TableData, _table),
    "folder": Source(FolderData, _folder),
    "arrays": Source(ArraysData, _arrays),
}


def origin(study: str, data: Section) -> Origin:
    """Where a study's data come from; people's own are where they are. See `origins.read`."""
    if isinstance(data, OwnData):
        return Origin(
            origin=data.origin or data.input,
            licence=data.licence,
            citation="",
            title=data.title or study,
            classes=data.classes,
        )
    return origins.read(data.input)


def _title(study: str, path: str, title: str) -> str:
    """The title of pages: the input's, followed by the study's name if that is different.

    >>> _title("mnist", "data/sources/mnist.yaml", "MNIST")
    'MNIST'
    >>> _title("small", "data/sources/mnist.yaml", "MNIST")
    'MNIST (small)'
    >>> _title("customers_rows", "data/own/customers", "customers_rows")
    'customers_rows'
    """
    if not title:
        return study
    return title if study in (title, Path(path).stem) else f"{title} ({study})"


def prepare(study: str, data: Section, seed: int, raw: Path) -> Dataset:
    """Make a study's data set, with the title and the description of its input.

    `data` is its section of params.yaml, `raw` the folder that `raw.fetch` has filled.
    Raises UserError for raw files or an input that are missing or damaged, and for sizes that the
    source does not have.
    """
    known = origin(study, data)
    dataset = SOURCES[data.source].prepare(study, data, seed, raw)
    try:
        return replace(
            dataset,
            source=data.source,
            title=_title(study, data.input, known.title),
            description=known.description,
            leak=known.leak,
            classes=known.classes,
            task=data.trained_for,
        )
    except ValueError as error:  # the classes do not fit
        raise UserError(f"{data.input}: {error}") from error
