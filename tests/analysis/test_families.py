"""Families: intervals that agree with their p, errors that stay under 5 %, and groups."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis.effects import Effect, independent
from pipeline.analysis.families import Member, benjamini_hochberg, family, group, groups, holm
from pipeline.analysis.statistics import Estimate

STUDIES = 1_000


@pytest.fixture(autouse=True, scope="module")
def _holm_without_collecting_garbage() -> Iterator[None]:
    """statsmodels collects garbage in every call of Holm: 45 ms, times thousands of families."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gc.collect", lambda: 0)
        yield


families = st.lists(
    st.builds(
        Effect,
        mean=st.floats(-4, 4),
        error=st.floats(0.1, 2),
        df=st.sampled_from([2.0, 4.0, 9.0, 29.0, np.inf]),
    ),
    min_size=1,
    max_size=12,
)


def members(effects: list[Effect]) -> list[Member]:
    return list(family({str(i): effect for i, effect in enumerate(effects)}).values())


@given(families)
def test_an_interval_leaves_out_zero_iff_its_corrected_p_is_below_5_percent(
    effects: list[Effect],
) -> None:
    for member in members(effects):
        leaves_out = not member.interval.low <= 0 <= member.interval.high
        if abs(member.p_simultaneous - 0.05) > 1e-9:
            assert leaves_out == (member.p_simultaneous < 0.05) == member.told_apart


@given(families)
def test_holm_never_contradicts_an_interval_that_leaves_out_zero(effects: list[Effect]) -> None:
    for member in members(effects):
        assert member.p <= member.p_holm <= member.p_simultaneous + 1e-12
        assert member.by_holm_alone == (member.p_holm < 0.05 and not member.told_apart)


def test_holm_alone_is_told() -> None:
    first, second = members([Effect(5.0, 1.0, 9.0), Effect(2.5, 1.0, 9.0)])
    assert first.told_apart
    assert not first.by_holm_alone
    assert second.by_holm_alone


def test_one_comparison_needs_no_correction() -> None:
    effect = Effect(0.4, 0.2, 9.0)
    (member,) = members([effect])
    assert member.interval == effect.interval()
    assert member.p == member.p_holm == member.p_simultaneous


def test_a_comparison_without_p_is_not_counted() -> None:
    known, unknown = members([independent([0.1, 0.3, 0.2]), independent([0.1, np.nan, 0.2])])
    assert known.interval == independent([0.1, 0.3, 0.2]).interval()
    assert np.isnan([*unknown.interval, unknown.p, unknown.p_simultaneous, unknown.p_holm]).all()
    assert not unknown.told_apart


def studies_of_nothing(replicates: int) -> list[list[Member]]:
    random = np.random.default_rng(6)
    scores = random.normal(size=(STUDIES, 9, replicates))
    return [members([independent(d) for d in study[1:] - study[0]]) for study in scores]


@pytest.mark.parametrize("replicates", [5, 10])
def test_eight_comparisons_of_nothing_rarely_find_anything(replicates: int) -> None:
    studies = studies_of_nothing(replicates)
    assert np.mean([any(each.p_holm < 0.05 for each in study) for study in studies]) <= 0.065
    assert np.mean([any(each.told_apart for each in study) for study in studies]) <= 0.065
    assert np.mean([any(each.p < 0.05 for each in study) for study in studies]) > 0.15


def test_intervals_hold_all_true_differences_at_once() -> None:
    random = np.random.default_rng(7)
    truth = np.linspace(-2, 2, 8)
    held = 0
    for _ in range(STUDIES):
        baseline = random.normal(size=10)
        found = members([independent(t + random.normal(size=10) - baseline) for t in truth])
        ends = np.array([member.interval for member in found])
        held += int(np.all((ends[:, 1] <= truth) & (truth <= ends[:, 2])))
    assert held / STUDIES >= 0.935


def test_holm_gives_known_values_and_leaves_nan_out_of_the_family() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    corrected = holm([0.01, np.nan, 0.04, 0.03])
    assert corrected == pytest.approx([0.03, np.nan, 0.06, 0.06], nan_ok=True)
    assert np.isnan(holm([np.nan])).all()


def test_benjamini_and_hochberg_by_hand() -> None:
    expected = [0.02, np.nan, 0.04, 0.04, 0.5]  # 4 p / rank, made monotone from the largest down
    assert benjamini_hochberg([0.005, np.nan, 0.02, 0.03, 0.5]) == pytest.approx(
        expected, nan_ok=True
    )


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ((0.1, 0.9), "better"),
        ((0.1, 0.2), "better"),
        ((-0.9, -0.1), "worse"),
        ((-0.2, 0.3), "no difference"),
        ((0.0, 0.0), "no difference"),
        ((-0.2, 0.5), "unresolved"),
        ((-0.5, 0.2), "unresolved"),
        ((-2.0, 2.0), "unresolved"),
        ((np.nan, np.nan), "unresolved"),
    ],
)
def test_groups_by_interval_and_margin(ends: tuple[float, float], expected: str) -> None:
    assert group(Estimate(0.0, *ends), margin=0.5) == expected


@given(families)
def test_every_technique_stands_in_one_group(effects: list[Effect]) -> None:
    named = family({str(i): effect for i, effect in enumerate(effects)})
    found = groups(named, margin=1.0)
    assert sorted(name for names in found.values() for name in names) == sorted(named)
    for name in (*found["better"], *found["worse"]):
        assert named[name].interval.low * named[name].interval.high > 0


def test_a_margin_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="`margin` must be > 0, but got 0"):
        group(Estimate(0.0, -1.0, 1.0), 0.0)
