"""Imports of the benchmarks, which no test runs, and of the tests: each name is there, as it is called now."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path for folder in ("benchmarks", "tests") for path in (ROOT / folder).rglob("*.py"))
OTHERS = "tests/core/test_code_digest.py"
"""Holds programs that import modules of its own making."""


def imported(path: Path) -> list[tuple[str, str]]:
    """Returns the names that a script imports from the project, also within functions and programs given as texts."""
    todo, found = [ast.parse(path.read_text())], []
    while todo:
        for node in ast.walk(todo.pop()):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sightline"):
                found += [(str(node.module), alias.name) for alias in node.names]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "import " in node.value:
                try:
                    todo.append(ast.parse(node.value))
                except SyntaxError:
                    continue  # prose
    return found


@cache
def names(module: str) -> set[str]:
    """Returns what a module of the project defines or imports, and a package's modules."""
    path = ROOT / "src" / Path(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if not file.is_file():
        return set()
    found = {entry.stem for entry in path.iterdir()} if path.is_dir() else set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def test_what_is_imported_of_the_project_is_there() -> None:
    missing = [
        f"{path.relative_to(ROOT)}: {module}.{name}"
        for path in SCRIPTS
        if path != ROOT / OTHERS
        for module, name in imported(path)
        if name not in names(module)
    ]
    assert missing == []
