"""Imports go the way that the map in `pipeline/__init__.py` draws."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import pipeline

HOME = Path(pipeline.__file__).parent
ROOMS = re.findall(r"^- `(\w+)`", pipeline.__doc__ or "", re.MULTILINE)

# Rooms with modules that only worker processes import; the parent reaches them inside functions.
IN_WORKERS = ("engine", "models", "training", "execution")
IN_PARENT = [room for room in ROOMS if room not in IN_WORKERS]
HEAVY = {"keras", "tensorflow"}


def module_name(path: Path) -> str:
    """The dotted name under which a file of the package is imported."""
    parts = path.relative_to(HOME.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


TREES = {
    module_name(path): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(HOME.rglob("*.py"))
}


def room(module: str) -> str:
    """The room of a module: `config` of `pipeline.config.params`."""
    return module.split(".")[1]


def imported(statements: Iterable[ast.AST]) -> set[str]:
    """The modules that import statements name; of this package, the submodule where it is one."""
    names: set[str] = set()
    for statement in statements:
        if isinstance(statement, ast.Import):
            names |= {alias.name for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom):
            assert not statement.level, f"relative import: {ast.unparse(statement)}"
            package = statement.module or ""
            members = {f"{package}.{alias.name}" for alias in statement.names}
            names |= {member if member in TREES else package for member in members}
    return names


def at_import(node: ast.AST) -> Iterator[ast.AST]:
    """What runs when a module is imported: nothing of functions, nothing for type checkers."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from at_import(child)


def with_packages(names: Iterable[str]) -> set[str]:
    """These modules and the packages around them, which Python imports first."""
    parts = [name.split(".") for name in names]
    return {".".join(name[:end]) for name in parts for end in range(1, len(name) + 1)}


ALL = {module: imported(ast.walk(tree)) for module, tree in TREES.items()}
OWN = {module: {name for name in names if name in TREES} for module, names in ALL.items()}
LOADED = {module: with_packages(imported(at_import(tree))) for module, tree in TREES.items()}
MODULES = {
    name: [module for module in TREES if module != "pipeline" and room(module) == name]
    for name in ROOMS
}


def way_to(targets: set[str], module: str) -> list[str]:
    """The shortest chain of imports, at module level, from a module to one of the targets."""
    chains = [[module]]
    seen = {module}
    for chain in chains:
        if chain[-1] in targets:
            return chain
        following = LOADED.get(chain[-1], set()) - seen
        seen |= following
        chains += [[*chain, name] for name in sorted(following)]
    return []


def test_the_map_names_every_room_once() -> None:
    packages = {path.parent.name for path in HOME.glob("*/__init__.py")}
    modules = {path.stem for path in HOME.glob("*.py")} - {"__init__"}
    assert sorted(ROOMS) == sorted(packages | modules)


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_imports_from_itself_and_from_rooms_above_it(name: str) -> None:
    allowed = ROOMS[: ROOMS.index(name) + 1]
    against = [
        f"{module} imports {target}"
        for module in MODULES[name]
        for target in sorted(OWN[module] - {"pipeline"})
        if room(target) not in allowed
    ]
    assert against == []


def test_no_modules_import_each_other() -> None:
    try:
        TopologicalSorter(OWN).prepare()
    except CycleError as error:
        pytest.fail(f"imports in a circle: {' > '.join(reversed(error.args[1]))}")


def test_the_engine_imports_nothing_of_the_rest() -> None:
    targets = {target for module in MODULES["engine"] for target in OWN[module]}
    assert sorted(targets - {*MODULES["engine"]}) == []


def test_importing_the_package_imports_no_room() -> None:
    assert ALL["pipeline"] == set()


def test_only_tracking_imports_mlflow() -> None:
    importers = {module for module, names in ALL.items() if "mlflow" in with_packages(names)}
    assert sorted(importers - {*MODULES["tracking"]}) == []


@pytest.mark.parametrize("name", IN_PARENT)
def test_no_room_of_the_parent_leads_to_keras(name: str) -> None:
    ways = [" > ".join(way) for module in MODULES[name] if (way := way_to(HEAVY, module))]
    assert ways == []


def test_importing_every_stage_loads_no_keras() -> None:
    """Not by way of a library either."""
    script = f"import sys, {', '.join(MODULES['stages'])}; print(*{HEAVY} & sys.modules.keys())"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=HOME.parent, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
