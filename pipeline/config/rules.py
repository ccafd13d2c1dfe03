"""Checks of params.yaml that need more than one field: names, techniques, sums of counts.

Each rule yields its problems as text, with their location within the study.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from pipeline.config.sections import (
    LEAST_RATE,
    MOST_EPOCHS,
    MOST_RATE,
    OF_TRAINING,
    SearchRange,
    Study,
    TechniqueParams,
)
from pipeline.errors import UserError, listed, nearest, shown
from pipeline.models.architectures import MODELS, size_problem
from pipeline.techniques.fit import fitting, misfit
from pipeline.techniques.registry import BASELINE, TECHNIQUES, Technique
from pipeline.techniques.training import ValidationToo

MOST_VALUES = 2**29  # numbers that the draws of a study keep
MOST_RUNS = 10**6
USUAL_BATCH = 32  # Keras's
LEAST_VALUE, MOST_VALUE = (
    1e-30,
    1e9,
)  # of a hyperparameter, beyond which float32 takes it for 0 or ∞
LONGEST_NAME = 64  # characters; it names a folder, an experiment and files
# Words that pandas reads as a missing value, a truth value or a number, in any case.
UNREADABLE = frozenset(("na", "nan", "null", "none", "true", "false", "inf", "infinity"))
UNREADABLE_NAME = "this word would not be read back as text from a table of results"


def name_problems(names: Iterable[str]) -> Iterator[str]:
    """Names of studies that are invalid or too similar for folders, result tables or MLflow."""
    by_lower_case: dict[str, str] = {}
    for name in names:
        if problem := _name_problem(name):
            yield f"{name}: {problem}"
        same = by_lower_case.setdefault(name.lower(), name)
        if same != name:
            yield f"{name}: names must differ in more than case, but there is also {same!r}"


def _name_problem(name: str) -> str | None:
    """The problem of a study's name, or None if it is valid."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name):
        return f"a name must be a letter, then letters, digits, _ or -, but got {shown(name)}"
    if len(name) > LONGEST_NAME:
        return f"a name may have at most {LONGEST_NAME} characters, but got {len(name)}"
    if name.lower() in UNREADABLE:
        return UNREADABLE_NAME
    return None


def study_problems(study: Study) -> Iterator[str]:
    """Problems that need more than one field: techniques, their values, sums of counts."""
    if problem := _score_problem(study):  # without a task nothing else can be checked
        yield problem
        return
    if not study.data.images and study.model.images:
        for_points = " or ".join(repr(name) for name, model in MODELS.items() if not model.images)
        yield (
            f"model.architecture: {study.model.architecture!r} needs images, but the data are "
            f"points; expected {for_points}"
        )
    yield from _size_problems(study)
    for name in study.techniques:
        yield from _technique_problems(name, study)
    if study.training.momentum and study.training.optimizer != "sgd":
        yield (
            f"training.momentum: must be left out with {study.training.optimizer}, since momentum "
            f"is of sgd, but got {study.training.momentum}"
        )
    task = study.model.own_task or study.data.trained_for
    if study.training.class_weight and not task.labels:
        yield (
            f"training.class_weight: must be left out without classes, in a {task.kind}, but got "
            f"{study.training.class_weight!r}"
        )
    learning_rate = study.tuning.learning_rate
    if learning_rate is not None:
        yield from _range_problems("tuning.learning_rate", learning_rate)
        yield from _rate_problems("tuning.learning_rate.low", learning_rate.low)
        yield from _rate_problems("tuning.learning_rate.high", learning_rate.high)
        if learning_rate.integer:
            yield "tuning.learning_rate.integer: must be left out, since a rate is no whole number"
    pruning = study.tuning.pruning
    if pruning is not None and pruning.first >= study.tuning.epochs:
        yield (
            f"tuning.pruning.first: must be below epochs={study.tuning.epochs}, "
            f"but got {pruning.first}"
        )
    yield from _baseline_problems(study.techniques)
    if study.tuning.round > study.tuning.trials:
        yield (
            f"tuning.round: must be at most trials={study.tuning.trials}, "
            f"but got {study.tuning.round}"
        )
    yield from _race_problems(study)
    yield from _replicate_problems(study)
    for name in study.techniques:
        yield from _final_problems(name, study)
    yield from _outcome_problems(study)
    yield from _vary_problems(study)


def _score_problem(study: Study) -> str | None:
    """A score that the task lacks, or that the architecture's own task does not go by."""
    try:
        task = study.data.trained_for
    except UserError as error:
        return f"data.score: {error}"
    own = study.model.own_task
    if own is None or own.kind == task.kind or study.data.score is None:
        return None
    return (
        f"data.score: must be left out with model.architecture={study.model.architecture!r}, which "
        f"goes by {own.score.title}, but got {study.data.score!r}"
    )


def _size_problems(study: Study) -> Iterator[str]:
    """A network, data or numbers of runs that fit no memory or no time, or that are no batch."""
    data = study.data
    if problem := size_problem(study.model, data.example_shape):
        yield problem
    if problem := batch_problem(study.training.batch_size, data.train_rows):
        yield problem
    if data.kept_values > MOST_VALUES:
        yield (
            f"data: draws must keep at most {MOST_VALUES:,} numbers, which take "
            f"{MOST_VALUES * 4 / 2**30:.0f} GiB, but got {data.kept_values:,}; reduce "
            "`draws` or rows"
        )
    final, tuning, sizes = study.final, study.tuning, study.final.vary
    searched = len(final.turns) * sum(heat.candidates * heat.draws for heat in tuning.heats)
    trained = study.replicates * final.seeds * (len(final.turns) if final.crossed else 1)
    runs = len(study.techniques) * (searched + trained) * (len(sizes.sizes) if sizes else 1)
    if runs > MOST_RUNS:
        yield (
            f"tuning: a study must have at most {MOST_RUNS:,} runs, since each takes a second or "
            f"more, but got about {runs:,}; reduce `trials`, `seeds` or `replicates`"
        )


def batch_problem(batch_size: int, rows: int | None) -> str | None:
    """A batch far beyond the training rows; one step beyond is usual, such as 32 of 30 rows."""
    if rows is None or batch_size <= (most := max(USUAL_BATCH, 2 * rows)):
        return None
    return (
        f"training.batch_size: must be at most {most} with {rows} training rows, all of which are "
        f"one batch then, but got {batch_size}"
    )


def _race_problems(study: Study) -> Iterator[str]:
    """A race has fewer and fewer candidates on more and more draws."""
    heats = study.tuning.heats
    for index, (before, heat) in enumerate(pairwise(heats)):
        where = f"tuning.race.{index}"
        if heat.candidates > before.candidates:
            yield (
                f"{where}.candidates: must be at most {before.candidates}, those before, "
                f"but got {heat.candidates}"
            )
        if heat.draws <= before.draws:
            yield f"{where}.draws: must be above {before.draws}, those before, but got {heat.draws}"


def _replicate_problems(study: Study) -> Iterator[str]:
    """Enough draws for final runs and searches, which share none unless each has its own."""
    final = study.final
    draws = study.data.own_draws
    if draws is None:
        if final.searches is None and final.replicates > 1:
            yield (
                f"final.searches: data with one split need a number of searches, such as 1; each "
                f"of {final.replicates} replicates cannot have its own"
            )
        return
    most = study.replicates
    searches = len(final.turns) * study.tuning.draws if final.crossed else 0
    if draws < most + searches:
        yield (
            f"data.draws: must be at least {most + searches}, {most} for the final runs and "
            f"{searches} for the searches, but got {draws}"
        )


def _final_problems(name: str, study: Study) -> Iterator[str]:
    """Every search of a technique needs one of the baseline, and values need a search."""
    own, searches = study.final_of(name), len(study.final.turns)
    where, key = f"techniques.{name}.final", "searches" if study.final.crossed else "replicates"
    got = len(own.turns)
    if own.seeds > study.final.seeds:
        yield (
            f"{where}.seeds: must be at most {study.final.seeds}, those of the study, "
            f"but got {own.seeds}"
        )
    if own.crossed and not study.final.crossed:
        yield (
            f"{where}.searches: must be left out, since each of the study's {searches} replicates "
            f"has a search of its own, but got {own.searches}"
        )
    elif got > searches:
        yield f"{where}.{key}: must be at most {searches}, those of the study, but got {got}"
    elif name == BASELINE and got < searches:
        yield (
            f"{where}.{key}: must be {searches}, those of the study, as the baseline of every "
            f"search, but got {got}"
        )
    source = study.techniques[name].values_of
    if (
        source is not None
        and source in study.techniques
        and got > (most := len(study.final_of(source).turns))
    ):
        yield f"{where}.{key}: must be at most {most}, those of {source!r}, but got {got}"


def _vary_problems(study: Study) -> Iterator[str]:
    """What varies is one thing, at two sizes or more, and only tuned techniques meet it."""
    vary = study.final.vary
    if vary is None:
        return
    if bool(vary.rows) == bool(vary.width):
        got = "both" if vary.rows else "neither"
        yield f"final.vary: must have one of `rows` and `width`, but got {got}"
        return
    sizes, where = vary.sizes, f"final.vary.{vary.what}"
    if len(sizes) < 2 or any(b <= a for a, b in pairwise(sizes)):
        yield f"{where}: must be two or more sizes, each above the one before, but got {[*sizes]}"
    if vary.width and not study.model.hidden:
        yield f"{where}: needs hidden layers, but model.hidden is empty"
    for name, params in study.techniques.items():
        if params.article is not None or not params.tuned:
            yield (
                f"techniques.{name}.article: must be left out, since a study that varies "
                f"{vary.what} has tuned values alone"
            )


def _outcome_problems(study: Study) -> Iterator[str]:
    """Outcomes are measures of the task of which less or more is better."""
    task = study.model.own_task or study.data.trained_for
    comparable = {name for name, measure in task.measures.items() if measure.better}
    comparable.discard(task.test.name)
    if len(set(study.outcomes)) < len(study.outcomes):
        yield f"outcomes: each must stand once, but got {shown([*study.outcomes])}"
    for name in study.outcomes:
        if name == task.test.name:
            yield f"outcomes: {name!r} is the score of the study, which is always compared"
        elif name not in comparable:
            yield f"outcomes: unknown measure {shown(name)}{nearest(name, sorted(comparable))}"


def _baseline_problems(techniques: Mapping[str, TechniqueParams]) -> Iterator[str]:
    """Every setting of a technique needs the baseline in that setting."""
    baseline = techniques.get("none")
    if baseline is None:
        yield "techniques: `none` is required, as the baseline of every comparison"
    elif baseline.article is None:
        in_article = [name for name, params in techniques.items() if params.article is not None]
        if in_article:
            yield (
                "techniques.none: needs `article: {}`, as the baseline of the article setting of "
                f"{listed(in_article)}"
            )


def _technique_problems(name: str, study: Study) -> Iterator[str]:
    """Problems of one technique's name, parts, fit to model and data, and values."""
    params = study.techniques[name]
    if params.combine and not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII):
        # It becomes a folder, the name of a parameter in MLflow, and an id in a page.
        yield f"techniques: expected letters, digits and _ in your own name, but got {shown(name)}"
        return
    if params.combine and len(name) > LONGEST_NAME:
        yield (
            f"techniques: a name of your own may have at most {LONGEST_NAME} characters, but got "
            f"{len(name)}"
        )
        return
    if problem := _repeated(params.combine):
        yield f"techniques.{name}.combine: {problem}"
        return
    if params.combine and name.lower() in UNREADABLE:
        yield f"techniques.{name}: {UNREADABLE_NAME}"
        return
    if params.combine and name in TECHNIQUES:
        yield f"techniques.{name}.combine: {name!r} is a registered technique; choose another name"
        return
    if not params.combine and name not in TECHNIQUES:
        yield (
            f"techniques: unknown key {shown(name)}{nearest(name, TECHNIQUES)}, or, for a name of "
            "your own, `combine`"
        )
        return
    try:
        technique = study.technique(name)
    except ValueError as error:
        yield f"techniques.{name}.combine: {error}"
        return
    images, task = study.data.images, study.data.trained_for
    if problem := misfit(technique.lowest, study.model, images, task):
        expected = listed(fitting(study.model, images, task))
        yield f"techniques.{name}: {problem}; expected one of {expected}"
    yield from _value_problems(name, params, technique)
    yield from _of_training_problems(name, study)
    yield from _patience_problems(name, study)
    yield from _values_of_problems(name, study)
    if technique.lowest.get(ValidationToo) is not None:
        yield from _validation_problems(name, study)


def _repeated(parts: Sequence[str]) -> str | None:
    """A part, or a layer of a part, that stands twice in a combination."""
    for words in (parts, *(part.split("/")[1:] for part in parts)):
        if len(set(words)) < len(words):
            return f"each must stand once, but got {shown([*words])}"
    return None


def _values_of_problems(name: str, study: Study) -> Iterator[str]:
    """A technique that takes the values of another one's search needs that search."""
    params = study.techniques[name]
    where = f"techniques.{name}.values_of"
    if params.values_of is None:
        return
    if params.values_of not in study.searched:
        hint = nearest(params.values_of, study.searched)
        yield f"{where}: no search of {shown(params.values_of)}{hint}"
        return
    if params.search or not params.tuned:
        yield f"{where}: has no search of its own; remove `search` or `tuned`"
    own, others = ([*study.technique(each).search] for each in (name, params.values_of))
    if sorted(own) != sorted(others):
        yield (
            f"{where}: must name a search of the hyperparameters {own}, but got "
            f"{params.values_of!r}, which has {others}"
        )


def _validation_problems(name: str, study: Study) -> Iterator[str]:
    """Of a technique that trains on the validation examples too: their score says nothing."""
    params = study.techniques[name]
    if params.tuned and params.values_of is None:
        yield (
            f"techniques.{name}.values_of: required, such as `none`: {name!r} trains on the "
            "validation examples, so their score cannot choose its values"
        )
    if params.article is not None and study.data.article_points:
        yield (
            f"techniques.{name}.article: must be left out: {name!r} trains on the validation "
            "examples, which an article may use as its test examples"
        )


def _range_problems(location: str, search_range: SearchRange) -> Iterator[str]:
    try:
        search_range.range()
    except ValueError as error:
        yield f"{location}: {error}"
    for end in ("low", "high"):
        value = getattr(search_range, end)
        yield from _number_problems(f"{location}.{end}", value, search_range.integer)


def _number_problems(location: str, value: float, integer: bool) -> Iterator[str]:
    """A hyperparameter that a program cannot hold, or that must be whole and is not."""
    if value and not LEAST_VALUE <= abs(value) <= MOST_VALUE:
        yield (
            f"{location}: must be 0 or of a size from {LEAST_VALUE:g} to {MOST_VALUE:g}, since "
            f"training has 32 bits, but got {value}"
        )
    elif integer and value != int(value):
        yield f"{location}: must be a whole number, but got {value}"


def _patience_problems(name: str, study: Study) -> Iterator[str]:
    """A patience that was asked for and that no training is long enough for."""
    params = study.techniques[name]
    given = params.article or {}
    longest = given.get("epochs", study.training.epochs)
    article = {key: (value, longest) for key, value in given.items()}
    search = {key: (found.low, study.tuning.epochs) for key, found in params.search.items()}
    for where, asked in (("article", article), ("search", search)):
        for key, (value, epochs) in asked.items():
            if key.rpartition(".")[2] == "patience" and value > epochs:
                yield (
                    f"techniques.{name}.{where}.{key}: must be at most epochs={epochs:g}, after "
                    f"which nothing is stopped, but got {value:g}"
                )


def _value_problems(name: str, params: TechniqueParams, technique: Technique) -> Iterator[str]:
    """Problems of the article's values and the ranges of one technique."""
    known = technique.search
    for key, search_range in params.search.items():
        if key not in known:
            yield f"techniques.{name}.search: unknown key {shown(key)}{nearest(key, known)}"
            return
        if known[key].integer and not search_range.integer:
            yield f"techniques.{name}.search.{key}: `integer: true` is needed for whole numbers"
        yield from _range_problems(f"techniques.{name}.search.{key}", search_range)
    ranges = {**known, **params.search}
    for end in ("low", "high"):
        try:
            technique.apply(
                {key: getattr(search_range, end) for key, search_range in ranges.items()}
            )
        except ValueError as error:
            yield f"techniques.{name}.search: {error}"
    if not params.tuned and (params.article is None or name == "none"):
        baseline = "but the baseline is needed in every setting"
        why = baseline if name == "none" else "but `article` is missing"
        yield f"techniques.{name}.tuned: `false` leaves only the article setting, {why}"
    if not params.tuned and params.search:
        yield f"techniques.{name}.search: has no effect with `tuned: false`; remove one of them"
    if params.article is not None:
        own = {key: value for key, value in params.article.items() if key not in OF_TRAINING}
        for key, value in own.items():
            whole = key in known and known[key].integer
            yield from _number_problems(f"techniques.{name}.article.{shown(key)}", value, whole)
        try:
            technique.apply(own)
        except ValueError as error:
            yield f"techniques.{name}.article: {error}"


def _rate_problems(location: str, rate: float) -> Iterator[str]:
    if rate <= 0:
        yield f"{location}: must be > 0, but got {rate}"
    elif not LEAST_RATE <= rate <= MOST_RATE:
        yield f"{location}: must be from {LEAST_RATE:g} to {MOST_RATE:g}, but got {rate}"


def _of_training_problems(name: str, study: Study) -> Iterator[str]:
    """What an article has of its own and no training can have: OF_TRAINING."""
    article, where = study.techniques[name].article or {}, f"techniques.{name}.article"
    yield from _rate_problems(f"{where}.learning_rate", article.get("learning_rate", 1.0))
    epochs = article.get("epochs", 1)
    if not (1 <= epochs <= MOST_EPOCHS and epochs % 1 == 0):
        whole = f"a whole number from 1 to {MOST_EPOCHS:,}"
        yield f"{where}.epochs: must be {whole}, but got {epochs:g}"
    momentum, optimizer = article.get("momentum", 0.0), study.training.optimizer
    if not 0 <= momentum < 1:
        yield f"{where}.momentum: must lie in [0, 1), but got {momentum}"
    elif momentum and optimizer != "sgd":
        yield (
            f"{where}.momentum: must be left out with {optimizer}, since momentum is of sgd, "
            f"but got {momentum}"
        )
