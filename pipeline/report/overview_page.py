"""The overview: all studies in one page, and the verdicts on the articles' claims."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from markupsafe import Markup

from pipeline import results
from pipeline.analysis import derived, inference, summary, verdicts
from pipeline.analysis.judging import Runs, Verdict
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
class Sized:
    """What the overview shows of a study that varies training rows or widths."""

    name: str
    title: str
    sentence: str
    figure: Markup
    link: str


@dataclass(frozen=True)
class Overview:
    """The data of the overview."""

    entries: list[Entry]
    sized: list[Sized]
    judged: list[Judged]
    missing: list[str]  # studies without results

    @property
    def unjudged(self) -> list[Judged]:
        """The claims that no run tests yet."""
        return [each for each in self.judged if not each.told]


def read_overview(folder: Path, page: Path, names: Sequence[str]) -> Overview:
    """The results under `folder` of the studies `names`, with links for a page at `page`.

    Raises UserError if a study has a summary but not the files beside it.
    """
    reported = [name for name in names if (folder / name / results.SUMMARY).exists()]
    link = Path(os.path.relpath(folder, page.parent))
    sized = [name for name in reported if results.varies(results.read_tuned(folder / name))]
    return Overview(
        entries=[_entry(folder / name, link / name) for name in reported if name not in sized],
        sized=[_sized(folder / name, link / name) for name in sized],
        judged=verdicts.judge_all(_runs(folder, reported)),
        missing=[name for name in names if name not in reported],
    )


def _runs(folder: Path, names: Sequence[str]) -> Runs:
    """All runs that claims compare, by study."""
    runs = {}
    for name in names:
        final = inference.joined(results.read_runs(folder / name), folder / name)
        runs[name] = derived.joined(final, folder / name, results.prepared(name))
    orders = derived.orders()
    return runs if orders is None else runs | {derived.SHUFFLING: orders}


def write_overview(overview: Overview, page: Path) -> None:
    """Writes all studies and the verdicts on the articles' claims to one page."""
    titles = {entry.name: entry.about.title for entry in overview.entries}
    text = render(
        "overview.html",
        entries=overview.entries,
        sized=overview.sized,
        judged=[each for each in overview.judged if each.told],
        unjudged=overview.unjudged,
        wanted=_wanted(overview),
        counts=verdicts.counts(overview.judged),
        missing=overview.missing,
        titles=titles,
        verdicts=verdicts,
        where=partial(_where, titles),
        link=partial(_link, {entry.name: entry.link for entry in overview.entries}),
        claims_csv=CLAIMS,
    )
    replace_text(page, text)


def _wanted(overview: Overview) -> list[str]:
    """The studies without results that would judge further claims."""
    studies = (each.claim.studies[0] for each in overview.unjudged)
    return [name for name in dict.fromkeys(studies) if name in overview.missing]


def _where(titles: Mapping[str, str], verdict: Verdict) -> str:
    """The data of a verdict, such as Circles, fresh draws."""
    return verdicts.where(verdict, titles.get(verdict.case.study, ""))


def _link(links: Mapping[str, str], verdict: Verdict) -> str:
    """The address of the runs of a verdict, in the study's report; empty if it has none."""
    page = links.get(verdict.case.study)
    return f"{page}#{verdict.case.setting}" if page and verdict.evidence else ""


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


def _sized(folder: Path, link: Path) -> Sized:
    return Sized(
        name=folder.name,
        title=studied.read(folder).title,
        sentence=results.read_advice(folder)["text"],
        figure=Markup(_thumbnail(folder)),
        link=(link / PAGE).as_posix(),
    )


def _thumbnail(folder: Path) -> str:
    path = folder / THUMBNAIL
    if not path.is_file():
        raise UserError(f"{path} is missing; run `python -m pipeline report {folder.name}`")
    return path.read_text(encoding="utf-8")
