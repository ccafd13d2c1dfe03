"""The rule that judges the articles' claims from final runs.

A claim consists of statements such as "the test accuracy of l2 is higher than that of none". A
statement is judged on the differences of pairs of runs with the same seed, with the sign changed
if it says "lower", so that positive differences support it. D is their mean. The sign-flip test of
`statistics` answers two questions at 0.05:

1. Is there a difference? D is significantly above or below zero.
2. Is it too small to matter? D is significantly below `matters`, the smallest difference worth
   having, which each statement fixes before any run is seen.

    D below zero                               reversed: the opposite was shown
    else D below the smallest that matters     does not hold: no difference worth having
    else D above zero                          holds
    else                                       cannot tell

A statement that denies an effect ("does not beat", "at no loss") is the negation of the effect: it
holds if the effect is reversed or does not hold, is reversed if the effect holds, and cannot be
told if the effect cannot.

A claim of several statements holds if all of them hold, is reversed if all are reversed, does not
hold if one of them is shown to be wrong, and cannot be told otherwise. Without runs it is "not
run". A claim that compares a network with itself does not hold, whatever the runs.

The interval shown beside a verdict is a BCa interval of the difference. With few pairs it is a
little too narrow, so it can exclude zero where the test cannot tell; the test decides. Verdicts
are not corrected for the number of claims: of 20 claims without any effect, one "holds" or is
"reversed" by chance.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from pipeline.analysis import statistics
from pipeline.analysis.claims import Claim, Side, Statement
from pipeline.analysis.statistics import Estimate, Vector
from pipeline.analysis.summary import SIGNIFICANCE
from pipeline.datasets.task import CLASSIFICATION, Task
from pipeline.results import task_of

Word = Literal["holds", "does not hold", "reversed", "cannot tell", "not run"]
WORDS: tuple[Word, ...] = ("holds", "does not hold", "reversed", "cannot tell", "not run")
DENIED: Mapping[Word, Word] = {
    "holds": "reversed",
    "reversed": "holds",
    "does not hold": "holds",
    "cannot tell": "cannot tell",
}
TASK = CLASSIFICATION  # the task of the articles' models
USUAL_PAIRS = 10  # a verdict from fewer pairs gets a note


@dataclass(frozen=True)
class Evidence:
    """What the runs show about one statement."""

    statement: Statement
    word: Word
    difference: Estimate  # first minus second, or that over the second; 95 % BCa interval
    p: float  # of the sign-flip test of "no difference"
    p_matters: float  # of the sign-flip test of "a difference that just matters"
    n: int  # pairs

    @property
    def rests_on_size(self) -> bool:
        """Whether the word follows from the second question: no difference that matters."""
        absent: Word = "holds" if self.statement.denies else "does not hold"
        return self.word == absent and not (self.p < SIGNIFICANCE and self._against)

    @property
    def _against(self) -> bool:
        return (self.difference.mean > 0) == self.statement.falls


@dataclass(frozen=True)
class Verdict:
    """A claim judged on one study. Without `evidence`, `notes` say why nothing was compared."""

    claim: Claim
    study: str
    word: Word
    evidence: tuple[Evidence, ...] = ()
    notes: tuple[str, ...] = ()
    leaks: bool = False  # whether the runs' validation data leak

    @property
    def n(self) -> int:
        """The pairs of the statement that has the fewest; 0 if it was not run."""
        return min((evidence.n for evidence in self.evidence), default=0)


Runs = Mapping[str, pd.DataFrame]  # study -> its runs, as read by `results.read_runs`


def judge(claim: Claim, runs: Runs) -> Verdict:
    """The verdict on a claim, from the runs of its first study."""
    if claim.refuted_by:
        return Verdict(claim, "", "does not hold", notes=(claim.refuted_by,))
    return _judge(claim, claim.studies[0], runs)


def beside(claim: Claim, runs: Runs) -> tuple[Verdict, ...]:
    """The verdicts to compare with: in the other setting and in the claim's other studies."""
    if not claim.statements:
        return ()
    variants = dict.fromkeys((claim, claim.at("article"), claim.at("tuned")))
    _, *others = ((variant, study) for study in claim.studies for variant in variants)
    verdicts = (_judge(variant, study, runs) for variant, study in others)
    return tuple(verdict for verdict in verdicts if verdict.word != "not run")


def _judge(claim: Claim, study: str, runs: Runs) -> Verdict:
    reasons = tuple(_reasons_not_to_judge(claim, study, runs))
    if reasons:
        return Verdict(claim, study, "not run", notes=reasons)
    frame = runs[study]
    evidence = tuple(find(statement, frame) for statement in claim.statements)
    sides = {side for statement in claim.statements for side in statement.sides}
    compared = pd.concat(_runs_of(side, frame) for side in sides)
    leaks = bool(compared["leaks"].any())
    notes = tuple(_notes(evidence, leaks, int(compared["diverged"].sum())))
    return Verdict(claim, study, _combined(evidence), evidence, notes, leaks)


def _reasons_not_to_judge(claim: Claim, study: str, runs: Runs) -> Iterator[str]:
    """Why a claim cannot be judged; yields nothing if it can."""
    if study not in runs:
        yield f"no runs of {study}"
        return
    task = task_of(runs[study])
    if any(not _comparable(statement.measure, task) for statement in claim.statements):
        about = TASK.score.title
        yield f"the models of {study} {task.wording.models}, and the claim is about {about}"
        return
    sides = dict.fromkeys(side for statement in claim.statements for side in statement.sides)
    absent = [side for side in sides if _runs_of(side, runs[study]).empty]
    for side in absent:
        yield f"no {side.setting} runs of {side.technique} on {study}"
    measures = dict.fromkeys(statement.measure for statement in claim.statements)
    unmeasured = [measure for measure in measures if measure not in runs[study]]
    for measure in unmeasured:
        yield f"the runs on {study} have no {measure.replace('_', ' ')}"
    if absent or unmeasured:
        return
    if not all(len(_differences(statement, runs[study])) for statement in claim.statements):
        yield f"the runs to compare on {study} share no seed"


def _comparable(measure: str, task: Task) -> bool:
    """Whether a measure means the same in `task` as in the task of the articles."""
    return task.measures.get(measure) == TASK.measures[measure]


def _runs_of(side: Side, frame: pd.DataFrame) -> pd.DataFrame:
    """The runs of one side, indexed by seed."""
    runs = frame[(frame["technique"] == side.technique) & (frame["setting"] == side.setting)]
    return runs.set_index("seed").sort_index()


def _differences(statement: Statement, frame: pd.DataFrame) -> Vector:
    """First minus second on the seeds that both have, shape (n,)."""
    values = [_runs_of(side, frame)[statement.measure].astype(float) for side in statement.sides]
    if len(values) == 1:
        return np.asarray(values[0], np.float64)
    pairs = pd.concat(values, axis=1, join="inner").to_numpy(np.float64)
    differences: Vector = pairs[:, 0] - pairs[:, 1]
    if statement.relative:
        with np.errstate(divide="ignore", invalid="ignore"):  # a fraction of zero is not finite
            differences = differences / np.abs(pairs[:, 1])
    return differences


def find(statement: Statement, frame: pd.DataFrame) -> Evidence:
    """What the runs of one study show about a statement; they have at least one pair."""
    differences = _differences(statement, frame)
    word, p, p_matters = decide(differences, statement)
    interval = statistics.mean_interval(differences, np.random.default_rng(0))
    return Evidence(statement, word, interval, p, p_matters, len(differences))


def decide(differences: Vector, statement: Statement) -> tuple[Word, float, float]:
    """The rule of this module: the word, and the p-values of its two questions.

    >>> beats = Statement(Side("l2"), Side("none"), "test_accuracy", "higher", matters=0.01)
    >>> decide(np.array([0.02, 0.03, 0.02, 0.04, 0.03, 0.02]), beats)
    ('holds', 0.03125, 0.03125)
    """
    supporting = -differences if statement.falls else differences
    p, sign = _significant_sign(supporting)
    p_matters, sign_beyond = _significant_sign(supporting - statement.matters)
    word: Word = "cannot tell"
    if sign < 0:
        word = "reversed"
    elif sign_beyond < 0:
        word = "does not hold"
    elif sign > 0:
        word = "holds"
    return (DENIED[word] if statement.denies else word), p, p_matters


def _significant_sign(differences: Vector) -> tuple[float, float]:
    """The sign-flip p-value, and the sign of the mean: -1 or 1, or 0 if not significant."""
    p = statistics.sign_flip_p(differences, np.random.default_rng(0))
    return p, float(np.sign(differences.mean())) if p < SIGNIFICANCE else 0.0


def _combined(evidence: tuple[Evidence, ...]) -> Word:
    """The word of a claim from those of its statements."""
    words = {shown.word for shown in evidence}
    if len(words) == 1:
        return evidence[0].word
    return "does not hold" if words & {"does not hold", "reversed"} else "cannot tell"


def _notes(evidence: tuple[Evidence, ...], leaks: bool, diverged: int) -> Iterator[str]:
    """What a reader must know about a verdict beside its numbers."""
    n = min(shown.n for shown in evidence)
    if n < USUAL_PAIRS:
        few = f"{n} pair{'s' if n > 1 else ''} only"
        yield few if n >= statistics.FEWEST_PAIRS else f"{few}: too few to show a difference"
    if any(np.isnan(shown.p) for shown in evidence):
        yield "a value is not finite, so nothing can be concluded"
    if diverged:
        yield f"{diverged} runs diverged and count with their values before that"
    if leaks:
        yield "validation data leak"
