"""The overview: all studies in one page, and the verdicts on the articles' claims."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from markupsafe import Markup

from pipeline import results
from pipeline.analysis import inference, summary, verdicts
from pipeline.analysis.judging import WORDS, Verdict
from pipeline.analysis.summary import Finding
from pipeline.analysis.verdicts import Judged
from pipeline.datasets import about as studied
from pipeline.datasets.about import About
from pipeline.errors import UserError
from pipeline.files import replace_text
from pipeline.report.pages import PAGE, THUMBNAIL
from pipeline.report.rendering import render

CLAIMS = "claims.csv"  # beside the overview


@dataclass(frozen=True)
class Entry:
    """What the overview shows of one study."""

    name: str
    about: About
    finding: Finding
    advice: str
    thumbnail: Markup
    link: str  # to the study's page, relative to the overview


@dataclass(frozen=True)
class Overview:
    """The data of the overview."""

    entries: list[Entry]
    judged: list[Judged]
    missing: list[str]  # studies without results


def read_overview(folder: Path, page: Path, names: Sequence[str]) -> Overview:
    """The results under `folder` of the studies `names`, with links for a page at `page`.

    Raises UserError if a study has a summary but not the files beside it.
    """
    reported = [name for name in names if (folder / name / results.SUMMARY).exists()]
    link = Path(os.path.relpath(folder, page.parent))
    entries = [_entry(folder / name, link / name) for name in reported]
    runs = {
        name: inference.joined(results.read_runs(folder / name), folder / name) for name in reported
    }
    missing = [name for name in names if name not in reported]
    return Overview(entries, verdicts.judge_all(runs), missing)


def write_overview(overview: Overview, page: Path) -> None:
    """Writes all studies and the verdicts on the articles' claims to one page."""
    titles = {entry.name: entry.about.title for entry in overview.entries}
    text = render(
        "overview.html",
        entries=overview.entries,
        judged=overview.judged,
        counts=counts(overview.judged),
        missing=overview.missing,
        titles=titles,
        verdicts=verdicts,
        where_judged=partial(_where_judged, titles),
        claims_csv=CLAIMS,
    )
    replace_text(page, text)


def _where_judged(titles: Mapping[str, str], verdict: Verdict) -> str:
    """The study and setting of a verdict, such as Circles, article setting."""
    return f"{titles[verdict.study]}, {verdict.claim.setting} setting"


def counts(judged: Sequence[Judged]) -> str:
    """The number of claims with each verdict, such as holds 3, reversed 1, not run 12."""
    words = [judgement.verdict.word for judgement in judged]
    return ", ".join(f"{word} {words.count(word)}" for word in WORDS if word in words)


def _entry(folder: Path, link: Path) -> Entry:
    table = results.read_summary(folder)
    return Entry(
        name=folder.name,
        about=studied.read(folder),
        finding=summary.find(table),
        advice=results.read_advice(folder)["text"],
        thumbnail=Markup(_thumbnail(folder)),
        link=(link / PAGE).as_posix(),
    )


def _thumbnail(folder: Path) -> str:
    path = folder / THUMBNAIL
    if not path.is_file():
        raise UserError(f"{path} is missing; run `python -m pipeline report {folder.name}`")
    return path.read_text(encoding="utf-8")
