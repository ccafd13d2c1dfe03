"""Reads and checks params.yaml, and explains mistakes in it. The only reader of that file.

Unknown keys are rejected; the message suggests the closest known one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from pipeline.config import rules
from pipeline.config.sections import Data, Params
from pipeline.datasets.sources import SOURCES
from pipeline.errors import UserError, nearest
from pipeline.models.architectures import MODELS, Model

FILE = "params.yaml"
STUDY_HELP = f"a study of {FILE}, such as circles"
T = TypeVar("T")


def load(path: str | Path = FILE) -> Params:
    """Reads and checks params.yaml. Raises UserError with every mistake and its location."""
    return parse(read(path), str(path))


def read(path: str | Path = FILE) -> Any:
    """The content of params.yaml, unchecked. Raises UserError if it is missing or not YAML."""
    path = Path(path)
    try:
        return content(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        raise UserError(
            f"{path} not found; run this command in the folder that contains it"
        ) from None


def content(text: str, where: str = FILE) -> Any:
    """The content of a text of params.yaml, unchecked. Raises UserError if it is not YAML."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{where} is not valid YAML: {error}") from None


def named(name: str) -> str:
    """A study's name from a command line. Raises UserError if params.yaml has no such study."""
    load().study(name)
    return name


def parse(raw: object, where: str = FILE) -> Params:
    """Checks the parsed YAML; `where` names its source in messages.

    Raises UserError with every mistake and its location.
    """
    params = validate(Params, raw, where)
    problems = [
        *rules.name_problems(params.studies),
        *(
            f"{name}.{problem}"
            for name, study in params.studies.items()
            for problem in rules.study_problems(study)
        ),
    ]
    if problems:
        raise UserError("\n".join(f"{where}:studies.{problem}" for problem in problems))
    return params


def validate(kind: type[T], raw: object, where: str) -> T:
    """`raw` as a `kind`. Raises UserError with every mistake and its location in `where`."""
    try:
        return TypeAdapter(kind).validate_python(raw)
    except ValidationError as error:
        lines = [f"{where}:{_explain(kind, raw, dict(mistake))}" for mistake in error.errors()]
        raise UserError("\n".join(dict.fromkeys(lines))) from None


def _explain(kind: type[Any], raw: object, mistake: dict[str, Any]) -> str:
    """One validation error in words: its location, what was expected, what was received."""
    path = _path(raw, mistake)
    location, context = ".".join(path), mistake.get("ctx", {})
    if mistake["type"] == "unexpected_keyword_argument":
        *section, key = path
        hint = nearest(key, _known_keys(kind, raw, section))
        return f"{'.'.join(section) or 'top level'}: unknown key {key!r}{hint}"
    if mistake["type"] == "union_tag_invalid":
        expected = [word.strip(" '") for word in context["expected_tags"].split(",")]
        tag = context["tag"]
        return f"{location}.{_tag(context)}: unknown {tag!r}{nearest(tag, expected)}"
    if mistake["type"] == "union_tag_not_found":
        return f"{location}.{_tag(context)}: required, but missing"
    if mistake["type"] in ("missing", "missing_argument"):
        return f"{location}: required, but missing"
    if mistake["type"] == "value_error":
        return f"{location}: {context['error']}"
    message = mistake["msg"][0].lower() + mistake["msg"][1:]
    return f"{location}: {message}, but got {mistake['input']!r}"


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
    if hint in (Data, Model) or get_origin(hint) is tuple:
        return hint
    kinds = [hint, *get_args(hint)]
    return next((kind for kind in kinds if is_dataclass(kind) or get_origin(kind) is Mapping), hint)
