"""CPython's functions that run over our leaves must still look up by name the objects that we replace.

If a function in a new CPython no longer does, it uses its own lock or its own shared memory, without an error.
"""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

import serverless_mp

PACKAGE = Path(serverless_mp.__file__).parent


def rebound_functions():
    """Yields for each call of `rebound` the module, the text of the function, and the replaced names."""
    for path in sorted(PACKAGE.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "rebound":
                yield path.stem, ast.unparse(node.args[0]), [keyword.arg for keyword in node.keywords]


FOUND = list(rebound_functions())


def names(code):
    """Returns every global that a function looks up, including those of nested functions."""
    inner = (constant for constant in code.co_consts if hasattr(constant, "co_names"))
    return set(code.co_names).union(*map(names, inner))


def test_some_are_found():
    assert len(FOUND) >= 5


@pytest.mark.parametrize(("module", "function", "given"), FOUND, ids=[f"{module}-{function}" for module, function, _ in FOUND])
def test_a_function_looks_up_the_replaced_names(module, function, given):
    code = eval(function, vars(importlib.import_module(f"serverless_mp.{module}"))).__code__
    for name in given:
        assert name in names(code), f"{function} no longer looks up {name}: what it uses instead is CPython's own"
