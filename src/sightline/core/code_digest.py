"""The code digest: one SHA-256 per stage for the code that its results depend on.

The digest of a module covers its import closure within the project: the module, every project module that it imports
directly or indirectly, wherever the import statement is, and the non-Python files next to these modules (templates).
It is computed from the syntax tree without comments and docstrings, so that only a change of code changes it. It is
part of the key of DVC's stages, of training checkpoints, of the preprocessing cache and of the memory of `watch`.

These count as imports:

- `import` and `from ... import`, at the top or inside a function; not below `if TYPE_CHECKING:`, which never runs;
- a string that is the path of a project module, or of something in one (`"sightline.tracking.sync"`), as passed to
  `importlib.import_module`, Hydra's `_target_` and entry points; if a part is `*`, as in the registries of options,
  every matching module;
- `import_module(...)` of a name that is built at run time: every module of the package that contains the call.

The package's own `sightline/__init__.py` counts, but the names that it exports do not: they are for users, and no
module of the project imports through it.
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
"""Modules that import names passed by their callers as strings; these count as imports of the callers."""
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_LEFT_OUT = {"kind", "type_comment", "type_ignores"}


@dataclass(frozen=True)
class ModuleSource:
    """The parts of a module's source that matter to a digest.

    Attributes:
        digest: SHA-256 of its syntax tree without comments and docstrings.
        names: Dotted names that it imports or may import; a part may be `*`, which matches any name.
    """

    digest: str
    names: tuple[str, ...]


class CodeDigests:
    """Digests of the project's code, cached by file size and modification time.

    Args:
        package: Folder of the package `sightline`.
        scripts: Folder of the stage scripts, the package `pipeline`.
        memory: The cache file, which is safe to delete; None for no cache.
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
        """Returns the code digest of modules and everything that they import, 64 hexadecimal digits.

        Args:
            modules: Dotted names, such as `pipeline.train`.

        Raises:
            ModuleNotFoundError: If the project has no such module.
        """
        found = self.closure(*modules)
        parts = [f"{name} {self._source(path).digest}" for name, path in sorted(found.items())]
        parts += [part for folder in sorted({path.parent for path in found.values()}) for part in self._beside(folder)]
        self._keep()
        return files.sha256("\n".join(parts).encode())

    def _beside(self, folder: Path) -> list[str]:
        """Returns a folder's non-Python files, each with its digest."""
        if folder not in self._resources:
            names = sorted(path.name for path in folder.iterdir() if _is_resource(path.name))
            paths = [path for path in map(folder.joinpath, names) if path.is_file()]
            self._resources[folder] = [f"{folder.name}/{path.name} {files.sha256_file(path)}" for path in paths]
        return self._resources[folder]

    def refresh(self) -> None:
        """Forgets what was read, so that changed files are read again."""
        self._resources.clear()
        self._imports.clear()
        self._seen.clear()
        self._read.clear()

    def closure(self, *modules: str) -> dict[str, Path]:
        """Returns the project modules that `modules` import, directly or indirectly, including themselves, by name."""
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
        """Returns the project modules that a module imports directly, and the packages that contain it and them."""
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
        """Returns the project modules that match a dotted name with `*` in it."""
        first, *parts = pattern.split(".")
        names = [first]
        for part in parts:
            inside = [child for name in names for child in self._children(name)] if part == "*" else []
            names = inside or [f"{name}.{part}" for name in names]
        return [name for name in names if self._file(name) is not None]

    def _children(self, name: str) -> list[str]:
        """Returns the modules and packages in a package."""
        path = self._file(name)
        if path is None or path.name != "__init__.py":
            return []
        stems = {entry.stem for entry in path.parent.iterdir() if not entry.name.startswith("__")}
        return [child for child in (f"{name}.{stem}" for stem in sorted(stems)) if self._file(child) is not None]

    def _source(self, path: Path) -> ModuleSource:
        """Returns a file's source, from the cache if the file is unchanged."""
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
            # Another version of this module may compute other digests, so its cache is not valid.
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
        SyntaxError: If it is not valid Python.
    """
    tree = ast.parse(text)
    return ModuleSource(statement_digest([tree]), tuple(sorted(_names(tree, name))))


def statement_digest(nodes: Sequence[ast.AST]) -> str:
    """Returns the SHA-256 of parts of a syntax tree, ignoring comments and docstrings."""
    parts: list[str] = []
    for node in nodes:
        _dump(node, parts)
    return files.sha256("\0".join(parts).encode("utf-8", "surrogatepass"))


def _dump(node: Any, parts: list[str]) -> None:
    """Serializes a syntax tree the same way in every version of Python, which is why empty fields are left out."""
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
            # `from sightline.core import files` imports a module, `from sightline.core.files import lock` a function.
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _DOTTED.fullmatch(node.value):
            found.add(node.value)
        elif isinstance(node, ast.Call) and name not in _NAMED_BY_CALLERS and _imports_unnamed(node):
            found.add(f"{package}.*")
    return {word for word in found if word.split(".")[0] in ("sightline", "pipeline")}


def _called(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _imports_unnamed(call: ast.Call) -> bool:
    """Returns whether a call is `import_module` of anything but the full name of a module as a literal."""
    first = call.args[0] if call.args else None
    whole = isinstance(first, ast.Constant) and isinstance(first.value, str) and not first.value.startswith(".")
    return _called(call.func) == "import_module" and not whole


def _is_type_checking(test: ast.expr) -> bool:
    return _called(test) == "TYPE_CHECKING"


def _is_resource(name: str) -> bool:
    """Returns whether a file name is not that of Python code, a hidden file or an editor's backup."""
    return not name.startswith(".") and not name.endswith((".py", ".pyc", ".pyi", "~")) and name != "py.typed"


def _own_digest() -> str:
    return files.sha256_file(Path(__file__))
