"""Properties of the registry's entries, and of what they take."""

import math

import pytest

from pipeline.techniques.registry import TECHNIQUES


@pytest.mark.parametrize("name", TECHNIQUES)
def test_an_entry_has_a_formula_a_source_defaults_and_ranges_that_it_takes(name: str) -> None:
    technique = TECHNIQUES[name]
    assert technique.summary
    assert technique.formula
    assert technique.source or name == "none"
    highest = technique.apply({each: found.high for each, found in technique.search.items()})
    assert (highest != technique.lowest) == bool(technique.search)
    defaults = {each: found.default for each, found in technique.search.items()}
    technique.apply({each: value for each, value in defaults.items() if value is not None})


@pytest.mark.parametrize("name", TECHNIQUES)
def test_what_it_cannot_take_is_refused(name: str) -> None:
    technique = TECHNIQUES[name]
    values = {each: found.low for each, found in technique.search.items()}
    for each in values:
        for bad in (-1.0, math.nan, math.inf):
            with pytest.raises(ValueError, match=r"^`\w+` must .*, but got "):
                technique.apply(values | {each: bad})
    with pytest.raises(ValueError, match=r"expected the hyperparameters \[.*\], but got .*'other'"):
        technique.apply(values | {"other": 1})
