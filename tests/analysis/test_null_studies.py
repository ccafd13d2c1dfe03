"""Simulated studies without training: false calls, and the power that was computed beforehand.

Runs go the whole way that those of a real study go: `summarize`, then `find`.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.analysis import power, summary
from pipeline.analysis.families import simultaneous_level
from pipeline.analysis.summary import Finding

Array = np.ndarray[Any, np.dtype[np.float64]]
NAMES = ("none", *(f"t{number}" for number in range(1, 9)))
COMPARED = len(NAMES) - 1
REPLICATES = 10
STUDIES = 400
ALLOWED = 0.072  # 5 % and twice the error of 400 studies


@pytest.fixture(autouse=True, scope="module")
def _holm_without_collecting_garbage() -> Iterator[None]:
    """statsmodels collects garbage in every call of Holm: 45 ms, times thousands of families."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gc.collect", lambda: 0)
        yield


def normal(random: np.random.Generator) -> Array:
    """Accuracies of techniques that differ by chance, on draws that they share."""
    shared = 0.02 * random.normal(size=REPLICATES)
    return 0.8 + shared + 0.01 * random.normal(size=(len(NAMES), REPLICATES))


def accuracy(random: np.random.Generator) -> Array:
    """Shares of 352 test rows that are right."""
    return random.binomial(352, 0.97, size=(len(NAMES), REPLICATES)) / 352


def study(scores: Array) -> Finding:
    """What a study finds whose technique i has `scores[i]`, one for each replicate."""
    techniques, replicates = scores.shape
    runs = pd.DataFrame(
        {
            "study": "simulated",
            "task": "classification",
            "setting": "tuned",
            "leaks": False,
            "technique": np.repeat(NAMES[:techniques], replicates),
            "search": 0,
            "replicate": np.tile(np.arange(replicates), techniques),
            "seed": np.tile(np.arange(replicates), techniques),
            "overlap": 0.0,
            "same_test": False,
            "test_accuracy": scores.ravel(),
        }
    )
    return summary.find(summary.summarize(runs))


@pytest.mark.slow
@pytest.mark.parametrize("simulate", [normal, pytest.param(accuracy, marks=pytest.mark.exhaustive)])
def test_studies_of_nothing_rarely_call_anything_better_or_worse(
    simulate: Callable[[np.random.Generator], Array],
) -> None:
    random = np.random.default_rng(12)
    findings = [study(simulate(random)) for _ in range(STUDIES)]
    called = [bool(finding.better or finding.worse) for finding in findings]
    assert np.mean(called) <= ALLOWED
    assert np.mean([finding.champion is not None for finding in findings]) <= ALLOWED


@pytest.mark.slow
def test_planted_effects_are_found_at_the_power_computed_beforehand() -> None:
    random, spread, studies = np.random.default_rng(13), 0.01 * np.sqrt(2), 300
    planted = np.array([0.01, 0.02, 0.03])
    level = 1 - simultaneous_level(COMPARED)
    found = np.zeros(len(planted))
    for _ in range(studies):
        scores = normal(random)
        scores[1:4] += planted[:, None]
        better = study(scores).better
        found += [name in better for name in NAMES[1:4]]
    expected = np.array([power.power(size, spread, REPLICATES, level=level) for size in planted])
    error = np.sqrt(expected * (1 - expected) / studies)
    assert (np.abs(found / studies - expected) <= 3 * error + 1e-9).all()
    assert expected[0] < 0.3 < 0.8 < expected[2]
