"""The examples in docstrings give what they show."""

import ast
import doctest
import importlib

import pytest

from .test_architecture import HEAVY, TREES, way_to

DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef


def has_examples(tree: ast.Module) -> bool:
    nodes = [node for node in ast.walk(tree) if isinstance(node, DOCUMENTED)]
    return any(">>>" in (ast.get_docstring(node) or "") for node in nodes)


# Examples of modules that import TensorFlow would take minutes to compile.
EXAMPLES = [name for name, tree in TREES.items() if has_examples(tree) and not way_to(HEAVY, name)]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_of_a_module_give_what_they_show(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0
