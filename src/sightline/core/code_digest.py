"""The code digest: which code a result depends on, as one SHA-256 per stage.

The digest of a module covers its import closure inside the project: the module, every module of the project that it
imports, directly or not, wherever the import stands, and the files that stand beside these and are no Python
(templates). It is taken of the syntax tree without comments and docstrings, so that only a change of what runs changes
it. It keys what DVC reruns, the checkpoints of training, the preprocessing cache and the memory of `watch` alike.

What counts as an import:

- `import` and `from ... import`, at the top or inside a function; not below `if TYPE_CHECKING:`, which never runs;
- a text that is the path of a module of the project, or of something in one (`"sightline.tracking.sync"`):
  what `importlib.import_module`, Hydra's `_target_` and entry points take; with `*` in the place of a part, as the
  registries of options have it, every module that fits;
- `import_module(...)` of a name that is put together at run time: every module of the package that it is called in.

The package's own `sightline/__init__.py` counts, what it hands out does not: it is the way in for people, and no module
of the project goes through it.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline.core import files

PACKAGE = Path(__file__).parents[1]
"""The folder of the package `sightline`."""
MEMORY = files.STATE / "code.json"

_DOTTED = re.compile(r"[A-Za-z_]\w*(\.([A-Za-z_]\w*|\*))+")
_NAMED_BY_CALLERS = ("sightline.config.schema",)
"""Modules that import by names which their callers give as texts, and which count there."""
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_LEFT_OUT = {"kind", "type_comment", "type_ignores"}


@dataclass(frozen=True)
class ModuleSource:
    """A module's source, as far as it matters to a digest.

    Attributes:
        digest: SHA-256 of its syntax tree without comments and docstrings.
        names: Dotted names that it imports or may import; a part may be `*`, any name.
    """

    digest: str
    names: tuple[str, ...]


class CodeDigests:
    """Digests of the project's code, remembered by file size and modification time.

    Args:
        package: Folder of the package `sightline`.
        scripts: Folder of the stages' scripts, the package `pipeline`.
        memory: File to remember in; None remembers nothing. It is safe to remove.
    """

    def __init__(self, package: Path = PACKAGE, scripts: Path = Path("pipeline"), memory: Path | None = MEMORY) -> None:
        self._roots = {"sightline": package, "pipeline": scripts}
        self._memory = memory
        self._known = self._recall()
        self._changed = False
        self._seen: dict[str, Path | None] = {}
        self._read: dict[Path, ModuleSource] = {}
        self._resources: dict[Path, list[str]] = {}
        self._imports: dict[str, list[str]] = {}

    def digest(self, *modules: str) -> str:
        """Returns the code digest of modules with all that they import, 64 hexadecimal digits.

        Args:
            modules: Dotted names, as `pipeline.train`.

        Raises:
            ModuleNotFoundError: If the project has no such module.
        """
        found = self.closure(*modules)
        parts = [f"{name} {self._source(path).digest}" for name, path in sorted(found.items())]
        parts += [part for folder in sorted({path.parent for path in found.values()}) for part in self._beside(folder)]
        self._keep()
        return files.sha256("\n".join(parts).encode())

    def _beside(self, folder: Path) -> list[str]:
        """Returns a folder's files that are no Python, each with its digest."""
        if folder not in self._resources:
            names = sorted(path.name for path in folder.iterdir() if _is_resource(path.name))
            paths = [path for path in map(folder.joinpath, names) if path.is_file()]
            self._resources[folder] = [f"{folder.name}/{path.name} {files.sha256_file(path)}" for path in paths]
        return self._resources[folder]

    def refresh(self) -> None:
        """Looks at the files again, which may have changed since."""
        self._resources.clear()
        self._imports.clear()
        self._seen.clear()
        self._read.clear()

    def closure(self, *modules: str) -> dict[str, Path]:
        """Returns the modules of the project that `modules` import, directly or not, themselves included, by name."""
        found: dict[str, Path] = {}
        todo = list(modules)
        for name in modules:
            if self._file(name) is None:
                raise ModuleNotFoundError(f"the project has no module {name}")
        while todo:
            name = todo.pop()
            path = self._file(name)
            if name not in found and path is not None:
                found[name] = path
                todo += self._imported(name, path)
        return found

    def _imported(self, name: str, path: Path) -> list[str]:
        """Returns the modules of the project that one imports itself, and the packages above it and them."""
        if name not in self._imports:
            names = [name.rpartition(".")[0]]  # an import runs its `__init__.py` as well
            for imported in self._source(path).names if name != "sightline" else ():
                names += self._matching(imported) if "*" in imported else [imported, imported.rpartition(".")[0]]
            self._imports[name] = [each for each in dict.fromkeys(names) if self._file(each) is not None]
        return self._imports[name]

    def _file(self, name: str) -> Path | None:
        """Returns the file of a module of the project; None for any other name."""
        if name not in self._seen:
            self._seen[name] = self._look_up(name)
        return self._seen[name]

    def _look_up(self, name: str) -> Path | None:
        top, *rest = name.split(".")
        if top not in self._roots:
            return None
        path = os.path.join(self._roots[top], *rest)  # noqa: PTH118 - hundreds of names; pathlib takes several times as long
        package, module = f"{path}/__init__.py", f"{path}.py"
        if os.path.isfile(package):  # noqa: PTH113
            return Path(package)
        return Path(module) if rest and os.path.isfile(module) else None  # noqa: PTH113

    def _matching(self, pattern: str) -> list[str]:
        """Returns the modules of the project that a dotted name with `*` in it stands for."""
        first, *parts = pattern.split(".")
        names = [first]
        for part in parts:
            inside = [child for name in names for child in self._children(name)] if part == "*" else []
            names = inside or [f"{name}.{part}" for name in names]
        return [name for name in names if self._file(name) is not None]

    def _children(self, name: str) -> list[str]:
        """Returns the modules and packages that stand in a package."""
        path = self._file(name)
        if path is None or path.name != "__init__.py":
            return []
        stems = {entry.stem for entry in path.parent.iterdir() if not entry.name.startswith("__")}
        return [child for child in (f"{name}.{stem}" for stem in sorted(stems)) if self._file(child) is not None]

    def _source(self, path: Path) -> ModuleSource:
        """Reads a file, or remembers it."""
        if path in self._read:
            return self._read[path]
        status = path.stat()
        stamp = [status.st_mtime_ns, status.st_size]
        key = os.fspath(path)
        kept = self._known.get(key)
        if kept is None or kept[:2] != stamp:
            source = read_source(path.read_bytes(), self._name(path))
            kept = self._known[key] = [*stamp, source.digest, list(source.names)]
            self._changed = True
        self._read[path] = ModuleSource(kept[2], tuple(kept[3]))
        return self._read[path]

    def _name(self, path: Path) -> str:
        for top, root in self._roots.items():
            if path.is_relative_to(root):
                return ".".join([top, *path.relative_to(root).with_suffix("").parts])
        raise ValueError(f"{path} is no file of the project")

    def _recall(self) -> dict[str, list[Any]]:
        if self._memory is not None:
            # Another version of this file may digest otherwise: what it kept is none.
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                kept = json.loads(self._memory.read_text())
                if kept["by"] == _own_digest():
                    return dict(kept["files"])
        return {}

    def _keep(self) -> None:
        if self._memory is not None and self._changed:
            files.write_json(self._memory, {"by": _own_digest(), "files": self._known})
            self._changed = False


def read_source(text: bytes, name: str) -> ModuleSource:
    """Reads a module's source.

    Args:
        text: The source.
        name: The module's dotted name; `package.__init__` for a package's own.

    Raises:
        SyntaxError: If it is no Python.
    """
    tree = ast.parse(text)
    return ModuleSource(statement_digest([tree]), tuple(sorted(_names(tree, name))))


def statement_digest(nodes: Sequence[ast.AST]) -> str:
    """Returns the SHA-256 of parts of a syntax tree, comments and docstrings aside."""
    parts: list[str] = []
    for node in nodes:
        _dump(node, parts)
    return files.sha256("\0".join(parts).encode("utf-8", "surrogatepass"))


def _dump(node: Any, parts: list[str]) -> None:
    """Writes down a syntax tree, in words that are the same for every version of Python: what is empty is left out."""
    if isinstance(node, ast.AST):
        parts.append(type(node).__name__)
        for field, value in ast.iter_fields(node):
            if value is None or value == [] or field in _LEFT_OUT:
                continue
            if field == "body" and isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
                value = value[1:]
            parts.append(f"{field}=")
            _dump(value, parts)
        parts.append(")")
    elif isinstance(node, list):
        parts.append("[")
        for item in node:
            _dump(item, parts)
        parts.append("]")
    else:
        parts.append(f"{type(node).__name__} {node!r}")


def _names(tree: ast.AST, name: str) -> set[str]:
    """Returns the dotted names that a module imports or may import."""
    found: set[str] = set()
    package = name.rpartition(".")[0]
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and _is_type_checking(node.test):
            todo += node.orelse
            continue
        todo += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            # `from sightline.core import files` names a module, `from sightline.core.files import lock` a thing in one.
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _DOTTED.fullmatch(node.value):
            found.add(node.value)
        elif isinstance(node, ast.Call) and name not in _NAMED_BY_CALLERS and _imports_unnamed(node):
            found.add(f"{package}.*")
    return {word for word in found if word.split(".")[0] in ("sightline", "pipeline")}


def _called(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _imports_unnamed(call: ast.Call) -> bool:
    """Says whether a call is `import_module` of something else than the whole name of a module, written out."""
    first = call.args[0] if call.args else None
    whole = isinstance(first, ast.Constant) and isinstance(first.value, str) and not first.value.startswith(".")
    return _called(call.func) == "import_module" and not whole


def _is_type_checking(test: ast.expr) -> bool:
    return _called(test) == "TYPE_CHECKING"


def _is_resource(name: str) -> bool:
    """Says whether the name is that of no Python, and not hidden or what editors leave."""
    return not name.startswith(".") and not name.endswith((".py", ".pyc", ".pyi", "~")) and name != "py.typed"


def _own_digest() -> str:
    return files.sha256_file(Path(__file__))
