"""Variance components: against a mixed model of statsmodels, known factors, and simulations."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from statsmodels.regression.mixed_linear_model import MixedLM

from pipeline.analysis import effects
from pipeline.analysis.variance import Component, crossed, nested, spread

Array = np.ndarray[Any, Any]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def two_levels(random: np.random.Generator, a: int, b: int, draw: float, seed: float) -> Array:
    return np.asarray(random.normal(scale=draw, size=(a, 1)) + random.normal(0, seed, (a, b)))


def test_five_replicates_know_a_deviation_to_a_factor_of_0_6_to_2_9() -> None:
    known = spread("seed", [0.1, 0.4, 0.2, 0.3, 0.9])
    assert known.deviation == pytest.approx(np.std([0.1, 0.4, 0.2, 0.3, 0.9], ddof=1))
    assert known.low / known.deviation == pytest.approx(0.599, abs=5e-4)
    assert known.high / known.deviation == pytest.approx(2.874, abs=5e-4)


def test_nested_components_are_those_of_a_mixed_model() -> None:
    values = two_levels(rng(1), 8, 4, 1.0, 0.7)
    draw, seed = nested(values)
    groups = np.repeat(np.arange(8), 4)
    model = MixedLM(values.ravel(), np.ones((32, 1)), groups).fit(reml=True)
    assert draw.deviation == pytest.approx(float(np.sqrt(model.cov_re[0, 0])), rel=1e-4)
    assert seed.deviation == pytest.approx(float(np.sqrt(model.scale)), rel=1e-4)


def test_crossed_components_are_those_of_a_mixed_model() -> None:
    values = rng(2).normal(size=(6, 1)) + rng(3).normal(size=(1, 7)) + rng(4).normal(size=(6, 7))
    row, column = (axis.ravel() for axis in np.indices(values.shape))
    data = pd.DataFrame({"value": values.ravel(), "row": row, "column": column, "all": 1})
    parts = {"row": "0 + C(row)", "column": "0 + C(column)"}
    model = MixedLM.from_formula("value ~ 1", data, groups="all", re_formula="0", vc_formula=parts)
    fitted = model.fit(reml=True)
    expected = dict(zip(model.exog_vc.names, fitted.vcomp, strict=True))
    rows, columns, rest = crossed(values)
    assert rows.deviation == pytest.approx(float(np.sqrt(expected["row"])), rel=1e-3)
    assert columns.deviation == pytest.approx(float(np.sqrt(expected["column"])), rel=1e-3)
    assert rest.deviation == pytest.approx(float(np.sqrt(fitted.scale)), rel=1e-3)
    assert effects.crossed(values).error == pytest.approx(float(fitted.bse_fe.iloc[0]), rel=1e-3)


@pytest.mark.parametrize("draw", [0.0, 0.3, 2.0])
def test_intervals_of_nested_components_hold_the_truth(draw: float) -> None:
    random = rng(5)
    tables = [nested(two_levels(random, 6, 5, draw, 1.0)) for _ in range(1_500)]
    for place, truth in ((0, draw), (1, 1.0)):
        held = np.mean([parts[place].low <= truth <= parts[place].high for parts in tables])
        assert 0.93 <= held <= 0.985


def test_intervals_of_crossed_components_hold_the_truth() -> None:
    random, truth = rng(6), (0.4, 1.0, 0.8)
    held = np.zeros(3)
    for _ in range(1_500):
        rows, columns, rest = (
            random.normal(0, deviation, shape)
            for deviation, shape in zip(truth, ((5, 1), (1, 12), (5, 12)), strict=True)
        )
        parts = crossed(rows + columns + rest)
        held += [part.low <= true <= part.high for part, true in zip(parts, truth, strict=True)]
    assert np.all((held / 1_500 >= 0.93) & (held / 1_500 <= 0.985)), held / 1_500


def test_a_component_below_zero_counts_as_zero() -> None:
    draw, seed = nested([[0.0, 2.0], [2.4, 0.1], [0.0, 1.4]])
    assert draw.deviation == draw.low == 0
    assert draw.high > 0
    assert seed.deviation > 1


@pytest.mark.parametrize("part", [*nested([[0.1, np.nan], [0.2, 0.3]]), spread("", [1.0, np.inf])])
def test_a_value_that_is_not_finite_leaves_nothing_to_tell(part: Component) -> None:
    assert np.isnan([part.deviation, part.low, part.high]).all()


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="a, b >= 2, but has shape"):
        nested([[0.1, 0.2]])
    with pytest.raises(ValueError, match="`df` of seed must be >= 1, but got 0"):
        spread("seed", [0.3])
