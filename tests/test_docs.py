"""The documentation tells what there is: links, commands, pictures, numbers and code."""

import re
from pathlib import Path

import pytest

from . import documents

README = Path("README.md")
INTERVAL = re.compile(r"\[[^]]*\d[^]]*, [^]]*\d\]")
MOST_WORDS = 1_500  # of README.md
MOST_LINES = 60  # of benchmarks/README.md, which is a page


@pytest.mark.parametrize("page", documents.PAGES, ids=str)
def test_links_files_and_commands_of_a_page_exist(page: Path) -> None:
    assert documents.problems(page) == []


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("[x](nowhere.md)", "links to nowhere.md"),
        ("[x](README.md#nowhere)", "no such heading"),
        ("see `pipeline/nowhere.py`", "pipeline/nowhere.py"),
        ("`make nothing`", "no target nothing"),
        ("`python -m pipeline nothing`", "no stage nothing"),
        ("`python -m pipeline overview --nothing`", "no option --nothing"),
        ("```sh\ndvc repro report@nothing\n```", "no stage report@nothing"),
        ("```sh\ndvc exp run -S seeds.nothing=1\n```", "no key seeds.nothing"),
        ("```sh\nmlflow run . -P nothing=1\n```", "no parameter nothing"),
        ("```sh\nmake setup && make nothing   # with a remark\n```", "no target nothing"),
    ],
)
def test_what_does_not_exist_is_told(line: str, wrong: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    (tmp_path / "README.md").write_text("# Somewhere\n", encoding="utf-8")
    page.write_text(f"# Page\n\n{line}\n", encoding="utf-8")
    (problem,) = documents.problems(page)
    assert wrong in problem


def test_every_page_of_docs_can_be_reached_from_the_readme() -> None:
    linked = {target.partition("#")[0] for target in documents.LINK.findall(README.read_text())}
    assert {str(page) for page in documents.PAGES} - {"README.md"} <= linked | {
        "benchmarks/history.md"  # linked from benchmarks/README.md
    }


def test_readme_and_benchmarks_are_short() -> None:
    assert len(README.read_text("utf-8").split()) <= MOST_WORDS
    assert len(Path("benchmarks/README.md").read_text("utf-8").splitlines()) <= MOST_LINES


def test_the_readmes_intervals_are_those_of_the_results() -> None:
    pages = ("results", "claims", "when-it-matters")
    results = "".join(Path(f"docs/{page}.md").read_text("utf-8") for page in pages)
    told = INTERVAL.findall(documents.LINK.sub("", README.read_text("utf-8")))
    assert told
    assert [interval for interval in told if interval not in results] == []


@pytest.mark.parametrize("page", ["mlflow", "mlflow-run", "dvc"])
def test_pictures_of_pages_are_those_that_the_browser_tests_make(page: str) -> None:
    shown = re.findall(r"!\[[^]]+\]\(([\w-]+)\.png\)", Path(f"docs/{page}.md").read_text("utf-8"))
    tests = "".join(path.read_text("utf-8") for path in Path("tests").glob("test_*.py"))
    assert shown
    assert set(shown) <= {*re.findall(r'(?:shoot\(|SHOTS / )"([\w-]+?)(?:\.png)?"\)', tests)}
