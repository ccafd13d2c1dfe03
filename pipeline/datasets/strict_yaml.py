"""YAML that people write, read strictly: nothing is guessed, and every mistake has a line.

A key that stands twice, a tag, an anchor that multiplies, deep nesting and bytes of another
encoding are refused. Numbers are those of YAML 1.2, as DVC reads them: 1e-4 is a number, and 010
or 1:30, which YAML 1.1 takes for 8 and 90, are refused. Dates stay text, as `yes` and `no` do.
"""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any, NoReturn

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode

from pipeline.errors import UserError, shown

LARGEST = 2**20  # bytes of a file
MOST_VALUES = 100_000  # with every alias counted as what it stands for
DEEPEST = 30  # sections inside sections
MOST_OF_PATH = 100  # characters, in a message
LONGEST_NUMBER = 40  # characters
# Numbers of YAML 1.1 alone, which other readers take for other numbers or for text.
_AMBIGUOUS = re.compile(r"[-+]?(0\d+|0b[01]+|\d+(:[0-5]?\d)+(\.\d*)?|.*_.*)")
_UNTOLD = re.compile("[\0\ud800-\udfff]")  # characters that no file and no name can have


def read(path: str | Path) -> Any:
    """The content of a YAML file. Raises UserError, in one sentence, if it cannot be read."""
    return content(text(path), str(path))


def text(path: str | Path) -> str:
    """The text of a file. Raises UserError if it cannot be read or is not UTF-8."""
    path, name = Path(path), str(path)[-MOST_OF_PATH:]
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{name}: expected a text file, but got a folder or a device")
        with path.open("rb") as file:
            written = file.read(LARGEST + 1)
    except OSError as error:
        told = error.strerror or type(error).__name__
        raise UserError(f"{name} cannot be read: {told}") from None
    if len(written) > LARGEST:
        raise UserError(f"{name}: expected at most 1 MiB of settings, but the file is larger")
    try:
        if written[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in written[:4]:
            raise UserError(f"{name}: expected text in UTF-8, but got UTF-16; save it as UTF-8")
        return written.decode("utf-8")
    except UnicodeDecodeError as error:
        line = written.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{name}, line {line}: expected text in UTF-8, but got byte "
            f"0x{written[error.start]:02x}, as of Latin-1 or Windows-1252; save it as UTF-8"
        ) from None


def content(text: str, where: str) -> Any:
    """The content of a YAML text; `where` names it. Raises UserError if it cannot be read."""
    where = where[-MOST_OF_PATH:]
    try:
        return yaml.load(text, _Loader)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        told = " ".join(filter(None, (error.problem, error.context))) or "not readable"
        kind = "" if isinstance(error, _Refused) else "not valid YAML: "
        raise UserError(f"{where}, line {line}: {kind}{told[:250]}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UserError(
            f"{where}, line {line}: character U+{ord(text[error.position]):04X} is not allowed; "
            "remove it"
        ) from None
    except ValueError as error:  # such as an escape of no character
        raise UserError(f"{where}: not valid YAML: {shown(str(error))}") from None


class _Refused(yaml.MarkedYAMLError):
    """YAML that is valid, but not what is expected here."""


class _Loader(yaml.SafeLoader):
    """Refuses what is not plain data with unique keys; see the module."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = self._values = 0
        self._sizes: dict[int, int] = {}  # id of a complete node → values in it

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        """A node without tags, of bounded depth and size, aliases included."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        before = self._values
        if getattr(event, "tag", None) is not None:
            _refuse(f"the tag {shown(event.tag)} is not expected; remove it", event)
        if self._depth >= DEEPEST:
            _refuse(f"expected at most {DEEPEST} levels of nesting; remove brackets", event)
        self._depth += 1
        node: Node | None = super().compose_node(parent, index)
        self._depth -= 1
        alias = isinstance(event, yaml.AliasEvent)
        if alias and id(node) not in self._sizes:
            _refuse(f"{shown('*' + event.anchor)} stands for what it is in; remove it", event)
        self._values += self._sizes[id(node)] if alias else 1
        if self._values > MOST_VALUES:
            _refuse(f"expected at most {MOST_VALUES:,} values, each alias counted in full", event)
        self._sizes.setdefault(id(node), self._values - before)
        return node

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """A mapping whose keys are names, each once."""
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, ScalarNode) or not key.tag.endswith((":str", ":merge")):
                got = shown(key.value) if isinstance(key, ScalarNode) else "a list or a section"
                _refuse(f"expected a name as key, but got {got}; put it in quotes", key)
            line = key.start_mark.line + 1
            if key.value in lines:
                first = lines[key.value]
                _refuse(f"key {shown(key.value)} stands twice, first in line {first}", key)
            lines[key.value] = line
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
        return mapping

    def construct_scalar(self, node: ScalarNode | MappingNode) -> Any:
        """Text without characters that end a path or cannot be written."""
        if isinstance(node, ScalarNode) and _UNTOLD.search(node.value):
            _refuse(f"{shown(node.value)} has a character that no text can have", node)
        return super().construct_scalar(node)

    def number(self, node: ScalarNode) -> int | float:
        """A number that every reader of YAML reads so."""
        value: str = node.value
        if _AMBIGUOUS.fullmatch(value) or len(value) > LONGEST_NUMBER:
            _refuse(
                f"{shown(value)} is no number that all readers of YAML read alike; expected one "
                "such as 10, 0.5 or 1.0e-4, or quotes for a text",
                node,
            )
        if value.lower().lstrip("+-") in (".inf", ".nan"):
            return float(value.lower().replace(".", ""))
        return int(value, 0) if node.tag.endswith(":int") else float(value)


def _refuse(problem: str, at: Any) -> NoReturn:
    raise _Refused(problem=problem, problem_mark=at.start_mark)


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if not tag.endswith((":timestamp", ":bool", ":value"))
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\.\d+|\d+(\.\d*)?)[eE][-+]?\d+$"),
    [*"-+0123456789."],
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile("(true|True|TRUE|false|False|FALSE)$"), [*"tTfF"]
)
for _kind in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _Loader.number)
