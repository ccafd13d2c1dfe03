"""What a claim is: statements about the runs of techniques, and where each is to be judged.

A claim consists of statements such as "the test accuracy of l2 is higher than that of none", each
with the name of a margin in margins.yaml: the smallest difference that matters. `verdict_rule` has
the rule, `judging` applies it, `claims` lists all claims.

A verdict answers one of three questions, which are kept apart:

- *there*: is it real where the article saw it? Its own data and values, many seeds.
- *beyond*: does it hold elsewhere? The same values on fresh draws, or on another data set.
- *use*: does it hold at values that were chosen on validation data?
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from pipeline.analysis.margins import Margin, margin
from pipeline.analysis.verdict_rule import Stated

Setting = Literal["article", "article_fresh", "tuned"]
Question = Literal["there", "beyond", "use"]
Standing = Literal["measured", "by construction", "by argument"]

OWN_DATA = ("circles", "mnist_article", "fashion_article")  # studies of an article's own setting
FRESH = ("circles",)  # those of them whose data can be drawn anew


@dataclass(frozen=True)
class Side:
    """One technique in one setting."""

    technique: str
    setting: Setting = "article"


NONE = Side("none")


@dataclass(frozen=True)
class Statement:
    """`first` has a higher or lower value of a measure than `second`; or it has not.

    `measure` is a column of runs.csv. With `of` "deviation" the statement is about the standard
    deviation of `first` over repeats, and `second` is None.
    """

    first: Side
    second: Side | None  # None: compared with zero
    measure: str
    stated: Stated
    matters: str  # the smallest difference that matters: its name in margins.yaml
    of: Literal["mean", "deviation"] = "mean"

    @property
    def margin(self) -> Margin:
        """The smallest difference that matters. Raises UserError if margins.yaml has no such."""
        return margin(self.matters)

    @property
    def relative(self) -> bool:
        """Whether the difference is a share of the second side's value."""
        return self.margin.kind == "ratio"

    @property
    def denies(self) -> bool:
        """Whether it states that there is no effect."""
        return self.stated.startswith("not")

    @property
    def falls(self) -> bool:
        """Whether the effect, stated or denied, is a lower value."""
        return self.stated.endswith("lower")

    @property
    def sides(self) -> tuple[Side, ...]:
        """The one or two sides that are compared."""
        return (self.first,) if self.second is None else (self.first, self.second)

    def at(self, setting: Setting) -> "Statement":
        """The same statement about another setting."""
        second = None if self.second is None else replace(self.second, setting=setting)
        return replace(self, first=replace(self.first, setting=setting), second=second)


@dataclass(frozen=True)
class Case:
    """Where a claim is judged, and which question that answers."""

    question: Question
    study: str
    setting: Setting


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence of an article, or of its readers, and the statements about runs that test it."""

    id: str
    article: str  # A to D, or K for Keras
    sentence: str
    explained: str  # for who has not read the article
    source: str  # the article's own evidence
    reading: str  # how the sentence is judged here
    studies: tuple[str, ...]  # those that can judge it, the most telling first
    statements: tuple[Statement, ...] = ()
    standing: Standing = "measured"
    refuted_by: str = ""  # why it does not hold, whatever the runs
    needs: str = ""  # what it takes to judge it, where there are no statements yet
    curve: tuple[str, ...] = ()  # measures to show beside, in their order

    @property
    def setting(self) -> Setting:
        """The setting of its first side."""
        return self.statements[0].first.setting if self.statements else "article"

    @property
    def techniques(self) -> tuple[str, ...]:
        """The techniques that it compares."""
        sides = (side for statement in self.statements for side in statement.sides)
        return tuple(dict.fromkeys(side.technique for side in sides))

    @property
    def cases(self) -> tuple[Case, ...]:
        """Where it is judged first, and beyond that if it was judged on an article's own data."""
        first, *others = self._all_cases()
        beyond = [case for case in others if case.question == "beyond"]
        return (first, *beyond[:1]) if first.question == "there" else (first,)

    @property
    def other_cases(self) -> tuple[Case, ...]:
        """Where else it can be judged, to compare with."""
        return tuple(case for case in self._all_cases() if case not in self.cases)

    def _all_cases(self) -> list[Case]:
        given = [case for study in self.studies for case in _as_given(study)]
        tuned = [Case("use", study, "tuned") for study in self.studies]
        return [*tuned, *given] if self.setting == "tuned" else [*given, *tuned]

    def at(self, setting: Setting) -> "Claim":
        """The same claim about another setting."""
        return replace(self, statements=tuple(each.at(setting) for each in self.statements))


def _as_given(study: str) -> Iterator[Case]:
    """The cases of a study at the article's values."""
    yield Case("there" if study in OWN_DATA else "beyond", study, "article")
    if study in FRESH:
        yield Case("beyond", study, "article_fresh")


def with_techniques(claim: Claim, names: Mapping[str, str]) -> tuple[Statement, ...]:
    """The claim's statements with other techniques in the place of those in `names`."""

    def renamed(side: Side) -> Side:
        return replace(side, technique=names.get(side.technique, side.technique))

    return tuple(
        replace(
            statement,
            first=renamed(statement.first),
            second=None if statement.second is None else renamed(statement.second),
        )
        for statement in claim.statements
    )


# Statements that many claims make


def beats(first: Side, second: Side, matters: str) -> Statement:
    """The test accuracy of the first is higher."""
    return Statement(first, second, "test_accuracy", "higher", matters)


def does_not_beat(first: Side, second: Side, matters: str) -> Statement:
    """The test accuracy of the first is not higher."""
    return Statement(first, second, "test_accuracy", "not higher", matters)


def as_good(first: Side, second: Side, matters: str) -> Statement:
    """The test accuracy of the first is not lower."""
    return Statement(first, second, "test_accuracy", "not lower", matters)
