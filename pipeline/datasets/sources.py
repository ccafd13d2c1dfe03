"""DATASETS: how each data set is prepared."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.datasets import Dataset, circles, digits, features, idx
from pipeline.errors import UserError

# Arguments: the data section of the study, the study's seed, the folder of raw files.
DATASETS: dict[str, Callable[[Any, int, Path], Dataset]] = {
    "circles": lambda data, seed, raw: circles.prepare(data, seed),
    "digits": lambda data, seed, raw: digits.prepare(data, seed),
    "features": lambda data, seed, raw: features.prepare(data, seed),
    "mnist": lambda data, seed, raw: idx.prepare("mnist", data, raw),
    "fashion_mnist": lambda data, seed, raw: idx.prepare("fashion_mnist", data, raw),
}


def prepare(name: str, data: Any, seed: int, raw: Path) -> Dataset:
    """Make a data set.

    `data` is its section of params.yaml, `raw` the folder that `raw.fetch` has filled.
    Raises UserError for an unknown name, raw files that are missing or broken, and sizes that
    the data set does not have.
    """
    if name not in DATASETS:
        raise UserError(f"unknown data set {name!r}; expected one of {', '.join(DATASETS)}")
    return DATASETS[name](data, seed, raw)
