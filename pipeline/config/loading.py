"""Reads and checks params.yaml, and explains mistakes in it. The only reader of that file.

Unknown keys are rejected; the message suggests the closest known one.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from pipeline.config import rules
from pipeline.config.sections import Data, Params
from pipeline.datasets import strict_yaml
from pipeline.datasets.sources import SOURCES
from pipeline.errors import LONGEST, UserError, nearest, shown
from pipeline.models.architectures import MODELS, Model

FILE = "params.yaml"
STUDY_HELP = f"a study of {FILE}, such as circles"
T = TypeVar("T")


def load(path: str | Path = FILE) -> Params:
    """Reads and checks params.yaml. Raises UserError with every mistake and its location."""
    return parse(read(path), str(path))


def read(path: str | Path = FILE) -> Any:
    """The content of params.yaml, unchecked. Raises UserError if it is missing or not YAML."""
    if not Path(path).exists():
        raise UserError(
            f"{_cut(str(path))} not found; run this command in the folder that contains it"
        )
    return strict_yaml.read(path)


def content(text: str, where: str = FILE) -> Any:
    """The content of a text of params.yaml, unchecked. Raises UserError if it is not YAML."""
    return strict_yaml.content(text, where)


def named(name: str) -> str:
    """A study's name from a command line. Raises UserError if params.yaml has no such study."""
    load().study(name)
    return name


def parse(raw: object, where: str = FILE) -> Params:
    """Checks the parsed YAML; `where` names its source in messages.

    Raises UserError with every mistake and its location.
    """
    params = validate(Params, raw, where, strict=True)
    problems = [
        *rules.name_problems(params.studies),
        *(
            f"{name}.{problem}"
            for name, study in params.studies.items()
            for problem in rules.study_problems(study)
        ),
    ]
    if problems:
        raise UserError(_joined([f"{_cut(where)}:studies.{problem}" for problem in problems]))
    return params


def _joined(problems: Iterable[str]) -> str:
    """As many of the problems as a message has place for, one per line, and how many are left."""
    lines, told = list(dict.fromkeys(problems)), ""
    for index, line in enumerate(lines):
        left = len(lines) - index
        rest = f"\nand {left} more" if index else ""
        if index and len(f"{told}\n{line}\nand {left - 1} more") >= LONGEST:
            return told + rest
        told += f"\n{line}" if index else _cut(line, LONGEST - 20)
    return told


def _cut(text: str, most: int = 100) -> str:
    """The text, or its beginning and end if it is longer than that."""
    half = most // 2 - 2
    return text if len(text) <= most else f"{text[:half]} ... {text[len(text) - half :]}"


def validate(kind: type[T], raw: object, where: str, strict: bool = False) -> T:
    """`raw` as a `kind`. Raises UserError with mistakes and their locations in `where`.

    `strict`: whether text and truth values are no numbers, as in a file; on a command line all is
    text.
    """
    adapter = TypeAdapter(kind)
    try:
        if strict:  # as JSON, of which lists can become tuples, and nothing else becomes another
            return adapter.validate_json(json.dumps(raw, default=str), strict=True)
        return adapter.validate_python(raw)
    except ValidationError as error:
        mistakes = [dict(mistake) for mistake in error.errors() if not _follows(mistake, error)]
        lines = (f"{_cut(where)}:{_explain(kind, raw, mistake)}" for mistake in mistakes)
        raise UserError(_joined(lines)) from None


def _follows(mistake: Mapping[str, Any], error: ValidationError) -> bool:
    """Whether a list is called too short for the only reason that its items are mistakes."""
    outer = mistake["loc"]
    inner = (other["loc"] for other in error.errors() if len(other["loc"]) > len(outer))
    return mistake["type"] == "too_short" and any(loc[: len(outer)] == outer for loc in inner)


def _explain(kind: type[Any], raw: object, mistake: dict[str, Any]) -> str:
    """One validation error in words: its location, what was expected, what was received."""
    path = _path(raw, mistake)
    location, context = ".".join(map(_cut, path)) or "top level", mistake.get("ctx", {})
    if mistake["type"] == "unexpected_keyword_argument":
        *section, key = path
        hint = nearest(key, _known_keys(kind, raw, section))
        return f"{'.'.join(map(_cut, section)) or 'top level'}: unknown key {shown(key)}{hint}"
    if mistake["type"] == "union_tag_invalid":
        expected = [word.strip(" '") for word in context["expected_tags"].split(",")]
        tag = context["tag"]
        return f"{location}.{_tag(context)}: unknown {shown(tag)}{nearest(tag, expected)}"
    if mistake["type"] == "union_tag_not_found":
        return f"{location}.{_tag(context)}: required, but missing"
    if mistake["type"] in ("missing", "missing_argument"):
        return f"{location}: required, but missing"
    if mistake["type"] == "value_error":
        return f"{location}: {context['error']}"
    message = mistake["msg"][0].lower() + mistake["msg"][1:]
    for of_json, told in (("an object", "a dictionary"), ("array", "list")):
        message = message.replace(of_json, told)
    return f"{location}: {message}, but got {shown(mistake['input'])}"


def _tag(context: Mapping[str, Any]) -> str:
    """The key whose value selects the class of a section, such as `source`."""
    return str(context["discriminator"]).strip("'")


def _path(raw: object, mistake: Mapping[str, Any]) -> list[str]:
    """The keys that lead to a mistake in `raw`.

    pydantic also names the branch of a union, which is no key of params.yaml: names that `raw` does
    not have are left out, except for a missing key, which comes last.
    """
    path, container = [], raw
    for part in mistake["loc"]:
        if isinstance(container, Mapping | list) and _holds(container, part):
            container = container[part]
            path.append(str(part))
    if mistake["type"] in ("missing", "missing_argument"):
        path.append(str(mistake["loc"][-1]))
    return path


def _holds(container: Mapping[Any, Any] | list[Any], part: object) -> bool:
    """Whether a part of a location is a key or an index of this container."""
    return isinstance(part, int) if isinstance(container, list) else part in container


def _known_keys(kind: Any, raw: Any, section: Sequence[str]) -> list[str]:
    """The keys that are valid in a section of `raw`, which is checked as a `kind`."""
    for part in section:
        raw = raw[int(part) if isinstance(raw, list) else part]
        kind = _kind_of_value(kind, part)
        if kind == Data:
            kind = SOURCES[raw["source"]].section
        elif kind == Model:
            kind = MODELS[raw["architecture"]]
    return [field.name for field in fields(kind)] if is_dataclass(kind) else []


def _kind_of_value(kind: Any, key: str) -> Any:
    """The type of the value under a key of a section, a mapping or a list."""
    if get_origin(kind) is Mapping:
        return get_args(kind)[1]
    if get_origin(kind) is tuple:
        return get_args(kind)[0]
    hint = get_type_hints(kind, include_extras=True)[key]
    while get_origin(hint) is Annotated and hint not in (Data, Model):
        hint = get_args(hint)[0]
    if hint in (Data, Model) or get_origin(hint) is tuple:
        return hint
    kinds = [hint, *get_args(hint)]
    return next((kind for kind in kinds if is_dataclass(kind) or get_origin(kind) is Mapping), hint)
