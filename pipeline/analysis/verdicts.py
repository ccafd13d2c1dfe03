"""Verdicts on the articles' claims as a table: for the terminal, as CSV, for docs/claims.md."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.analysis import verdict_rule
from pipeline.analysis.claims import CLAIMS
from pipeline.analysis.judging import WORDS, Evidence, Runs, Verdict, beside
from pipeline.analysis.judging import verdicts as verdicts_on
from pipeline.analysis.statements import FRESH, Claim, Side, Statement
from pipeline.datasets.task import CLASSIFICATION
from pipeline.files import replace_csv
from pipeline.formatting import p_text, points

MEASURES = CLASSIFICATION.measures  # the articles' models are classifiers
NO_BREAK = "\N{NO-BREAK SPACE}"
STANDING = {
    "by construction": "true by construction",
    "by argument": "claimed by argument, which runs can only support",
}


@dataclass(frozen=True)
class Judged:
    """A claim with its verdicts: on the article's own data and beyond them, and others beside."""

    claim: Claim
    verdicts: tuple[Verdict, ...]  # of the claim's cases, one or two
    beside: tuple[Verdict, ...]

    @property
    def shown(self) -> tuple[Verdict, ...]:
        """The verdicts, or the first one beside if none of them was run and one beside was."""
        if self.beside and not any(_told(verdict) for verdict in self.verdicts):
            return (*self.verdicts, self.beside[0])
        return self.verdicts

    @property
    def told(self) -> tuple[Verdict, ...]:
        """The verdicts that were reached; the first one beside if there is none, if it was."""
        reached = tuple(filter(_told, self.verdicts))
        return reached or self.beside[:1]


def _told(verdict: Verdict) -> bool:
    return verdict.word != "not run"


def judge_all(runs: Runs, claims: Sequence[Claim] = CLAIMS) -> list[Judged]:
    """The verdicts on every claim, in the order of the articles."""
    judged = [verdicts_on(claim, runs) for claim in claims]
    p = iter(corrected_p([verdict for verdicts in judged for verdict in verdicts]))
    return [
        Judged(
            claim,
            tuple(replace(verdict, p_corrected=next(p)) for verdict in verdicts),
            beside(claim, runs),
        )
        for claim, verdicts in zip(claims, judged, strict=True)
    ]


def corrected_p(verdicts: Sequence[Verdict]) -> list[float]:
    """Benjamini and Hochberg's p of each verdict; nan for one without evidence.

    What is true by construction is no discovery and is not counted.
    """
    counted = [
        bool(each.evidence) and each.claim.standing != "by construction" for each in verdicts
    ]
    told = [verdict.judgement for verdict, counts in zip(verdicts, counted, strict=True) if counts]
    corrected = iter(verdict_rule.corrected(told) if told else ())
    return [float(next(corrected)) if counts else np.nan for counts in counted]


def counts(judged: Sequence[Judged]) -> str:
    """The number of verdicts of each word, such as holds 3, reversed 1, not run 12."""
    words = [verdict.word for each in judged for verdict in each.verdicts]
    return ", ".join(f"{word} {words.count(word)}" for word in WORDS if word in words)


# In words


def subject(evidence: Evidence) -> str:
    """What was compared, such as: test accuracy, l2 against none."""
    names = [side.technique for side in evidence.statement.sides]
    return f"{quantity(evidence)}, {' against '.join(names)}"


def quantity(evidence: Evidence) -> str:
    """What was measured, such as: standard deviation of test accuracy."""
    title = MEASURES[evidence.statement.measure].title
    return f"standard deviation of {title}" if evidence.statement.of == "deviation" else title


def estimate(evidence: Evidence) -> str:
    """The difference and its interval, such as +0.31 points [+0.12, +0.48]."""
    mean, low, high = (_written(evidence, value) for value in evidence.difference)
    return f"{mean}{_unit(evidence)} [{low}, {high}]"


def result(evidence: Evidence) -> str:
    """The difference, its interval and p, and for a null what it rules out.

    Such as +0.01 points [-0.02, +0.04], p 0.001; gains above 0.04 points ruled out.
    """
    parts = [estimate(evidence), f"p{NO_BREAK}{_p(evidence.judgement.p)}"]
    flips = evidence.p_flips
    by_flips = f" (sign flips {_p(flips)})" if np.isfinite(flips) else ""
    return "; ".join([", ".join(parts) + by_flips, *_ruled_out(evidence), *_needed(evidence)])


def _ruled_out(evidence: Evidence) -> Iterator[str]:
    """What an effect that is not there cannot exceed."""
    if not evidence.absent:
        return
    effects = _effects(evidence.statement)
    size = evidence.ruled_out
    above = f" above {_size(evidence, size)}" if size > 0 else ""
    yield f"{effects if above else f'all {effects}'}{above} ruled out"


def _effects(statement: Statement) -> str:
    """The word for effects as a statement has or denies them: gains, rises or falls."""
    if statement.of == "deviation":
        return "deviations"
    if statement.falls:
        return "falls"
    return "gains" if MEASURES[statement.measure].better == "higher" else "rises"


def _needed(evidence: Evidence) -> Iterator[str]:
    """How many replicates would tell the margin from none, where these cannot."""
    replicates = evidence.needed
    if replicates is not None and replicates > evidence.n:
        yield f"to tell {matters(evidence)} from none takes {replicates:,} replicates"


def matters(evidence: Evidence) -> str:
    """The smallest difference that matters, such as 0.1 points or 5 %."""
    return _size(evidence, evidence.judgement.margin)


def _size(evidence: Evidence, size: float) -> str:
    """A size without its sign, rounded up, since smaller ones are not excluded."""
    share = evidence.statement.relative or MEASURES[evidence.statement.measure].share
    scaled = round(100 * size if share else size, 9)
    digits = 1 if scaled >= 0.1 else 3
    text = f"{np.ceil(scaled * 10**digits) / 10**digits:g}{_unit(evidence)}"
    return "1 point" if text == "1 points" else text


def _written(evidence: Evidence, value: float) -> str:
    measure = MEASURES[evidence.statement.measure]
    if evidence.statement.of == "deviation":
        return measure.value(value)
    return points(value) if evidence.statement.relative else measure.difference(value)


def _unit(evidence: Evidence) -> str:
    relative = evidence.statement.relative
    return " %" if relative else MEASURES[evidence.statement.measure].difference_unit


def _p(p: float) -> str:
    return p_text(p).replace(" ", NO_BREAK)


def where(verdict: Verdict, title: str = "") -> str:
    """What a verdict is about, such as circles, fresh draws; `title`: of the study."""
    case = verdict.case
    name = title or case.study
    if case.question == "use":
        return f"{name}, tuned values"
    if case.question == "there":
        return f"{name}, the article's own data"
    return f"{name}, fresh draws" if case.study in FRESH else name


def brief(verdict: Verdict) -> str:
    """The one number that decides, such as test accuracy: +4.87 points [+3.91, +5.83]."""
    if not verdict.evidence:
        return "; ".join(verdict.notes)
    evidence = verdict.deciding
    told = [f"{quantity(evidence)} {estimate(evidence)}"]
    return "; ".join([*told, *_ruled_out(evidence)])


def full(evidence: Evidence, verdict: Verdict) -> str:
    """A statement's result, with its own word if the claim has several statements."""
    word = f": {evidence.word}" if len(verdict.evidence) > 1 else ""
    return f"{subject(evidence)}: {result(evidence)}{word}"


def remarks(verdict: Verdict) -> list[str]:
    """What kind of claim it is, if it is not a matter of measuring, and the corrected p."""
    standing = verdict.claim.standing
    told = [STANDING[standing]] if standing in STANDING else []
    if np.isfinite(verdict.p_corrected):
        told.append(f"p over all claims{NO_BREAK}{_p(verdict.p_corrected)}")
    return told


def curve(verdict: Verdict) -> list[tuple[str, list[str]]]:
    """Of each technique, the means of the claim's curve as text; empty if it has none."""
    measures = [MEASURES[measure] for measure in verdict.claim.curve]
    return [
        (
            technique,
            [measure.value(mean.mean) for measure, mean in zip(measures, means, strict=True)],
        )
        for technique, means in verdict.curves.items()
    ]


# The terminal


def told(judged: Sequence[Judged], page: str) -> str:
    """Counts of the verdicts, in one line that says where the claims are; `page`: the overview."""
    return f"The articles' claims: {counts(judged)}; each of them: {page}#claims"


# Files


def frame(judged: Sequence[Judged]) -> pd.DataFrame:
    """One row per claim, case and statement; one without numbers if it was not run."""
    return pd.DataFrame(
        [
            _identity(verdict, role) | numbers
            for each in judged
            for role, verdicts in (("verdict", each.verdicts), ("beside", each.beside))
            for verdict in verdicts
            for numbers in [_numbers(evidence) for evidence in verdict.evidence] or [{}]
        ]
    )


def write(judged: Sequence[Judged], path: Path) -> None:
    """Writes `frame` as CSV, rounded to ten digits so that the file is equal on all machines."""
    replace_csv(path, frame(judged), digits=10)


def _identity(verdict: Verdict, role: str) -> dict[str, Any]:
    claim, case = verdict.claim, verdict.case
    return {
        "id": claim.id,
        "article": claim.article,
        "claim": claim.sentence,
        "explained": claim.explained,
        "reading": claim.reading,
        "source": claim.source,
        "standing": claim.standing,
        "role": role,
        "question": case.question,
        "study": case.study,
        "setting": case.setting,
        "verdict": verdict.word,
        "n": verdict.n,
        "leaks": verdict.leaks,
        "notes": "; ".join(verdict.notes),
        "experiment": experiment(verdict),
        "p": verdict.judgement.p if verdict.evidence else np.nan,
        "p_corrected": verdict.p_corrected,
    }


def experiment(verdict: Verdict) -> str:
    """The MLflow experiment with the runs; empty if there are none."""
    return f"regularization/{verdict.case.study}" if verdict.evidence else ""


def _numbers(evidence: Evidence) -> dict[str, Any]:
    statement = evidence.statement
    return {
        "measure": statement.measure,
        "of": statement.of,
        "first": _name(statement.first),
        "second": _name(statement.second),
        "stated": statement.stated,
        "relative": statement.relative,
        "margin": statement.matters,
        "matters": evidence.judgement.margin,
        "shown": evidence.word,
        "difference": evidence.difference.mean,
        "difference_low": evidence.difference.low,
        "difference_high": evidence.difference.high,
        "p_statement": evidence.judgement.p,
        "p_flips": evidence.p_flips,
        "ruled_out": evidence.ruled_out if evidence.absent else np.nan,
        "needed": evidence.needed,
    }


def _name(side: Side | None) -> str:
    return "" if side is None else side.technique


def markdown(judged: Sequence[Judged], measured: str) -> str:
    """The table for docs/claims.md; `measured` is when and where: 2026-11-20 on 2 cores."""
    head = (
        f"Judged {measured}.\n\n"
        "| id | claim | data | verdict | what the runs show: difference, 95 % interval, p | n |\n"
        "|---|---|---|---|---|---|\n"
    )
    return f"{head}{''.join(line for each in judged for line in _lines(each))}\n"


def _lines(judged: Judged) -> Iterator[str]:
    """A line for each verdict; the first one explains the claim."""
    claim = judged.claim
    sentence = f"{claim.sentence}<br>{claim.explained}<br>*{claim.reading}*"
    for verdict in judged.shown:
        shown = [full(evidence, verdict) for evidence in verdict.evidence]
        notes = "; ".join([*remarks(verdict), *verdict.notes])
        curves = [f"{name}: {', '.join(values)} %" for name, values in curve(verdict)]
        cells = (
            claim.id,
            sentence,
            where(verdict),
            f"**{verdict.word}**",
            "<br>".join(filter(None, [*shown, *curves, notes])),
            str(verdict.n) if shown else "",
        )
        yield f"| {' | '.join(cells)} |\n"
        sentence = ""
