"""Adds a study to params.yaml, and leaves every other byte of the file as it is."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from pipeline.config import loading
from pipeline.errors import UserError

WIDTH = 100  # characters of a line
STUDIES = "studies"


class _Dumper(yaml.SafeDumper):
    """Writes text with line breaks of any kind in double quotes, where they are escaped."""


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = None if text.isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def added(
    text: str, name: str, section: Mapping[str, Any], comment: str, *, replaces: bool = False
) -> str:
    """The text of params.yaml with one more study, after the others; the comment above it.

    `replaces`: whether a study of this name makes way for it. Raises UserError if there is one
    otherwise, and for a file whose studies are not written as a block.

    >>> text = "seed: 1\\nstudies:\\n  circles: {}  # small\\n"
    >>> print(added(text, "mine", {"data": {"draws": 5}}, "Mine."), end="")
    seed: 1
    studies:
      circles: {}  # small
    <BLANKLINE>
      # Mine.
      mine:
        data: {draws: 5}
    """
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)
    studies = _studies(text)
    indent = studies[0][0].start_mark.column
    for key, _ in studies:
        if key.value == name and not replaces:
            raise UserError(f"params.yaml has a study {name!r} already; `--replace` replaces it")
    others = [pair for pair in studies if pair[0].value != name]
    at = _last_line(studies[-1][1]) + 1
    body = _block(name, section, comment, indent)
    if lines and not lines[at - 1].endswith("\n"):
        lines[at - 1] += "\n"
    new = [*lines[:at], "\n", *body, *lines[at:]]
    for key, value in studies:
        if key.value == name:
            first = _first_line(lines, key.start_mark.line, indent)
            if not others:
                first = key.start_mark.line
            del new[first : _last_line(value) + 1]
    return "".join(new)


def checked(
    path: Path, sections: Mapping[str, Any], comment: str, *, replaces: bool = False
) -> str:
    """The file's text with these studies, name → section, if it is valid and nothing else changes.

    The comment stands above the first one. Raises UserError otherwise.
    """
    before, text = loading.read(path), path.read_text(encoding="utf-8")
    for name, section in sections.items():
        text = added(text, name, section, comment, replaces=replaces)
        comment = ""
    after = loading.content(text, str(path))
    if after != {**before, STUDIES: {**before[STUDIES], **sections}}:
        raise UserError(
            f"{path}: the study {', '.join(sections)} cannot be written so that it "
            "is read back as it was; rename odd columns or classes"
        )
    loading.parse(after, str(path))
    return text


def _studies(text: str) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
    """Names and sections of the studies. Raises UserError unless they are written as a block."""
    root = yaml.compose(text, yaml.SafeLoader)
    if isinstance(root, yaml.MappingNode):
        for key, value in root.value:
            block = isinstance(value, yaml.MappingNode) and value.value and not value.flow_style
            if key.value == STUDIES and block:
                return list(value.value)
    raise UserError(
        f"params.yaml: `{STUDIES}` must have at least one study, each on lines of its own"
    )


def _last_line(node: yaml.Node) -> int:
    """The line with the end of the node's last value; blank lines and comments may follow."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _last_line(last[1] if isinstance(last, tuple) else last)
    end = node.end_mark
    return int(end.line if end.column else max(node.start_mark.line, end.line - 1))


def _first_line(lines: list[str], key: int, indent: int) -> int:
    """The first line of a section with the comments and the blank line above its key."""
    first = key
    while first and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    return first - 1 if first and not lines[first - 1].strip() else first


def _block(name: str, section: Mapping[str, Any], comment: str, indent: int) -> list[str]:
    dumped = yaml.dump(
        {name: dict(section)},
        Dumper=_Dumper,
        default_flow_style=None,  # leaves in one line
        sort_keys=False,
        width=WIDTH - indent,
        allow_unicode=True,
    )
    commented = [f"# {line}" if line else "#" for line in comment.splitlines()]
    return [
        f"{' ' * indent}{line}\n" for line in (*commented, *dumped.removesuffix("\n").split("\n"))
    ]
