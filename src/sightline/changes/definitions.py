"""Changes since a commit in the project's functions, and in its configuration files."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from sightline.core import git
from sightline.core.code_digest import statement_digest


def commit_of(path: str) -> str | None:
    """Returns the commit that last changed a file; None if git knows none, or the file has uncommitted changes."""
    if git.stdout("diff", "--quiet", "HEAD", "--", path) is None:
        return None
    return git.answer("log", "-1", "--format=%H", "--", path) or None


def file_at(commit: str, path: str) -> bytes | None:
    """Returns the content of a file below the working directory at a commit; None if it has none."""
    return git.stdout("show", f"{commit}:./{path}")


def changed_definitions(commit: str, modules: Iterable[Path]) -> dict[str, list[str]]:
    """Returns the functions and classes that differ from those at a commit, ignoring comments and docstrings.

    Args:
        commit: The commit to compare with.
        modules: Files of the project; those outside the working directory are ignored.

    Returns:
        Their names by file, e.g. `{"src/sightline/core/files.py": ["lock"]}`; an empty list for a file that is new or
        deleted, or in which only statements outside of functions and classes differ.
    """
    changed = {}
    for name in _touched(commit, modules):
        earlier, path = file_at(commit, name), Path(name)
        before = _definitions(earlier) if earlier is not None else {}
        now = _definitions(path.read_bytes()) if path.exists() else {}
        differing = [key for key in {**now, **before} if before.get(key) != now.get(key)]
        if differing:
            changed[name] = [key for key in differing if key] if before and now else []
    return changed


def changed_values(commit: str, paths: Iterable[Path]) -> list[str]:
    """Returns the YAML files whose values, not just comments, differ from those at a commit."""
    names = _touched(commit, paths)
    return [name for name in names if _values(file_at(commit, name)) != _values(Path(name).read_bytes())]


def _values(text: bytes | None) -> Any:
    return None if text is None else yaml.safe_load(text)


def _touched(commit: str, paths: Iterable[Path]) -> list[str]:
    """Returns the names of the files below the working directory that differ from a commit."""
    here = Path.cwd().resolve()
    inside = {path.resolve().relative_to(here).as_posix() for path in paths if path.resolve().is_relative_to(here)}
    changed = git.paths("diff", "--name-only", "-z", "--relative", commit)
    untracked = git.paths("ls-files", "-z", "--others", "--exclude-standard")
    return sorted(inside & {*changed, *untracked})


def _definitions(text: bytes) -> dict[str, str]:
    """Returns digests by name: of functions, methods and the rest of classes, and "" for the rest of the module."""
    found: dict[str, str] = {}

    def collect(owner: ast.Module | ast.ClassDef, name: str) -> None:
        body = owner.body[1:] if ast.get_docstring(owner, clean=False) is not None else owner.body
        rest: list[ast.AST] = (
            [] if isinstance(owner, ast.Module) else [*owner.bases, *owner.keywords, *owner.decorator_list]
        )
        for node in body:
            if isinstance(node, ast.ClassDef):
                collect(node, f"{name}.{node.name}".lstrip("."))
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                key = f"{name}.{node.name}".lstrip(".")
                found[key] = found.get(key, "") + statement_digest([node])  # a property and its setter share a name
            else:
                rest.append(node)
        found[name] = statement_digest(rest)

    collect(ast.parse(text), "")
    return found
