"""The examples in the docstrings give what they say."""

import doctest
from types import ModuleType

import pytest

from pipeline import formatting
from pipeline.analysis import chosen, effects, families, power, statistics, telling, verdict_rule


@pytest.mark.parametrize(
    "module", [chosen, effects, families, formatting, power, statistics, telling, verdict_rule]
)
def test_examples_run(module: ModuleType) -> None:
    failed, tried = doctest.testmod(module)
    assert tried > 0
    assert failed == 0
