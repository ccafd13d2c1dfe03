"""Verdicts on the articles' claims as a table: for the terminal, as CSV, for docs/claims.md."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.analysis.claims import CLAIMS, Claim, Side
from pipeline.analysis.judging import Evidence, Runs, Verdict, beside, judge
from pipeline.datasets.task import CLASSIFICATION
from pipeline.files import replace_csv
from pipeline.formatting import p_text, points, signed

MEASURES = CLASSIFICATION.measures  # the articles' models are classifiers
NO_BREAK = "\N{NO-BREAK SPACE}"
WIDTH = 100  # of the terminal's table


@dataclass(frozen=True)
class Judged:
    """A claim's verdict, and the verdicts of other settings and studies."""

    verdict: Verdict
    beside: tuple[Verdict, ...]

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
    return [Judged(judge(claim, runs), beside(claim, runs)) for claim in CLAIMS]


# In words


def subject(evidence: Evidence) -> str:
    """What was compared, such as: test accuracy, l2 against none."""
    statement = evidence.statement
    names = [side.technique for side in statement.sides]
    return f"{MEASURES[statement.measure].title}, {' against '.join(names)}"


def result(evidence: Evidence) -> str:
    """The difference, its interval and p-value, such as +0.31 points [+0.12, +0.48], p 0.004."""
    statement, measure = evidence.statement, MEASURES[evidence.statement.measure]
    write = points if statement.relative else measure.difference
    unit = " %" if statement.relative else measure.difference_unit
    mean, low, high = (write(value) for value in evidence.difference)
    ruled_out = f"; {matters(evidence)} ruled out" if evidence.rests_on_size else ""
    p = p_text(evidence.p).replace(" ", NO_BREAK)
    return f"{mean}{unit} [{low}, {high}], p{NO_BREAK}{p}{ruled_out}"


def matters(evidence: Evidence) -> str:
    """The smallest difference that matters, such as +0.1 points or +5 %, signed as stated."""
    statement, measure = evidence.statement, MEASURES[evidence.statement.measure]
    share = statement.relative or measure.share
    unit = " %" if statement.relative else measure.difference_unit
    size = statement.matters * (100 if share else 1) * (-1 if statement.falls else 1)
    return f"{signed(f'{size:+g}')}{unit}"


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
            _identity(verdict, role) | numbers
            for judgement in judged
            for role, verdicts in (
                ("verdict", (judgement.verdict,)),
                ("beside", judgement.beside),
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
    }


def _numbers(evidence: Evidence) -> dict[str, Any]:
    statement = evidence.statement
    return {
        "measure": statement.measure,
        "first": _name(statement.first),
        "second": _name(statement.second),
        "stated": statement.stated,
        "relative": statement.relative,
        "matters": statement.matters,
        "shown": evidence.word,
        "difference": evidence.difference.mean,
        "difference_low": evidence.difference.low,
        "difference_high": evidence.difference.high,
        "p": evidence.p,
        "p_matters": evidence.p_matters,
    }


def _name(side: Side | None) -> str:
    return "" if side is None else side.technique


def markdown(judged: Sequence[Judged], measured: str) -> str:
    """The table for docs/claims.md; `measured` is when and where: 2026-11-20 on 2 cores."""
    head = (
        f"Judged {measured}.\n\n"
        "| id | claim | verdict | what the runs show: difference, 95 % interval, p | pairs |\n"
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
