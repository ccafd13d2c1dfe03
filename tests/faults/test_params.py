"""Damaged params.yaml files: each is refused in a sentence, or what it says can be run.

`FAULTS=all pytest tests/faults/test_params.py` tries 5,000 files and runs stages with 200; without
it 500 and 10, of the same seed. Each file differs from a valid one in one to three places: values
(of another type, huge, not finite, absurd), structure (keys renamed, removed, repeated, swapped,
sections of another kind) and text (encodings, tags, aliases, nesting, characters).

A file that is accepted must have none of these kinds of nonsense, which `nonsense` looks for in the
raw values: a key that stands twice; text, truth values or fractions as whole numbers, text or truth
values as numbers; numbers that are not finite or beyond 32 bits; counts below 1; networks that fit
no memory; kernels larger than an image; a patience beyond the epochs; a batch far beyond the rows;
a technique repeated in a combination; more than a million runs; tags; aliases that multiply.
"""

import copy
import math
import os
import random
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.__main__ import main
from pipeline.config import loading
from pipeline.config.sections import Params
from pipeline.errors import LONGEST, UserError

ALL = os.environ.get("FAULTS") == "all"
SEED = 27

BASE = """\
seed: 1
engine: {workers: 1, program: graph, population: auto, deterministic: true}
tracking: {curve_points: 16, system_metrics: false}
studies:
  circles:
    data: {source: circles, input: data/sources/circles.yaml, noise: 0.1, train: 30, held_out: 70,
      validation: 70, test: 100, draws: 6}
    model: {architecture: mlp, hidden: [8], activation: relu}
    training: {optimizer: sgd, learning_rate: 0.001, batch_size: 32, epochs: 2, momentum: 0.5}
    tuning:
      trials: 2
      seeds: 1
      round: 2
      epochs: 2
      learning_rate: {low: 1.0e-4, high: 3.0e-2, log: true}
      pruning: {first: 1, factor: 2}
      race: [{candidates: 1, draws: 2}]
    final: {searches: 1, replicates: 2}
    outcomes: [test_loss, calibration_error]
    techniques:
      none: {article: {}}
      l2: {article: {strength: 1.0e-4}, search: {strength: {low: 1.0e-6, high: 0.1, log: true}}}
      early_stopping: {search: {patience: {low: 1, high: 2, integer: true}}}
  digits:
    data: {source: digits, input: data/sources/digits.yaml, validation: 357, test: 352, draws: 2}
    model: {architecture: cnn, filters: [4], kernel_size: 3, pool: 2, hidden: [4]}
    training: {optimizer: adam, learning_rate: 0.001, batch_size: 64, epochs: 1}
    tuning: {trials: 2, seeds: 1, round: 2, epochs: 1}
    final: {replicates: 2}
    techniques:
      none: {article: {}}
      dropout: {article: {rate: 0.25}}
      mine: {combine: [l1/first, dropout], tuned: false,
        article: {l1/first.strength: 1.0e-4, dropout.rate: 0.1}}
"""
RAW: dict[str, Any] = yaml.safe_load(BASE)

VALUES: list[Any] = [
    *(
        True,
        False,
        None,
        "",
        "3",
        "many",
        "auto",
        "2020-01-01",
        "x" * 5000,
        "\N{BELL}",
        "a/b",
        "../x",
    ),
    *(0, -1, 1, 2, 3, 5, 9, 50, 1000, 10**6, 10**9, 2**31, 2**63, 2**64, 10**400),
    *(0.0, -0.5, 0.5, 1.0, 2.5, 1e-300, 1e300, math.inf, -math.inf, math.nan),
    *([], [1], [1, 1], [10**9], [0.5], ["l1/first"] * 2, ["l2", "l2"], ["test_loss"] * 2, [[1]]),
    *({}, {"a": 1}, {"low": 1, "high": 2}, {"low": 2, "high": 1}, {"low": 1e-9, "high": 1e99}),
]
WORDS = [
    "seed",
    "data",
    "epochs",
    "l1",
    "dropout",
    "combine",
    "patience",
    "momentum",
    "vary",
    "x",
    "",
]
FRAGMENTS = [
    *("!!int '3'", "!!binary x", "!!python/object:os.system {}", "!x", "&a [*a]", "*b", "<<: 3"),
    *("2020-13-45", "010", "1:30", "0x1F", "1_000", "1e-4", "1e999", ".inf", "yes", "~", "=", "08"),
    *(
        "[" * 5000,
        "{" * 50,
        "- ",
        "? ",
        ": ",
        "\t",
        "\0",
        "\x85",
        "\u2028",
        '"\\ud800"',
        "'",
        '"',
        "%",
    ),
    *(
        "\N{SOFT HYPHEN}",
        "\N{CYRILLIC SMALL LETTER A}",
        "\N{ZERO WIDTH SPACE}",
        "\ufeff",
        "#",
        "|",
        ">",
    ),
    *("---\n", "...\n", "\r", "\n", "9" * 5000, "é", "\N{PILE OF POO}", "seed: 2\n"),
]
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join(f'*{a}' for _ in range(9))}]\n"
    for a, b in zip("abcdef", "bcdefg", strict=True)
)


def places(raw: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The keys that lead to each value."""
    items = (
        raw.items() if isinstance(raw, dict) else enumerate(raw) if isinstance(raw, list) else ()
    )
    for key, value in items:
        yield (*at, key)
        yield from places(value, (*at, key))


def holder(raw: Any, at: tuple[Any, ...]) -> Any:
    for key in at[:-1]:
        raw = raw[key]
    return raw


def changed_value(raw: Any, rng: random.Random) -> None:
    at = rng.choice([*places(raw)])
    holder(raw, at)[at[-1]] = copy.deepcopy(rng.choice(VALUES))


def changed_number(raw: Any, rng: random.Random) -> None:
    """A number becomes another one, often a possible one."""
    numbers = [at for at in places(raw) if isinstance(holder(raw, at)[at[-1]], int | float)]
    if numbers:
        at = rng.choice(numbers)
        old = holder(raw, at)[at[-1]]
        holder(raw, at)[at[-1]] = rng.choice([old + 1, old * 2, old / 2, 1, 2, 0, -old, float(old)])


def changed_key(raw: Any, rng: random.Random) -> None:
    keys = [at for at in places(raw) if isinstance(holder(raw, at), dict)]
    at = rng.choice(keys)
    section, key = holder(raw, at), str(at[-1])
    odd = rng.choice([
        key.replace("_", "-"), key.upper(), key + "s", key[:-1], key[::-1], 3, None, True,
        key[:2] + "\N{SOFT HYPHEN}" + key[2:], key.replace("a", "\N{CYRILLIC SMALL LETTER A}"),
        f" {key}", key * 100, rng.choice(WORDS),
    ])  # fmt: skip
    section[odd] = section.pop(at[-1])


def removed(raw: Any, rng: random.Random) -> None:
    at = rng.choice([*places(raw)])
    del holder(raw, at)[at[-1]]


def swapped(raw: Any, rng: random.Random) -> None:
    one, other = rng.sample([*places(raw)], 2)
    if one != other[: len(one)] and other != one[: len(other)]:
        a, b = holder(raw, one), holder(raw, other)
        a[one[-1]], b[other[-1]] = b[other[-1]], a[one[-1]]


def added(raw: Any, rng: random.Random) -> None:
    sections = [raw, *(holder(raw, at)[at[-1]] for at in places(raw))]
    section = rng.choice([each for each in sections if isinstance(each, dict)])
    section[rng.choice(WORDS)] = copy.deepcopy(rng.choice(VALUES))


def text_fragment(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + rng.choice(FRAGMENTS) + text[at:]


def text_value(text: str, rng: random.Random) -> str:
    """What stands after a colon becomes a fragment."""
    at = rng.choice([index for index, letter in enumerate(text) if letter == ":"] or [0]) + 1
    end = next((i for i in range(at, len(text)) if text[i] in ",}\n"), at)
    return f"{text[:at]} {rng.choice(FRAGMENTS)}{text[end:]}"


def text_line(text: str, rng: random.Random) -> str:
    """A line is repeated, removed, moved or indented otherwise."""
    lines = text.splitlines(keepends=True) or [""]
    at = rng.randrange(len(lines))
    line = lines[at]
    lines[at : at + 1] = rng.choice(
        [[line, line], [], [f" {line}"], [f"\t{line}"], [line.lstrip()]]
    )
    return "".join(lines)


def text_cut(text: str, rng: random.Random) -> str:
    return text[: rng.randrange(len(text) + 1)]


def text_bomb(text: str, rng: random.Random) -> str:
    return rng.choice([BOMB + text, text + BOMB, BOMB + text.replace("seed: 1", "seed: *g", 1)])


OF_RAW = (changed_value, changed_value, *[changed_number] * 5, changed_key, removed, swapped, added)
OF_TEXT: tuple[Callable[[str, random.Random], str], ...] = (
    *(text_fragment, text_fragment, text_value, text_value, text_line, text_cut, text_bomb),
)
ENCODINGS = ("latin-1", "utf-16", "utf-16-le", "utf-32", "utf-7", "cp1252", "utf-8-sig")


def mutant(number: int) -> bytes:
    """The bytes of a damaged file; the same for the same number."""
    rng, raw = random.Random(f"{SEED}-{number}"), copy.deepcopy(RAW)
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
        rng.choice(OF_RAW)(raw, rng)
        if not raw:
            break
    untouched = raw == RAW and repr(raw) == repr(RAW)
    text = BASE if untouched else yaml.safe_dump(raw, sort_keys=False, allow_unicode=True)
    if untouched or rng.random() < 0.1:
        for _ in range(rng.choice([1, 1, 2])):
            text = rng.choice(OF_TEXT)(text, rng)
    if rng.random() < 0.03:
        return (text + "# é\n").encode(rng.choice(ENCODINGS), errors="replace")
    return text.encode("utf-8", errors="surrogatepass")


WHOLE = frozenset(
    [
        "epochs",
        "trials",
        "seeds",
        "round",
        "draws",
        "batch_size",
        "train",
        "test",
        "pool",
        "validation",
        "held_out",
        "candidates",
        "first",
        "factor",
        "searches",
        "replicates",
        "kernel_size",
        "curve_points",
        "code",
        "article_seeds",
    ]
)
NUMBERS = frozenset(["learning_rate", "noise", "momentum", "low", "high", "strength", "rate"])
TRUTHS = frozenset(["log", "integer", "tuned", "deterministic", "system_metrics"])


def nonsense(text: bytes) -> Iterator[str]:
    """The kinds of nonsense in a file that was accepted; read by another reader than ours."""
    node = yaml.compose(text.decode("utf-8"), yaml.SafeLoader)
    yield from repeated_keys(node)
    try:
        raw = yaml.safe_load(text.decode("utf-8"))
    except yaml.constructor.ConstructorError:  # of `=`, which is text in YAML 1.2
        return
    if sum(1 for _ in places(raw)) > 10**6:
        yield "aliases"
    for at in places(raw):
        value, key = holder(raw, at)[at[-1]], str(at[-1])
        if isinstance(value, float) and not math.isfinite(value):
            yield f"{at}: not finite"
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) >= 2**32:
            yield f"{at}: beyond 32 bits"
        if (
            key in WHOLE
            and at[-2] != "techniques"
            and value is not None
            and (type(value) is not int or value < 1)
        ):
            yield f"{at}: no count"
        if key in NUMBERS and not is_number(value):
            yield f"{at}: no number"
        if key in ("combine", "outcomes") and value and len({*value}) < len(value):
            yield f"{at}: repeated"
        if key in TRUTHS and type(value) is not bool:
            yield f"{at}: no truth value"
    for name, study in raw["studies"].items():
        model, training, data = study["model"], study["training"], study["data"]
        sides = {"digits": 8, "idx": 28}
        side = sides.get(data["source"], 10**9)
        window = max(model.get("kernel_size", 1), model.get("pool", 1))
        if model["architecture"] == "cnn" and window > side:
            yield f"{name}: kernel"
        sizes = [*model.get("hidden", ()), *model.get("filters", ()), *model.get("units", ())]
        if max(sizes, default=1) > 2**16 or math.prod(sizes[:2]) > 2**28:
            yield f"{name}: memory"
        rows = data.get("train", 30) if data["source"] == "circles" else 1797
        if training["batch_size"] > max(32, 2 * rows):
            yield f"{name}: batch"
        if (training["epochs"] or 0) > 10**6 or study["tuning"]["trials"] > 10**5:
            yield f"{name}: runs"
        for technique in study["techniques"].values():
            patience = ((technique or {}).get("article") or {}).get("patience", 0)
            if patience > training["epochs"] or patience != int(patience):
                yield f"{name}: patience"


def is_number(value: object) -> bool:
    """Whether it is a number or a section; 1e-4 is one in YAML 1.2, and text for PyYAML."""
    if isinstance(value, str):
        try:
            return math.isfinite(float(value))
        except ValueError:
            return False
    return value is None or (isinstance(value, dict | int | float) and not isinstance(value, bool))


def repeated_keys(node: yaml.Node | None) -> Iterator[str]:
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len({*keys}) < len(keys):
            yield f"repeated key among {keys}"
        for _, value in node.value:
            yield from repeated_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from repeated_keys(value)


# A line, or a key; of the whole file where there is neither.
PLACE = re.compile(
    r".*params\.yaml(, line \d+: |:(top level|seed|engine|tracking|studies)\b.*: |"
    r": expected (at most|a text|text in UTF-8)|: not valid| cannot be read| not found)"
)


def check_message(message: str) -> None:
    """One that is short, names the file, and the line or the key."""
    assert len(message) < LONGEST, message
    assert "Traceback" not in message
    assert PLACE.match(message), message


def loaded(path: Path, written: bytes) -> Params | None:
    """The settings, or None if they are refused as they should be."""
    path.write_bytes(written)
    try:
        return loading.load(path)
    except UserError as error:
        check_message(str(error))
        return None


def test_the_base_is_valid(tmp_path: Path) -> None:
    assert loaded(tmp_path / "params.yaml", BASE.encode()) is not None
    assert [*nonsense(BASE.encode())] == []


COUNT, PARTS = (5000, 50) if ALL else (500, 5)


@pytest.mark.parametrize("part", range(PARTS))
def test_a_damaged_file_is_refused_in_a_sentence_or_makes_sense(part: int, tmp_path: Path) -> None:
    path, accepted = tmp_path / "params.yaml", 0
    for number in range(part * COUNT // PARTS, (part + 1) * COUNT // PARTS):
        written = mutant(number)
        try:
            settings = loaded(path, written)
        except Exception as error:
            raise AssertionError(f"mutant {number}: {type(error).__name__}") from error
        if settings is not None:
            accepted += 1
            assert [*nonsense(written)] == [], f"mutant {number}"
    print(f"{accepted} of {COUNT // PARTS} accepted")
    assert accepted < COUNT // PARTS


@pytest.mark.parametrize("kind", ["folder", "device", "missing", "unreadable", "huge"])
def test_what_is_no_file_is_told(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    if kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "unreadable":
        path.symlink_to(tmp_path / "params.yaml")  # to itself
    elif kind == "huge":
        path.write_bytes(BASE.encode() + b"#" * 2**21)
    with pytest.raises(UserError) as caught:
        loading.load(path)
    check_message(str(caught.value))


def cheap(settings: Params, name: str) -> bool:
    """Whether a study takes seconds."""
    study = settings.studies[name]
    tuning, final = study.tuning, study.final
    data = study.data.kept_values < 10**5 and (study.data.own_draws or 1) < 20
    epochs = max(tuning.epochs, study.training.epochs) <= 8
    runs = tuning.trials * tuning.draws <= 12 and study.replicates * final.seeds <= 8
    sizes = final.vary is None and max(study.model.dense.values(), default=1) <= 100
    workers = settings.engine.workers in (1, 2)
    searches = len(final.turns) <= 4 and len(study.techniques) <= 4
    return data and epochs and runs and sizes and workers and searches


@pytest.mark.slow
@pytest.mark.parametrize("number", range(200 if ALL else 10))
def test_no_damaged_file_breaks_a_stage(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """`prepare`, and where the budgets are small `tune` and `train`, for real, without MLflow."""
    root = Path(__file__).parents[2]
    shutil.copytree(root / "data/sources", tmp_path / "data/sources")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    written = mutant(100_000 + number)
    Path("params.yaml").write_bytes(written)
    name = "circles"
    try:
        settings = loading.load()
    except UserError:
        settings = None
    stages = ["prepare"]
    if settings is not None and name in settings.studies and cheap(settings, name):
        stages = ["fetch", "prepare", "tune", "train"]
    for stage in stages:
        code = main([stage, name])
        told = capfd.readouterr().err
        assert code in (0, 2), f"mutant {number}, {stage}: {told}"
        assert "Traceback" not in told
        if code == 2:
            assert len(told) < LONGEST + len(f"{stage}: \n")
            break
    else:
        assert settings is not None
        print(f"mutant {number}: {stages[-1]} done", file=sys.stderr)
