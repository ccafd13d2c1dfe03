"""The rule that turns an interval and a margin into a verdict, for statements and for claims.

A statement such as "the accuracy of A is higher than that of B" has an effect, signed so that the
statement wants it positive, and a margin m > 0: the smallest effect that matters. By the effect's
95 % interval it

    holds           if the low end is at least m
    is reversed     if the high end is at most -m
    does not hold   if the high end is below m, and it is not reversed
    cannot be told  else

A statement that denies ("does not beat", "costs nothing") is about the same effect with the ends
turned: it holds if the high end is below m, is reversed if the low end is at least m, and cannot be
told otherwise. That a loss too small to matter is there does not refute it.

A claim of several statements holds if all of them do: an intersection-union test, which needs no
correction and whose p is the largest. It is reversed if all are; else it does not hold if one of
them is refuted. A true claim of k statements is refuted in at most k times 2.5 % of studies.

p belongs to the word. "Holds" and "does not hold" deny that the effect is m, so theirs is the
two-sided p of "the effect is m": below 0.05 iff the word is told. For "reversed" it is that of
"the effect is -m". Over all claims, `corrected` gives Benjamini-Hochberg's p beside the raw one; a
refuted claim of k statements enters it with k times its p.

Berger 1982 (intersection-union tests); Benjamini and Hochberg 1995; Schuirmann 1987 (an absence
is shown by an interval below a margin).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.analysis.deviation import Deviation
from pipeline.analysis.effects import Effect
from pipeline.analysis.families import benjamini_hochberg
from pipeline.analysis.statistics import Estimate, Vector

Word = Literal["holds", "does not hold", "reversed", "cannot tell"]
Stated = Literal["higher", "lower", "not higher", "not lower"]
DENIED: Mapping[Word, Word] = {
    "holds": "reversed",
    "reversed": "holds",
    "does not hold": "holds",
    "cannot tell": "cannot tell",
}
REFUTED: tuple[Word, ...] = ("does not hold", "reversed")


@dataclass(frozen=True)
class Judgement:
    """What the data say of one statement."""

    word: Word
    effect: Effect | Deviation  # as measured, first minus second
    interval: Estimate  # of the effect, 95 %
    stated: Stated
    margin: float
    null: float  # the effect, as measured, that the word denies
    p: float  # of the word, two-sided, against `null`; where it cannot tell, of "holds"


def judge(effect: Effect | Deviation, stated: Stated, margin: float) -> Judgement:
    """The verdict of "first is `stated` than second" from the effect first minus second.

    A deviation is compared with the margin itself. An effect that is not finite, or has no error,
    cannot tell and has a p of nan. Raises ValueError unless `margin` > 0.

    >>> gain = Effect(mean=0.0004, error=0.0002, df=9)  # not shown to differ from zero: p is 0.077
    >>> judge(gain, "higher", margin=0.001).word, judge(gain, "not higher", margin=0.001).word
    ('does not hold', 'holds')
    """
    if not margin > 0:
        raise ValueError(f"`margin` must be > 0, but got {margin}")
    mean, low, high = interval = effect.interval()
    falls = stated.endswith("lower")
    affirmed = word_of(Estimate(-mean, -high, -low) if falls else interval, margin)
    word = DENIED[affirmed] if stated.startswith("not") else affirmed
    # A denial that holds says "less than m", whether or not the effect is reversed as well.
    against = -margin if word == "reversed" == affirmed else margin
    null = -against if falls else against
    return Judgement(word, effect, interval, stated, margin, null, effect.p(null))


def word_of(interval: Estimate, margin: float) -> Word:
    """The rule itself, of an interval that is signed as the statement wants it."""
    if interval.low >= margin:
        return "holds"
    if interval.high <= -margin:
        return "reversed"
    if interval.high < margin:
        return "does not hold"
    return "cannot tell"


@dataclass(frozen=True)
class ClaimJudgement:
    """What the data say of a claim."""

    word: Word
    statements: tuple[Judgement, ...]
    p: float  # of the word: the refuting statement's if it does not hold, else the largest


def judge_claim(statements: Sequence[Judgement]) -> ClaimJudgement:
    """The verdict of a claim of at least one statement; raises ValueError if it has none."""
    if not statements:
        raise ValueError("`statements` must be at least one, but there is none")
    word = joined([statement.word for statement in statements])
    refuting = [statement.p for statement in statements if statement.word in REFUTED]
    p = min(refuting) if word == "does not hold" else _largest(statements, word)
    return ClaimJudgement(word, tuple(statements), p)


def joined(words: Sequence[Word]) -> Word:
    """The word of a claim from those of its statements."""
    if len(set(words)) == 1:
        return words[0]
    return "does not hold" if set(words) & set(REFUTED) else "cannot tell"


def _largest(statements: Sequence[Judgement], word: Word) -> float:
    """Of a claim that cannot be told: of the statements that do not hold as yet."""
    open_ones = [each.p for each in statements if each.word == word]
    return float(np.max(open_ones))


def corrected(claims: Sequence[ClaimJudgement]) -> Vector:
    """Benjamini-Hochberg's p of each claim, shape (m,); nan where a claim has none."""
    factored = [_factor(claim) * claim.p for claim in claims]
    return benjamini_hochberg(np.minimum(factored, 1.0))


def _factor(claim: ClaimJudgement) -> int:
    return len(claim.statements) if claim.word == "does not hold" else 1
