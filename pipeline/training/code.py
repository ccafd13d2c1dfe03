"""Digests of code by its meaning: of the syntax tree, not of the text.

They do not depend on comments, docstrings, line ends, the order of a file's statements, or the
names and folders of files; they do on formulas.
"""

import ast
import hashlib
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


@cache
def of_files(patterns: tuple[str, ...], package: Path = PACKAGE) -> frozenset[str]:
    """Digests of the top-level statements of the package's files with these names."""
    paths = [path for pattern in patterns for path in package.glob(pattern)]
    return frozenset(digest for path in paths for digest in _of_file(path))


@cache
def of_class(cls: type) -> frozenset[str]:
    """Digests of a class, and of the functions and constants of its module that it names.

    The fields of a dataclass are left out, as is `__post_init__`, which checks or sets them: the
    values of the fields are in the key themselves.
    """
    module = sys.modules[cls.__module__]
    assert module.__file__ is not None, f"{cls} has no source"
    statements = _parsed(Path(module.__file__)).body
    classes = (statement for statement in statements if isinstance(statement, ast.ClassDef))
    (own,) = (statement for statement in classes if statement.name == cls.__name__)
    own.body = [statement for statement in own.body if not _sets_fields(statement)]
    helpers = {name: statement for statement in statements for name in _helper_names(statement)}
    taken: dict[str, ast.stmt] = {}
    todo: list[ast.stmt] = [own]
    while todo:
        names = {node.id for node in ast.walk(todo.pop()) if isinstance(node, ast.Name)}
        used = {name: helpers[name] for name in names & helpers.keys() - taken.keys()}
        taken |= used
        todo += used.values()
    return frozenset(_digest(statement) for statement in (own, *taken.values()))


def _sets_fields(statement: ast.stmt) -> bool:
    """Whether a statement of a class is a field, or the method that checks them."""
    if isinstance(statement, ast.FunctionDef):
        return statement.name == "__post_init__"
    return isinstance(statement, ast.AnnAssign) and "ClassVar" not in ast.dump(statement.annotation)


def _helper_names(statement: ast.stmt) -> list[str]:
    """The names of a function or of a module's constants."""
    if isinstance(statement, ast.FunctionDef):
        return [statement.name]
    if isinstance(statement, ast.Assign):
        return [target.id for target in statement.targets if isinstance(target, ast.Name)]
    return []


def _of_file(path: Path) -> Iterator[str]:
    for statement in _parsed(path).body:
        yield _digest(statement)


def _digest(statement: ast.AST) -> str:
    return hashlib.sha256(ast.dump(statement).encode()).hexdigest()


def _parsed(path: Path) -> ast.Module:
    """The file's syntax tree without the parts that affect no result."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    meaning: ast.Module = _Meaning().visit(tree)
    return meaning


class _Meaning(ast.NodeTransformer):
    """Removes docstrings, and the modules from which the package's own names are imported.

    Each imported name becomes a separate import, so that moving one name changes no other digest.
    """

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        alone = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if alone else self.generic_visit(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> list[ast.ImportFrom]:
        own = node.level > 0 or (node.module or "").partition(".")[0] == PACKAGE.name
        module = None if own else node.module
        return [ast.ImportFrom(module, [name], 0 if own else node.level) for name in node.names]
