"""Join the data sets' results, and judge the articles' claims, in reports/index.html."""

import argparse
import datetime
import platform
from pathlib import Path

from pipeline.analysis import verdicts
from pipeline.execution import devices
from pipeline.report import pages, readme

RESULTS = Path("results")
PAGE = Path("reports/index.html")
CLAIMS = RESULTS / pages.CLAIMS
README = Path("README.md")


def main(argv: list[str]) -> None:
    """Write the page and the verdicts; print these, and which data sets have no results yet."""
    parser = argparse.ArgumentParser(prog="python -m pipeline overview", description=__doc__)
    parser.add_argument(
        "--readme", action="store_true", help="also write results and verdicts into README.md"
    )
    arguments = parser.parse_args(argv)
    found = pages.read_overview(RESULTS, PAGE)
    pages.write_overview(found, PAGE)
    verdicts.write(found.judged, CLAIMS)
    if arguments.readme:
        text = readme.update(README.read_text("utf-8"), "results", tables(found))
        text = readme.update(text, "claims", verdicts.markdown(found.judged, measured()))
        README.write_text(text, encoding="utf-8")
    print(verdicts.table(found.judged))
    print()
    for name in found.missing:
        print(f"no results yet: {name}; `dvc repro report@{name}` makes them")
    print(f"claims: {CLAIMS}")
    print(f"overview: {PAGE}")


def tables(found: pages.Overview) -> str:
    """What the report stage prints of each data set, for README.md: the words before the table."""
    told = (pages.told(RESULTS / entry.name) for entry in found.entries)
    blocks = [f"{words}\n\n```\n{table}\n```\n" for table, words in told]
    return f"Written {measured()}.\n\n" + "\n".join(blocks)


def measured() -> str:
    """Today, and this machine."""
    today = datetime.datetime.now(tz=datetime.UTC).date()
    machine = f"{platform.system()} {platform.machine()}"
    return f"{today.isoformat()} on {devices.cores()} cores, {machine}"
