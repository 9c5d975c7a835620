"""Calls of the project's code in `benchmarks/`, which no type checker reads."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = sorted((Path(__file__).parents[2] / "benchmarks").glob("*.py"))


def imported(tree: ast.AST) -> dict[str, Any]:
    """Returns what a module imports of the project, by the name that it has there."""
    found: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sightline"):
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")
                found[alias.asname or alias.name] = getattr(module, alias.name)
    return found


def called(function: ast.expr, names: dict[str, Any]) -> Any:
    """Returns the object of the project that is called, or None where it is another's."""
    if isinstance(function, ast.Name):
        return names.get(function.id)
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id in names:
        return getattr(names[function.value.id], function.attr)
    return None


@pytest.mark.parametrize("file", BENCHMARKS, ids=lambda file: file.stem)
def test_a_benchmark_calls_what_there_is_with_arguments_that_it_takes(file: Path) -> None:
    tree = ast.parse(file.read_text())
    names = imported(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and callable(target := called(node.func, names)):
            unpacked = any(isinstance(argument, ast.Starred) for argument in node.args)
            if unpacked or any(keyword.arg is None for keyword in node.keywords):
                continue  # how many they are is known at run time only
            keywords = {str(keyword.arg): keyword.value for keyword in node.keywords}
            inspect.signature(target).bind(*node.args, **keywords)
