"""Judges the articles' claims: finds the runs of each statement, and applies `verdict_rule`.

A statement such as "the test accuracy of l2 is higher than that of none" is judged on differences
of paired runs (`paired.pairs`), by their 95 % interval and a margin that was fixed beforehand. A
claim consists of one statement or more; its words are those of `verdict_rule`, and "not run" where
runs are missing. A claim that compares a network with itself does not hold, whatever the runs.

Each claim has a verdict for each of its cases: on the article's own data and beyond them.

Beside the interval stand the p of inverted sign flips, which need no normal distribution, and the
number of replicates that would tell a difference as large as the margin from none, in 80 % of
studies. Neither decides a word.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from pipeline.analysis import derived, deviation, inference, paired, power, verdict_rule
from pipeline.analysis.paired import PAIR
from pipeline.analysis.statements import Case, Claim, Side, Statement
from pipeline.analysis.statistics import Estimate
from pipeline.analysis.verdict_rule import REFUTED, ClaimJudgement, Judgement
from pipeline.datasets.task import CLASSIFICATION, Task
from pipeline.formatting import counted
from pipeline.results import task_of

Word = verdict_rule.Word | Literal["not run"]
WORDS: tuple[Word, ...] = ("holds", "does not hold", "reversed", "cannot tell", "not run")
TASK = CLASSIFICATION  # the task of the articles' models
FEW = 5  # a verdict from fewer replicates gets a note


@dataclass(frozen=True)
class Evidence:
    """What the runs show about one statement."""

    statement: Statement
    judgement: Judgement
    n: int  # replicates: draws, splits or, on an article's own points, seeds
    p_flips: float  # of sign flips, against the same null as the judgement's p; nan if n < 9
    needed: int | None = None  # replicates that tell the margin from none, if it cannot tell

    @property
    def word(self) -> verdict_rule.Word:
        """The word of the statement."""
        return self.judgement.word

    @property
    def difference(self) -> Estimate:
        """First minus second, or that over the second, with its 95 % interval."""
        return self.judgement.interval

    @property
    def ruled_out(self) -> float:
        """The size above which an effect as stated or denied is excluded; 0 if any is.

        In the unit of the difference; nan if the interval is.
        """
        low, high = self.difference.low, self.difference.high
        stated = Estimate(np.nan, -high, -low) if self.statement.falls else self.difference
        return power.ruled_out(stated).gain

    @property
    def absent(self) -> bool:
        """Whether the word says that there is no effect worth having."""
        return self.word == ("holds" if self.statement.denies else "does not hold")


@dataclass(frozen=True)
class Verdict:
    """A claim judged in one case. Without `evidence`, `notes` say why nothing was compared."""

    claim: Claim  # in the case's setting
    case: Case
    word: Word
    evidence: tuple[Evidence, ...] = ()
    notes: tuple[str, ...] = ()
    leaks: bool = False  # whether the runs' validation data leak
    curves: Mapping[str, tuple[Estimate, ...]] = field(default_factory=dict)
    """By technique: means of the claim's `curve`, with 95 % intervals."""
    p_corrected: float = np.nan  # Benjamini and Hochberg's, over all claims that were judged

    @property
    def n(self) -> int:
        """The replicates of the statement that has the fewest; 0 if it was not run."""
        return min((evidence.n for evidence in self.evidence), default=0)

    @property
    def judgement(self) -> ClaimJudgement:
        """The statements' judgements as that of the claim, with its p; needs `evidence`."""
        return verdict_rule.judge_claim([evidence.judgement for evidence in self.evidence])

    @property
    def deciding(self) -> Evidence:
        """The evidence whose p is that of the claim; needs `evidence`."""
        words = REFUTED if self.word == "does not hold" else (self.word,)
        open_ones = [evidence for evidence in self.evidence if evidence.word in words]
        pick = min if self.word == "does not hold" else max
        return pick(open_ones, key=lambda evidence: np.nan_to_num(evidence.judgement.p, nan=2.0))


Runs = Mapping[str, pd.DataFrame]  # study -> its runs, as read by `results.read_runs`


def verdicts(claim: Claim, runs: Runs) -> tuple[Verdict, ...]:
    """The verdict in each of the claim's cases, one or two."""
    return tuple(judge(claim, runs, case) for case in claim.cases)


def beside(claim: Claim, runs: Runs) -> tuple[Verdict, ...]:
    """The verdicts to compare with, of cases that were run: other settings and studies."""
    others = (judge(claim, runs, case) for case in claim.other_cases)
    return tuple(verdict for verdict in others if verdict.evidence)


def judge(claim: Claim, runs: Runs, case: Case | None = None) -> Verdict:
    """The verdict on a claim in a case, by default its first one."""
    case = case or claim.cases[0]
    if claim.refuted_by:
        return Verdict(claim, case, "does not hold", notes=(claim.refuted_by,))
    claim = claim.at(case.setting)
    reasons = tuple(_reasons_not_to_judge(claim, case.study, runs))
    if reasons:
        return Verdict(claim, case, "not run", notes=reasons)
    frame = runs[case.study]
    evidence = tuple(find(statement, frame) for statement in claim.statements)
    sides = dict.fromkeys(side for each in claim.statements for side in each.sides)
    compared = pd.concat(_runs_of(side, frame, "leaks", "diverged") for side in sides)
    leaks = bool(compared["leaks"].any())
    return Verdict(
        claim,
        case,
        verdict_rule.joined([shown.word for shown in evidence]),
        evidence,
        tuple(_notes(evidence, leaks, int(compared["diverged"].sum()))),
        leaks,
        curves=_curves(claim, frame),
    )


def _curves(claim: Claim, frame: pd.DataFrame) -> dict[str, tuple[Estimate, ...]]:
    """The means of the claim's curve with their intervals, if the runs have all its measures."""
    if not claim.curve or not {*claim.curve} <= {*frame}:
        return {}
    sides = dict.fromkeys(side for each in claim.statements for side in each.sides)
    return {
        side.technique: tuple(
            paired.pairs(_runs_of(side, frame, measure), None, measure).effect.interval()
            for measure in claim.curve
        )
        for side in sides
    }


def _reasons_not_to_judge(claim: Claim, study: str, runs: Runs) -> Iterator[str]:
    """Why a claim cannot be judged; yields nothing if it can."""
    if claim.needs:
        yield f"it needs {claim.needs}"
        return
    if study not in runs:
        yield f"no runs of {study}{_made_of(study)}"
        return
    task = task_of(runs[study])
    if any(not _comparable(statement.measure, task) for statement in claim.statements):
        about = TASK.score.title
        yield f"the models of {study} {task.wording.models}, and the claim is about {about}"
        return
    sides = dict.fromkeys(side for statement in claim.statements for side in statement.sides)
    absent = [side for side in sides if not _where(side, runs[study]).any()]
    for side in absent:
        made_of = _made_of(side.technique)
        yield f"no {side.setting} runs of {side.technique} on {study}{made_of}"
    measures = dict.fromkeys(statement.measure for statement in claim.statements)
    unmeasured = [measure for measure in measures if measure not in runs[study]]
    for measure in unmeasured:
        yield f"the runs on {study} have no {measure.replace('_', ' ')}"
    if absent or unmeasured:
        return
    if not all(_in_common(statement, runs[study]) for statement in claim.statements):
        yield f"the runs to compare on {study} have no pair in common"


def _made_of(name: str) -> str:
    """What rows of this technique or study need, if no run trains it."""
    return f", which need {derived.NEEDS[name]}" if name in derived.NEEDS else ""


def _comparable(measure: str, task: Task) -> bool:
    """Whether a measure means the same in `task` as in the task of the articles."""
    return task.measures.get(measure) == TASK.measures[measure]


def _where(side: Side, frame: pd.DataFrame) -> "pd.Series[bool]":
    """Which rows are runs of this side."""
    return (frame["technique"] == side.technique) & (frame["setting"] == side.setting)


def _runs_of(side: Side, frame: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """These columns of the runs of one side, and those that pair them."""
    # Not all columns: to select rows of a table this wide takes fifty times as long.
    runs = frame.loc[_where(side, frame), [*PAIR, "overlap", *columns]]
    timed = [name for name in columns if name == inference.COLUMN]  # only models that are kept
    return runs.dropna(subset=timed) if timed else runs


def _in_common(statement: Statement, frame: pd.DataFrame) -> bool:
    keys = [_runs_of(side, frame, statement.measure)[[*PAIR]] for side in statement.sides]
    return not keys[0].merge(keys[-1]).empty


def find(statement: Statement, frame: pd.DataFrame) -> Evidence:
    """What the runs of one study show about a statement; they have at least one pair."""
    measure, margin = statement.measure, statement.margin.value
    first, *second = (_runs_of(side, frame, measure) for side in statement.sides)
    pairs = paired.pairs(first, second[0] if second else None, measure, statement.relative)
    if statement.of == "deviation":
        of_repeats = verdict_rule.judge(deviation.of_repeats(pairs), statement.stated, margin)
        return Evidence(statement, of_repeats, pairs.replicates, p_flips=np.nan)
    judgement = verdict_rule.judge(pairs.effect, statement.stated, margin)
    flips = pairs.flips(np.random.default_rng(0))
    return Evidence(
        statement,
        judgement,
        n=pairs.replicates,
        p_flips=flips.p(judgement.null) if flips else np.nan,
        needed=pairs.needed(margin) if judgement.word == "cannot tell" else None,
    )


def _notes(evidence: tuple[Evidence, ...], leaks: bool, diverged: int) -> Iterator[str]:
    """What a reader must know about a verdict beside its numbers."""
    n = min(shown.n for shown in evidence)
    if n < FEW:
        yield f"{n} replicate{'s' if n > 1 else ''} only"
    if any(np.isnan(shown.difference.mean) for shown in evidence):
        yield "a value is not finite, so nothing can be concluded"
    if diverged:
        one, several = "run diverged and counts with its", "runs diverged and count with their"
        yield f"{counted(diverged, one, several)} values before that"
    if leaks:
        yield "validation data leak"
