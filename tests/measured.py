"""What is measured of a model, from its own outputs."""

from collections.abc import Mapping
from typing import Any

import keras

from pipeline import measures
from pipeline.measures import Labelled


def measured(model: keras.Sequential, parts: Mapping[Any, Labelled]) -> dict[str, float]:
    """The measures of a classifier on these parts."""
    given = {name: measures.outputs(model, x) for name, (x, _) in parts.items()}
    return measures.measure(model, parts, given)
