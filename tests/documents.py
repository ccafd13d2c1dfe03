"""Checks the documentation against the checkout, without network: `python -m tests.documents`.

Links and anchors must exist, and so must the files, stages, options, targets, parameters and keys
that code blocks and inline code name. `make check` runs this.
"""

import re
import shlex
import sys
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

PAGES = (
    Path("README.md"),
    *sorted(Path("docs").glob("*.md")),
    *sorted(Path("benchmarks").glob("*.md")),
    Path("data/README.md"),
    Path("examples/README.md"),
)
HISTORY = Path("benchmarks/history.md")  # names files and commands of their day
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
INLINE = re.compile(r"`([^`\n]+)`")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FILE = re.compile(r"(?:pipeline|tests|benchmarks|docs|examples)/[\w/.-]*")
PIPELINE = ("python", "-m", "pipeline")
PUBLISHED = ("python", "-m", "examples.published")


def problems(page: Path) -> list[str]:
    """What is wrong on a page, each as `page: what`; the history is only checked for links."""
    text = page.read_text("utf-8")
    wrong = list(broken_links(page, text))
    if page != HISTORY:
        wrong += [*missing_files(text), *wrong_commands(text)]
    return [f"{page}: {problem}" for problem in wrong]


def broken_links(page: Path, text: str) -> Iterator[str]:
    """Relative links of which the file or the heading is missing."""
    for target in LINK.findall(INLINE.sub("", FENCE.sub("", text))):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        if not file.exists():
            yield f"links to {target}, which does not exist"
        elif anchor and anchor not in anchors(file.read_text("utf-8")):
            yield f"links to {target}, but {file} has no such heading"


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = HEADING.findall(FENCE.sub("", text))
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in headings}


def missing_files(text: str) -> Iterator[str]:
    """Inline code that looks like a file or folder of the repository and is none."""
    for code in INLINE.findall(FENCE.sub("", text)):
        if FILE.fullmatch(code) and not Path(code).exists():
            yield f"names `{code}`, which does not exist"


def wrong_commands(text: str) -> Iterator[str]:
    """Commands in shell blocks and inline code that the checkout does not have."""
    added: list[str] = []
    for command in commands(text):
        added += _added(command)
        keys = _keys(command, added)
        for problem in (*_targets(command), *_stages(command), *keys, *_runs(command)):
            yield f"`{shlex.join(command)}`: {problem}"


def commands(text: str) -> Iterator[list[str]]:
    """Every command of a page as words: lines of shell blocks, and inline code."""
    blocks = [block for language, block in FENCE.findall(text) if language == "sh"]
    lines = [line for block in blocks for line in block.splitlines()]
    for line in (*lines, *INLINE.findall(FENCE.sub("", text))):
        for part in re.split(r"&&|\|", line.partition(" #")[0]):
            if re.match(r"\s*(make|dvc|mlflow|python) ", part):
                yield part.replace("'", "").split()


def _added(command: list[str]) -> Iterator[str]:
    """The studies that a command adds to params.yaml: under the name of its file, or published."""
    table = Path("examples", f"{command[3] if len(command) > 3 else ''}.yaml")
    if (*command[:3],) == PUBLISHED and table.exists():
        yield from _yaml(str(table))["studies"]
    if command[:4] == [*PIPELINE, "new-study"] and len(command) > 4:
        yield re.split(r"[/:]", command[4].strip("/"))[-1].partition(".")[0]


def _targets(command: list[str]) -> Iterator[str]:
    """Targets that the Makefile lacks."""
    if command[0] == "make":
        yield from (f"no target {word}" for word in command[1:] if word not in targets())


def _stages(command: list[str]) -> Iterator[str]:
    """Stages of `python -m pipeline` that do not exist, or that lack an option."""
    if (*command[:3],) != PIPELINE or len(command) < 4 or command[3].isupper():
        return
    stage = Path("pipeline/stages", f"{command[3].replace('-', '_')}.py")
    if not stage.exists():
        yield f"no stage {command[3]}"
        return
    known = {"help", *parameters(), *re.findall(r'"--([\w-]+)"', stage.read_text("utf-8"))}
    options = re.findall(r"--([\w-]+)", " ".join(command))
    yield from (f"no option --{option}" for option in options if option not in known)


def _keys(command: list[str], studies: Collection[str] = ()) -> Iterator[str]:
    """Stages of DVC, studies and keys of params.yaml that do not exist.

    `studies`: names of those that the page has added.
    """
    if command[0] != "dvc":
        return
    for stage, study in re.findall(r"(\w+)@(\w+)", " ".join(command)):
        known = {*_yaml("params.yaml")["studies"], *studies}
        if stage not in _yaml("dvc.yaml")["stages"] or study not in known:
            yield f"no stage {stage}@{study}"
    for key in re.findall(r"-S ~?([\w.]+)", " ".join(command)):
        if not _has("params.yaml", key):
            yield f"no key {key} in params.yaml"


def _runs(command: list[str]) -> Iterator[str]:
    """Parameters and entry points that MLproject lacks."""
    if command[:2] != ["mlflow", "run"]:
        return
    line = " ".join(command)
    given = re.findall(r"-P (\w+)=", line)
    yield from (f"no parameter {name}" for name in given if name not in parameters())
    entries = re.findall(r" -e (\w+)", line)
    known = _yaml("MLproject")["entry_points"]
    yield from (f"no entry point {name}" for name in entries if name not in known)


@cache
def targets() -> set[str]:
    """The Makefile's targets."""
    return set(re.findall(r"^([a-z][a-z-]*):", Path("Makefile").read_text("utf-8"), re.MULTILINE))


@cache
def parameters() -> set[str]:
    """The parameters of `mlflow run`, which are also options of `python -m pipeline study`."""
    return set(_yaml("MLproject")["entry_points"]["main"]["parameters"])


def _has(file: str, key: str) -> bool:
    node: Any = _yaml(file)
    for part in key.split("."):
        if not isinstance(node, dict) or part not in node:
            return False
        node = node[part]
    return True


@cache
def _yaml(file: str) -> Any:
    return yaml.safe_load(Path(file).read_text("utf-8"))


def write_empty_docs() -> None:
    """Pages with empty blocks in docs/ of the working folder, for `overview --docs`."""
    Path("docs").mkdir()
    for page, name in (
        ("results", "results"),
        ("claims", "claims"),
        ("when-it-matters", "matters"),
    ):
        text = f"<!-- {name} -->\n<!-- /{name} -->\n"
        Path(f"docs/{page}.md").write_text(text, encoding="utf-8")


def main() -> int:
    """Prints what is wrong and returns the exit code."""
    wrong = [problem for page in PAGES for problem in problems(page)]
    print("\n".join(wrong) or f"{len(PAGES)} pages: links, files and commands exist")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
