"""What no single field of params.yaml can see: names, values of techniques, counts that add up.

Each rule yields its problems as text, with their place within the study.
"""

import re
from collections.abc import Iterable, Iterator, Mapping

from pipeline.config.sections import SearchRange, Study, TechniqueParams
from pipeline.errors import nearest
from pipeline.models.architectures import MODELS
from pipeline.techniques.fit import fitting, misfit
from pipeline.techniques.registry import TECHNIQUES, Technique

LONGEST_NAME = 64  # characters; a study's name is a folder, an experiment, a part of file names
# Words that pandas takes for a missing value, a truth or a number, in whatever case.
UNREADABLE = frozenset(("na", "nan", "null", "none", "true", "false", "inf", "infinity"))


def name_problems(names: Iterable[str]) -> Iterator[str]:
    """Names of studies that folders, tables of results or MLflow cannot keep apart."""
    taken: dict[str, str] = {}
    for name in names:
        if problem := _name_problem(name):
            yield f"{name}: {problem}"
        first = taken.setdefault(name.lower(), name)
        if first != name:
            yield f"{name}: expected names that differ in more than case, but {first!r} is there"


def _name_problem(name: str) -> str | None:
    """What is wrong with the name of a study, in words."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name):
        return f"expected a letter, then letters, digits, _ or - as a name, but got {name!r}"
    if len(name) > LONGEST_NAME:
        return f"expected a name of at most {LONGEST_NAME} characters, but got {len(name)}"
    if name.lower() in UNREADABLE:
        return "expected a name that a table of results reads back as text"
    return None


def study_problems(study: Study) -> Iterator[str]:
    """What no single field can see: names of techniques, their values, and counts that add up."""
    if not study.data.images and study.model.images:
        others = " or ".join(repr(name) for name, kind in MODELS.items() if not kind.images)
        yield (
            f"model.architecture: points are for an {others}; "
            f"{study.model.architecture!r} takes images"
        )
    for name in study.techniques:
        yield from _technique_problems(name, study)
    learning_rate = study.tuning.learning_rate
    if learning_rate is not None:
        yield from _range_problems("tuning.learning_rate", learning_rate)
        if learning_rate.low <= 0:
            yield f"tuning.learning_rate.low: must be > 0, but got {learning_rate.low}"
    pruning = study.tuning.pruning
    if pruning is not None and pruning.first >= study.tuning.epochs:
        yield (
            f"tuning.pruning.first: must be below epochs={study.tuning.epochs}, "
            f"but got {pruning.first}"
        )
    yield from _baseline_problems(study.techniques)
    if study.tuning.round > study.tuning.trials:
        yield f"tuning.round: at most trials={study.tuning.trials}, but got {study.tuning.round}"
    draws, needed = getattr(study.data, "draws", None), study.tuning.seeds + study.final.seeds
    if draws is not None and draws < needed:
        yield f"data.draws: at least tuning.seeds + final.seeds = {needed}, but got {draws}"


def _baseline_problems(techniques: Mapping[str, TechniqueParams]) -> Iterator[str]:
    """Every setting that a technique has needs its baseline."""
    baseline = techniques.get("none")
    if baseline is None:
        yield "techniques: `none`, the baseline of every comparison, is missing"
    elif baseline.article is None:
        others = [name for name, given in techniques.items() if given.article is not None]
        if others:
            yield (
                "techniques.none.article: `article: {}` is missing, the baseline of the article's "
                f"setting of {', '.join(others)}"
            )


def _technique_problems(name: str, study: Study) -> Iterator[str]:
    """What one technique is called and made of, whether it fits, and its values."""
    given = study.techniques[name]
    if given.combine and not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII):
        # It becomes a folder, a parameter's name in MLflow, an id in a page.
        yield f"techniques: expected letters, digits and _ in a name of your own, but got {name!r}"
        return
    if given.combine and name.lower() in UNREADABLE:
        yield f"techniques.{name}: expected a name that a table of results reads back as text"
        return
    if given.combine and name in TECHNIQUES:
        yield f"techniques.{name}.combine: expected a name of its own, but {name!r} is registered"
        return
    if not given.combine and name not in TECHNIQUES:
        yield (
            f"techniques: unknown key {name!r}{nearest(name, TECHNIQUES)}; a name of your own needs"
            " `combine`"
        )
        return
    try:
        technique = study.technique(name)
    except ValueError as error:
        yield f"techniques.{name}.combine: {error}"
        return
    images = study.data.images
    if problem := misfit(technique.lowest, study.model, images):
        expected = ", ".join(fitting(study.model, images))
        yield f"techniques.{name}: {problem}; expected one of {expected}"
    yield from _value_problems(name, given, technique)


def _range_problems(place: str, given: SearchRange) -> Iterator[str]:
    try:
        given.range()
    except ValueError as error:
        yield f"{place}: {error}"


def _value_problems(name: str, given: TechniqueParams, technique: Technique) -> Iterator[str]:
    """The article's values and the ranges of one technique, against what it takes."""
    known = technique.search
    for key, found in given.search.items():
        if key not in known:
            yield f"techniques.{name}.search: unknown key {key!r}{nearest(key, known)}"
            return
        if known[key].integer and not found.integer:
            yield f"techniques.{name}.search.{key}: `integer: true` is needed for whole numbers"
        yield from _range_problems(f"techniques.{name}.search.{key}", found)
    searched = {**known, **given.search}
    for end in ("low", "high"):
        try:
            technique.apply({key: getattr(found, end) for key, found in searched.items()})
        except ValueError as error:
            yield f"techniques.{name}.search: {error}"
    if not given.tuned and (given.article is None or name == "none"):
        why = "and every comparison needs none" if name == "none" else "but `article` is missing"
        yield f"techniques.{name}.tuned: false leaves only the article's setting, {why}"
    if not given.tuned and given.search:
        yield f"techniques.{name}.search: `tuned: false` searches nothing"
    if given.article is not None:
        try:
            technique.apply(given.article)
        except ValueError as error:
            yield f"techniques.{name}.article: {error}"
