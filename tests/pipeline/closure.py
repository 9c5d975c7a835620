"""The files of this project that a script imports, directly or not, found by reading its source."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOP = {"sightline": ROOT / "src" / "sightline", "pipeline": ROOT / "pipeline"}


def _file_of(module: str) -> Path | None:
    top, *rest = module.split(".")
    if top not in TOP:
        return None
    path = TOP[top].joinpath(*rest)
    if path.is_dir():
        return path / "__init__.py"
    file = path.with_suffix(".py")
    return file if file.is_file() else None


def _imports(file: Path) -> set[str]:
    """Every module named in an import statement, wherever it stands, with the packages above it.

    But those for annotations alone, which are not carried out.
    """
    names: set[str] = set()
    todo: list[ast.AST] = [ast.parse(file.read_text())]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        todo += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            assert node.module
            # `from sightline.core import files` names a module, `from sightline.core.files import lock` something in one.
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("sightline."):
            names.add(node.value.rpartition(".")[0])  # an import path, as Hydra takes them
    return {".".join(name.split(".")[:depth]) for name in names for depth in range(1, name.count(".") + 2)}


def import_closure(script: Path) -> set[Path]:
    """Returns the script, its package and every file of the project that they import, absolute."""
    found: set[Path] = set()
    package = script.resolve().parent / "__init__.py"
    todo = [script.resolve(), *([package] if package.is_file() else [])]
    while todo:
        file = todo.pop()
        if file in found:
            continue
        found.add(file)
        todo += [path for module in _imports(file) if (path := _file_of(module)) is not None]
    return found
