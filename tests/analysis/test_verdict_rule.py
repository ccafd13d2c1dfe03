"""Verdicts: the rule at its ends, what it does to denials and claims, and its p-values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis.effects import NOTHING, Effect, independent
from pipeline.analysis.statistics import Estimate
from pipeline.analysis.verdict_rule import (
    ClaimJudgement,
    Judgement,
    Stated,
    Word,
    corrected,
    joined,
    judge,
    judge_claim,
    word_of,
)

MARGIN = 1.0
OPPOSITE: dict[Stated, Stated] = {"higher": "lower", "not higher": "not lower"}


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (1.0, 3.0, "holds"),
        (0.9, 3.0, "cannot tell"),
        (0.1, 0.9, "does not hold"),
        (-0.5, 0.5, "does not hold"),
        (-3.0, 0.9, "does not hold"),
        (-3.0, -0.9, "does not hold"),
        (-3.0, -1.0, "reversed"),
        (-3.0, 1.0, "cannot tell"),
        (np.nan, np.nan, "cannot tell"),
    ],
)
def test_the_rule_at_its_ends(low: float, high: float, word: Word) -> None:
    assert word_of(Estimate(0.0, low, high), MARGIN) == word


def seen(mean: float, error: float = 0.1) -> Effect:
    return Effect(mean, error, 9.0)


@pytest.mark.parametrize(
    ("mean", "affirmed", "denied"),
    [
        (2.0, "holds", "reversed"),
        (0.5, "does not hold", "holds"),
        (0.0, "does not hold", "holds"),
        (-0.5, "does not hold", "holds"),
        (-2.0, "reversed", "holds"),
        (1.0, "cannot tell", "cannot tell"),
    ],
)
def test_a_denial_turns_the_ends(mean: float, affirmed: Word, denied: Word) -> None:
    for stated, word in (("higher", affirmed), ("not higher", denied)):
        assert judge(seen(mean), stated, MARGIN).word == word  # type: ignore[arg-type]
        lower = OPPOSITE[stated]  # type: ignore[index]
        assert judge(seen(-mean), lower, MARGIN).word == word


effects = st.builds(
    Effect, mean=st.floats(-4, 4), error=st.floats(0.05, 2), df=st.sampled_from([4.0, 9.0, 29.0])
)
statements = st.sampled_from(["higher", "lower", "not higher", "not lower"])


@given(effects, statements)
def test_a_word_is_told_iff_its_p_is_below_5_percent(effect: Effect, stated: Stated) -> None:
    judged = judge(effect, stated, MARGIN)
    if abs(judged.p - 0.05) > 1e-9:
        assert (judged.word == "cannot tell") == (judged.p > 0.05)


@pytest.mark.parametrize(
    ("mean", "stated", "null"),
    [
        (2.0, "higher", 1.0),
        (0.5, "higher", 1.0),
        (-2.0, "higher", -1.0),
        (2.0, "not higher", 1.0),  # reversed: the effect that it denies is there
        (-2.0, "not higher", 1.0),  # holds, and would if the effect were not reversed
        (-2.0, "lower", -1.0),
        (2.0, "lower", 1.0),
        (-2.0, "not lower", -1.0),
    ],
)
def test_p_is_of_the_end_that_the_word_rests_on(mean: float, stated: Stated, null: float) -> None:
    assert judge(seen(mean), stated, MARGIN).p == pytest.approx(seen(mean).p(null))


@given(effects)
def test_exchanging_the_sides_reverses_and_never_affirms_both(effect: Effect) -> None:
    there, back = judge(effect, "higher", MARGIN), judge(-effect, "higher", MARGIN)
    assert (there.word == "holds") == (back.word == "reversed")
    assert not there.word == back.word == "holds"


@given(effects, statements)
def test_more_is_never_told_with_a_larger_error(effect: Effect, stated: Stated) -> None:
    vague = Effect(effect.mean, 3 * effect.error, effect.df)
    if judge(vague, stated, MARGIN).word == "reversed" and stated in ("higher", "lower"):
        assert judge(effect, stated, MARGIN).word == "reversed"
    elif judge(vague, stated, MARGIN).word == "holds":
        assert judge(effect, stated, MARGIN).word == "holds"


def test_an_effect_that_is_not_finite_cannot_tell() -> None:
    for effect in (NOTHING, independent([0.3])):
        judged = judge(effect, "not higher", MARGIN)
        assert judged.word == "cannot tell"
        assert np.isnan(judged.p)


def test_a_margin_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="`margin` must be > 0, but got 0"):
        judge(seen(1.0), "higher", 0.0)


# Claims

TRUE, MAYBE, SMALL, TURNED = (judge(seen(mean), "higher", MARGIN) for mean in (2.0, 1.0, 0.5, -2.0))


@pytest.mark.parametrize(
    ("parts", "word"),
    [
        ([TRUE], "holds"),
        ([TRUE, TRUE], "holds"),
        ([TRUE, MAYBE], "cannot tell"),
        ([TRUE, SMALL], "does not hold"),
        ([MAYBE, TURNED], "does not hold"),
        ([SMALL, TURNED], "does not hold"),
        ([TURNED, TURNED], "reversed"),
    ],
)
def test_a_claim_holds_if_all_do_and_fails_if_one_is_refuted(
    parts: list[Judgement], word: Word
) -> None:
    assert judge_claim(parts).word == word
    assert joined([part.word for part in reversed(parts)]) == word


def test_a_claims_p_is_the_largest_if_it_holds_and_the_refuting_one_if_not() -> None:
    surer = judge(seen(3.0), "higher", MARGIN)
    assert judge_claim([surer, TRUE]).p == TRUE.p > surer.p
    assert judge_claim([TRUE, MAYBE]).p == MAYBE.p
    assert judge_claim([TRUE, SMALL]).p == SMALL.p


@given(st.lists(effects, min_size=1, max_size=4))
def test_the_p_of_a_claim_agrees_with_its_word(found: list[Effect]) -> None:
    claim = judge_claim([judge(effect, "higher", MARGIN) for effect in found])
    if abs(claim.p - 0.05) > 1e-9:
        assert (claim.word == "cannot tell") == (claim.p > 0.05)


def test_a_claim_without_statements_is_refused() -> None:
    with pytest.raises(ValueError, match="`statements` must be at least one"):
        judge_claim([])


def test_over_all_claims_a_refutation_counts_its_statements() -> None:
    claims = [judge_claim([TRUE]), judge_claim([TRUE, SMALL]), judge_claim([MAYBE])]
    p = np.array([TRUE.p, 2 * SMALL.p, MAYBE.p])
    order = np.argsort(p)
    scaled = p[order] * 3 / np.arange(1, 4)
    expected = np.minimum.accumulate(scaled[::-1])[::-1]
    assert corrected(claims)[order] == pytest.approx(np.minimum(expected, 1.0))


def test_a_claim_that_nothing_tells_leaves_the_others_as_they_are() -> None:
    unknown = judge_claim([judge(NOTHING, "higher", MARGIN)])
    first, second = corrected([judge_claim([TRUE]), unknown])
    assert first == pytest.approx(TRUE.p)
    assert np.isnan(second)


@pytest.mark.parametrize(
    ("truth", "wrong"), [(1.0, ("holds", "does not hold")), (-1.0, ("reversed",))]
)
def test_words_at_the_margin_are_wrong_in_at_most_5_percent(
    truth: float, wrong: tuple[Word, ...]
) -> None:
    studies = np.random.default_rng(8).normal(truth, 1.0, size=(2_000, 10))
    words = [judge(independent(study), "higher", MARGIN).word for study in studies]
    assert np.mean([word in wrong for word in words]) <= 0.06


def test_a_true_claim_of_four_statements_is_refuted_as_seldom_as_told() -> None:
    random = np.random.default_rng(9)
    claims: list[ClaimJudgement] = [
        judge_claim(
            [judge(independent(random.normal(1.0, 1.0, 10)), "higher", MARGIN) for _ in range(4)]
        )
        for _ in range(1_000)
    ]
    assert np.mean([claim.word in ("does not hold", "reversed") for claim in claims]) <= 0.12
