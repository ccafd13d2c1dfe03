"""Verdicts on the articles' claims as a table: for the terminal, as CSV, for docs/claims.md."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.analysis import verdict_rule
from pipeline.analysis.claims import CLAIMS, Claim, Side, Statement
from pipeline.analysis.judging import Evidence, Runs, Verdict, beside, judge
from pipeline.datasets.task import CLASSIFICATION
from pipeline.files import replace_csv
from pipeline.formatting import p_text, points

MEASURES = CLASSIFICATION.measures  # the articles' models are classifiers
NO_BREAK = "\N{NO-BREAK SPACE}"
WIDTH = 100  # of the terminal's table


@dataclass(frozen=True)
class Judged:
    """A claim's verdict, and the verdicts of other settings and studies."""

    verdict: Verdict
    beside: tuple[Verdict, ...]
    p_corrected: float = np.nan  # Benjamini and Hochberg's, over all claims that were judged

    @property
    def shown(self) -> Verdict:
        """The verdict, or the first one beside it if the verdict has no runs."""
        return self.verdict if self.verdict.evidence or not self.beside else self.beside[0]

    @property
    def claim(self) -> Claim:
        """The claim in the article's own setting."""
        return self.verdict.claim


def judge_all(runs: Runs) -> list[Judged]:
    """The verdict on every claim, in the order of the articles."""
    verdicts = [judge(claim, runs) for claim in CLAIMS]
    p = corrected_p(verdicts)
    return [
        Judged(verdict, beside(claim, runs), corrected)
        for claim, verdict, corrected in zip(CLAIMS, verdicts, p, strict=True)
    ]


def corrected_p(verdicts: Sequence[Verdict]) -> list[float]:
    """Benjamini and Hochberg's p of each verdict; nan for one without evidence."""
    told = [verdict for verdict in verdicts if verdict.evidence]
    corrected = iter(verdict_rule.corrected([verdict.judgement for verdict in told]))
    return [float(next(corrected)) if verdict.evidence else np.nan for verdict in verdicts]


# In words


def subject(evidence: Evidence) -> str:
    """What was compared, such as: test accuracy, l2 against none."""
    statement = evidence.statement
    names = [side.technique for side in statement.sides]
    return f"{MEASURES[statement.measure].title}, {' against '.join(names)}"


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
    if statement.falls:
        return "falls"
    return "gains" if MEASURES[statement.measure].better == "higher" else "rises"


def _needed(evidence: Evidence) -> Iterator[str]:
    """How many replicates would show the margin, where the runs do not tell."""
    if evidence.word != "cannot tell" or evidence.needed is None:
        return
    size, replicates = matters(evidence), evidence.needed.expected
    if replicates is None:
        yield f"no number of such replicates would show {size}"
    elif replicates > evidence.n:
        yield f"{size} would take {replicates:,} replicates"


def matters(evidence: Evidence) -> str:
    """The smallest difference that matters, such as 0.1 points or 5 %."""
    return _size(evidence, evidence.judgement.margin)


def _size(evidence: Evidence, size: float) -> str:
    """A size without its sign, rounded up, since smaller ones are not excluded."""
    share = evidence.statement.relative or MEASURES[evidence.statement.measure].share
    scaled = round(100 * size if share else size, 9)
    digits = 1 if scaled >= 0.1 else 3
    return f"{np.ceil(scaled * 10**digits) / 10**digits:g}{_unit(evidence)}"


def _written(evidence: Evidence, value: float) -> str:
    write = (
        points if evidence.statement.relative else MEASURES[evidence.statement.measure].difference
    )
    return write(value)


def _unit(evidence: Evidence) -> str:
    relative = evidence.statement.relative
    return " %" if relative else MEASURES[evidence.statement.measure].difference_unit


def _p(p: float) -> str:
    return p_text(p).replace(" ", NO_BREAK)


def where_judged(verdict: Verdict) -> str:
    """Study and setting, such as circles, article setting; empty if it needs no runs."""
    setting = verdict.claim.setting
    return f"{verdict.study}, {setting} setting" if setting else ""


# The terminal


def table(judged: Sequence[Judged]) -> str:
    """A compact table: a line for each statement of each claim, or why it was not run."""
    head = ("claim", "verdict", "n", "what the runs show")
    cells = [head, *(row for judgement in judged for row in _cells(judgement.shown))]
    widths = [max(len(row[column]) for row in cells) for column in range(3)]
    indent = " " * (sum(widths) + 2 * len(widths))
    lines = []
    for row in cells:
        start = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        wrapped = textwrap.wrap(row[3], max(WIDTH - len(indent), 40)) or [""]
        lines += [f"{start}  {wrapped[0]}".rstrip(), *(indent + text for text in wrapped[1:])]
    rule = "─" * max(map(len, lines))
    title = "The articles' claims, judged in the article's own setting where it was run"
    return "\n".join([title, lines[0], rule, *lines[1:]])


def _cells(verdict: Verdict) -> list[tuple[str, str, str, str]]:
    start = (verdict.claim.id, verdict.word)
    if not verdict.evidence:
        return [(*start, "", "; ".join(verdict.notes))]
    shown = [_with_word(evidence, verdict) for evidence in verdict.evidence]
    shown[-1] += f" ({'; '.join((where_judged(verdict), *verdict.notes))})"
    first, *others = shown
    return [(*start, str(verdict.n), first), *(("", "", "", text) for text in others)]


def _with_word(evidence: Evidence, verdict: Verdict) -> str:
    """A statement's result, with its own word if the claim has several statements."""
    word = f": {evidence.word}" if len(verdict.evidence) > 1 else ""
    return f"{subject(evidence)}: {result(evidence)}{word}"


# Files


def frame(judged: Sequence[Judged]) -> pd.DataFrame:
    """One row per claim, study, setting and statement; one without numbers if it was not run."""
    return pd.DataFrame(
        [
            _identity(verdict, role) | {"p_corrected": p} | numbers
            for judgement in judged
            for role, p, verdicts in (
                ("verdict", judgement.p_corrected, (judgement.verdict,)),
                ("beside", np.nan, judgement.beside),
            )
            for verdict in verdicts
            for numbers in [_numbers(evidence) for evidence in verdict.evidence] or [{}]
        ]
    )


def write(judged: Sequence[Judged], path: Path) -> None:
    """Writes `frame` as CSV, rounded to ten digits so that the file is equal on all machines."""
    replace_csv(path, frame(judged), digits=10)


def _identity(verdict: Verdict, role: str) -> dict[str, Any]:
    claim = verdict.claim
    return {
        "id": claim.id,
        "article": claim.article,
        "claim": claim.sentence,
        "reading": claim.reading,
        "source": claim.source,
        "role": role,
        "study": verdict.study,
        "setting": claim.setting,
        "verdict": verdict.word,
        "n": verdict.n,
        "leaks": verdict.leaks,
        "notes": "; ".join(verdict.notes),
        "p": verdict.judgement.p if verdict.evidence else np.nan,
    }


def _numbers(evidence: Evidence) -> dict[str, Any]:
    statement = evidence.statement
    return {
        "measure": statement.measure,
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
        "needed": evidence.needed.expected if evidence.needed else None,
    }


def _name(side: Side | None) -> str:
    return "" if side is None else side.technique


def markdown(judged: Sequence[Judged], measured: str) -> str:
    """The table for docs/claims.md; `measured` is when and where: 2026-11-20 on 2 cores."""
    head = (
        f"Judged {measured}.\n\n"
        "| id | claim | verdict | what the runs show: difference, 95 % interval, p | n |\n"
        "|---|---|---|---|---|\n"
    )
    return f"{head}{''.join(_line(judgement.verdict) for judgement in judged)}\n"


def _line(verdict: Verdict) -> str:
    shown = [_with_word(evidence, verdict) for evidence in verdict.evidence]
    notes = (where_judged(verdict), *verdict.notes) if shown else verdict.notes
    cells = (
        verdict.claim.id,
        f"{verdict.claim.sentence}{_reading(verdict.claim)}",
        f"**{verdict.word}**",
        "<br>".join([*shown, "; ".join(notes)]),
        str(verdict.n) if shown else "",
    )
    return f"| {' | '.join(cells)} |\n"


def _reading(claim: Claim) -> str:
    """How the sentence is read, if several claims read it differently."""
    readings = sum(other.sentence == claim.sentence for other in CLAIMS)
    return f"<br>*{claim.reading}*" if readings > 1 else ""
