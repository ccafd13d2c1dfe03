"""Join all results in reports/index.html and judge the articles' claims."""

import argparse
import datetime
import platform
from collections.abc import Iterable
from pathlib import Path

from pipeline.analysis import verdicts
from pipeline.config import loading
from pipeline.execution import devices
from pipeline.report import blocks, overview_page, sentences
from pipeline.tracking.context import location

RESULTS = Path("results")
PAGE = Path("reports/index.html")
CLAIMS = PAGE.with_name(overview_page.CLAIMS)
DOCS = Path("docs")


def main(argv: list[str]) -> None:
    """Writes the page and the verdicts; prints the verdicts and the studies without results."""
    parser = argparse.ArgumentParser(prog="python -m pipeline overview", description=__doc__)
    parser.add_argument("--docs", action="store_true", help="also write the tables of docs/")
    arguments = parser.parse_args(argv)
    overview = overview_page.read_overview(RESULTS, PAGE, [*loading.load().studies])
    overview_page.write_overview(overview, PAGE)
    verdicts.write(overview.judged, CLAIMS)
    if arguments.docs:
        results, matters = tables(entry.name for entry in overview.entries), sizes(overview)
        blocks.replace(DOCS / "results.md", "results", results)
        blocks.replace(DOCS / "when-it-matters.md", "matters", matters)
        blocks.replace(DOCS / "claims.md", "claims", verdicts.markdown(overview.judged, measured()))
    print(verdicts.told(overview.judged, PAGE.as_posix()))
    if overview.missing:
        print(f"No results yet: {', '.join(overview.missing)}; `dvc repro report@<study>` runs one")
    print(f"overview: {location(PAGE)}")


def sizes(overview: overview_page.Overview) -> str:
    """What docs/when-it-matters.md says of each study that varies a size."""
    names = [each.name for each in overview.sized]
    return tables(names) if names else "No results yet.\n"


def tables(names: Iterable[str]) -> str:
    """A section for each study, with the words and the table of its report."""
    sections = (_section(name) for name in names)
    return f"Written {measured()}.\n\n" + "\n".join(sections)


def _section(study: str) -> str:
    table, words = sentences.told(RESULTS / study)
    return f"## {study}\n\n{words}\n\n```\n{table}\n```\n"


def measured() -> str:
    """When and where the results are written: today's date, and this machine."""
    today = datetime.datetime.now(tz=datetime.UTC).date()
    machine = f"{platform.system()} {platform.machine()}"
    return f"{today.isoformat()} on {devices.cores()} cores, {machine}"
