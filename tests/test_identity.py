"""A run is named by what it means: what changes no result changes no key."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

from pipeline.config import loading, sections
from pipeline.training import code, identity
from pipeline.training.runs import Plan

from .test_dvc import import_closure

SCRIPT = """
import json
from pipeline.config import loading, sections
from pipeline.training.runs import Plan
study = loading.load().study("digits")
plan = Plan("digits", "digest", study, 1, sections.Engine())
values = {"none": {}, "l2": {"strength": 0.1}, "dropout": {"rate": 0.5}}
runs = {name: plan.tuned(name, given, 0)[0] for name, given in values.items()}
print(json.dumps({name: run.key for name, run in runs.items()}))
"""
ALL = {"none", "l2", "dropout"}
Edit = Callable[[Path], object]


def keys(home: Path) -> dict[str, str]:
    """The keys that the code in this folder gives to the same three runs."""
    environment = os.environ | {"PYTHONPATH": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", SCRIPT]
    told = subprocess.check_output(command, cwd=home, env=environment, text=True)
    found: dict[str, str] = json.loads(told)
    return found


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the project's code."""
    shutil.copytree("pipeline", tmp_path / "pipeline", ignore=shutil.ignore_patterns("*.pyc"))
    shutil.copy(loading.FILE, tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    home = tmp_path_factory.mktemp("before")
    shutil.copytree("pipeline", home / "pipeline", ignore=shutil.ignore_patterns("*.pyc"))
    shutil.copy(loading.FILE, home)
    return keys(home)


def replaced(name: str, old: str, new: str) -> Edit:
    """An edit of a file of the package; `old` is a pattern."""

    def edit(home: Path) -> None:
        path = home / "pipeline" / name
        text, count = re.subn(old, new, path.read_text(encoding="utf-8"), count=1)
        assert count == 1, f"{name} has no {old!r}"
        path.write_text(text, encoding="utf-8")

    return edit


def other_line_ends(home: Path) -> None:
    for path in (home / "pipeline" / "engine").glob("*.py"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


def a_module_with_another_name(home: Path) -> None:
    engine = home / "pipeline" / "engine"
    (engine / "noise.py").rename(engine / "randomness.py")
    for path in (home / "pipeline").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("pipeline.engine.noise", "pipeline.engine.randomness"))


HARMLESS: dict[str, Edit] = {
    "a comment": replaced("engine/losses.py", r"^", "# A comment.\n"),
    "a module's docstring": replaced("engine/losses.py", r'"""', '"""Other words. '),
    "a function's docstring": replaced("models/building.py", r'(def .*:\n    """)', r"\1Other. "),
    "line ends": other_line_ends,
    "a module's name": a_module_with_another_name,
    "a local name in a report": replaced("report/charts.py", r"\bfigure\b", "drawing"),
    "a measure": replaced("training/measures.py", r"BINS = 15", "BINS = 20"),
    "a field of the data": replaced(
        "datasets/digits.py", r"(    validation: .* = 360\n)", r"\1    new: int = 3\n"
    ),
    "a field of a part": replaced(
        "techniques/noise.py",
        r"(class Dropout\(_Rate\):\n.*\n)",
        r"\1    new: float | None = None\n",
    ),
    "a new part": replaced(
        "techniques/training.py", r"(@dataclass.*\nclass Swa)", r"class New:\n    x = 1\n\n\n\1"
    ),
}


@pytest.mark.parametrize("edit", HARMLESS)
def test_what_changes_no_result_changes_no_key(
    edit: str, copy: Path, before: dict[str, str]
) -> None:
    HARMLESS[edit](copy)
    assert keys(copy) == before


MEANING: dict[str, tuple[Edit, set[str]]] = {
    "a formula of the engine": (replaced("engine/backend.py", r"return ", "return 1 * "), ALL),
    "a model": (replaced("models/building.py", r"return ", "return 1 * "), ALL),
    "how seeds are derived": (replaced("training/seeds.py", r"\[0\]", "[-1]"), ALL),
    "a technique's change": (
        replaced("techniques/registry.py", r"Penalty\(l2=", "Penalty(l1=1.0, l2="),
        {"l2"},
    ),
    "a part's own code": (
        replaced("techniques/penalties.py", r"(class Penalty:\n.*\n)", r"\1    bonus = 1\n"),
        {"l2"},
    ),
    "the project's training": (
        replaced("../params.yaml", r"batch_size: 32, epochs: 30", "batch_size: 16, epochs: 30"),
        ALL,
    ),
}


@pytest.mark.parametrize("edit", MEANING)
def test_what_can_change_a_result_changes_its_key_and_no_other(
    edit: str, copy: Path, before: dict[str, str]
) -> None:
    change, touched = MEANING[edit]
    change(copy)
    after = keys(copy)
    assert {name for name in ALL if after[name] != before[name]} == touched


def key(engine: sections.Engine | None = None, data: str = "digest", **values: float) -> str:
    study = loading.load().study("digits")
    plan = Plan("digits", data, study, 1, engine or sections.Engine())
    return plan.tuned("l2", values or {"strength": 0.1}, 0)[0].key


@pytest.mark.parametrize("library", identity.LIBRARIES)
def test_another_version_of_a_library_that_computes_moves_keys(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = key()
    with monkeypatch.context() as patched:
        patched.setattr(identity, "version", lambda name: version(name) + ".1" * (name == library))
        identity.code_digest.cache_clear()
        assert key() != before
    identity.code_digest.cache_clear()
    assert key() == before


@pytest.mark.parametrize(
    "engine",
    [
        sections.Engine(program="graph"),
        sections.Engine(population=3),
        sections.Engine(deterministic=False),
    ],
)
def test_settings_that_decide_rounding_move_keys(engine: sections.Engine) -> None:
    assert key(engine) != key()


def test_the_number_of_workers_and_the_name_of_the_study_move_no_key() -> None:
    assert key(sections.Engine(workers=7)) == key()
    study = loading.load().study("digits")
    other = Plan("mine", "digest", study, 1, sections.Engine())
    assert other.tuned("l2", {"strength": 0.1}, 0)[0].key == key()


def test_data_and_values_move_keys() -> None:
    assert len({key(), key(data="other"), key(strength=0.2), key(strength=0.1)}) == 3


def test_a_momentum_of_zero_means_what_no_momentum_meant() -> None:
    study = loading.load().study("fashion_mnist")
    own = {"is": "Training", "optimizer": "sgd", "learning_rate": 0.01, "batch_size": 32}
    keys = {}
    for momentum, told in ((0.0, {}), (0.9, {"momentum": 0.9})):
        training = replace(study.training, momentum=momentum)
        plan = Plan("mine", "digest", replace(study, training=training), 1, sections.Engine())
        run = plan.tuned("none", {}, 0)[0]
        assert run.meaning["training"] == own | {"epochs": 60} | told
        keys[momentum] = run.key
    assert len(set(keys.values())) == 2


def test_a_class_is_known_by_its_code_and_the_helpers_that_it_names(tmp_path: Path) -> None:
    def of(text: str) -> frozenset[str]:
        path = tmp_path / f"part_{abs(hash(text))}.py"
        path.write_text(text, encoding="utf-8")
        sys.path.insert(0, str(tmp_path))
        try:
            module = __import__(path.stem)
        finally:
            sys.path.pop(0)
        return code.of_class(module.Part)

    text = (
        "SCALE = 2\nOTHER = 3\ndef half(x):\n    return x / SCALE\n"
        "class Part:\n    x: float = 1.0\n    def y(self):\n        return half(self.x)\n"
    )
    same = ("OTHER = 3", "OTHER = 4"), ("x: float = 1.0", "x: int | None = None")
    other = ("SCALE = 2", "SCALE = 3"), ("x / SCALE", "x * SCALE"), ("self.x)", "-self.x)")
    assert all(of(text.replace(old, new)) == of(text) for old, new in same)
    assert all(of(text.replace(old, new)) != of(text) for old, new in other)


def test_the_code_that_trains_is_in_the_key() -> None:
    """What a trainer imports of these rooms, but for values and what is measured afterwards."""
    package = Path("pipeline")
    held = {str(path) for pattern in identity.TRAINS for path in package.glob(pattern)}
    values = {"models/architectures", "training/code", "training/identity", "training/runs"}
    measured = {"training/evaluation", "training/inspection", "training/measures"}
    measured |= {"training/scores"}  # in the keys of the trials that it scores
    rooms = tuple(f"pipeline/{room}/" for room in ("engine", "models", "training"))
    trains = {
        path for path in import_closure("pipeline.training.trainer") if path.startswith(rooms)
    }
    others = {f"pipeline/{name}.py" for name in values | measured}
    assert held == {path for path in trains - others if path not in EMPTY}


EMPTY = {f"pipeline/{room}/__init__.py" for room in ("models", "training")}  # but for docstrings
