"""Verdicts on the articles' claims as a table: for the terminal, as CSV, for docs/claims.md."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.analysis.claims import CLAIMS, Claim, Found, Runs, Side, Verdict, beside, judge
from pipeline.datasets.task import CLASSIFICATION
from pipeline.files import replace_csv
from pipeline.formatting import p_text, points, signed

MEASURES = CLASSIFICATION.measures  # the articles' models are classifiers
NO_BREAK = "\N{NO-BREAK SPACE}"
WIDTH = 100  # of the terminal's table


@dataclass(frozen=True)
class Judged:
    """A claim's verdict, and what other settings and data sets show."""

    verdict: Verdict
    beside: tuple[Verdict, ...]

    @property
    def shown(self) -> Verdict:
        """The verdict, or what stands beside it where that has no runs."""
        return self.verdict if self.verdict.found or not self.beside else self.beside[0]

    @property
    def claim(self) -> Claim:
        """The claim in the article's own setting."""
        return self.verdict.claim


def judge_all(runs: Runs) -> list[Judged]:
    """Every claim, in the order of the articles."""
    return [Judged(judge(claim, runs), beside(claim, runs)) for claim in CLAIMS]


# In words


def subject(found: Found) -> str:
    """What was compared, such as test accuracy, l2 against none."""
    statement = found.statement
    names = [side.technique for side in statement.sides]
    return f"{MEASURES[statement.measure].title}, {' against '.join(names)}"


def result(found: Found) -> str:
    """The number, its interval and its p-value, such as +0.31 points [+0.12, +0.48], p 0.004."""
    statement, measure = found.statement, MEASURES[found.statement.measure]
    write = points if statement.relative else measure.difference
    unit = " %" if statement.relative else measure.difference_unit
    mean, low, high = (write(value) for value in found.difference)
    ruled_out = f"; {matters(found)} ruled out" if found.rests_on_size else ""
    p = p_text(found.p).replace(" ", NO_BREAK)
    return f"{mean}{unit} [{low}, {high}], p{NO_BREAK}{p}{ruled_out}"


def matters(found: Found) -> str:
    """The smallest difference that matters, such as +0.1 points or +5 %, signed as stated."""
    statement, measure = found.statement, MEASURES[found.statement.measure]
    share = statement.relative or measure.share
    unit = " %" if statement.relative else measure.difference_unit
    size = statement.matters * (100 if share else 1) * (-1 if statement.falls else 1)
    return f"{signed(f'{size:+g}')}{unit}"


def place(verdict: Verdict) -> str:
    """Where it was judged, such as circles, article setting; empty if nowhere."""
    setting = verdict.claim.setting
    return f"{verdict.study}, {setting} setting" if setting else ""


# The terminal


def table(judged: Sequence[Judged]) -> str:
    """A compact table: a line for each statement of each claim, and why what was not run."""
    head = ("claim", "verdict", "n", "what the runs show")
    cells = [head, *(line for each in judged for line in _cells(each.shown))]
    widths = [max(len(row[column]) for row in cells) for column in range(3)]
    indent = " " * (sum(widths) + 2 * len(widths))
    lines = []
    for row in cells:
        start = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        filled = textwrap.wrap(row[3], max(WIDTH - len(indent), 40)) or [""]
        lines += [f"{start}  {filled[0]}".rstrip(), *(indent + more for more in filled[1:])]
    rule = "─" * max(map(len, lines))
    title = "The articles' claims, judged in their own settings where there are runs of these"
    return "\n".join([title, lines[0], rule, *lines[1:]])


def _cells(verdict: Verdict) -> list[tuple[str, str, str, str]]:
    start = (verdict.claim.id, verdict.word)
    if not verdict.found:
        return [(*start, "", "; ".join(verdict.notes))]
    shows = [_with_word(each, verdict) for each in verdict.found]
    shows[-1] += f" ({'; '.join((place(verdict), *verdict.notes))})"
    first, *others = shows
    return [(*start, str(verdict.n), first), *(("", "", "", other) for other in others)]


def _with_word(found: Found, verdict: Verdict) -> str:
    """A statement's result; its own word too, where the claim has several."""
    word = f": {found.word}" if len(verdict.found) > 1 else ""
    return f"{subject(found)}: {result(found)}{word}"


# Files


def frame(judged: Sequence[Judged]) -> pd.DataFrame:
    """One row per claim, place and statement; what was not run has one row without numbers."""
    return pd.DataFrame(
        [
            _identity(verdict, role) | numbers
            for each in judged
            for role, verdicts in (("verdict", (each.verdict,)), ("beside", each.beside))
            for verdict in verdicts
            for numbers in [_numbers(found) for found in verdict.found] or [{}]
        ]
    )


def write(judged: Sequence[Judged], path: Path) -> None:
    """Writes `frame` as CSV, rounded to ten digits so that machines agree on it."""
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


def _numbers(found: Found) -> dict[str, Any]:
    statement = found.statement
    return {
        "measure": statement.measure,
        "first": _name(statement.first),
        "second": _name(statement.second),
        "stated": statement.stated,
        "relative": statement.relative,
        "matters": statement.matters,
        "shown": found.word,
        "difference": found.difference.mean,
        "difference_low": found.difference.low,
        "difference_high": found.difference.high,
        "p": found.p,
        "p_matters": found.p_matters,
    }


def _name(side: Side | None) -> str:
    return "" if side is None else side.technique


def markdown(judged: Sequence[Judged], measured: str) -> str:
    """The table for docs/claims.md; `measured`: when and where, such as 2026-11-20 on 2 cores."""
    head = (
        f"Judged {measured}.\n\n"
        "| id | claim | verdict | what the runs show: difference, 95 % interval, p | pairs |\n"
        "|---|---|---|---|---|\n"
    )
    return f"{head}{''.join(_line(each.verdict) for each in judged)}\n"


def _line(verdict: Verdict) -> str:
    shows = [_with_word(each, verdict) for each in verdict.found]
    notes = (place(verdict), *verdict.notes) if shows else verdict.notes
    cells = (
        verdict.claim.id,
        f"{verdict.claim.sentence}{_reading(verdict.claim)}",
        f"**{verdict.word}**",
        "<br>".join([*shows, "; ".join(notes)]),
        str(verdict.n) if shows else "",
    )
    return f"| {' | '.join(cells)} |\n"


def _reading(claim: Claim) -> str:
    """How a sentence is judged that other claims judge otherwise."""
    alike = sum(each.sentence == claim.sentence for each in CLAIMS)
    return f"<br>*{claim.reading}*" if alike > 1 else ""
