"""The code digest: whatever runs in a stage is part of it, whatever does not is none."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest

from sightline.core.code_digest import CodeDigests, read_source

ROOT = Path(__file__).parents[2]
STAGES = sorted(path.stem for path in (ROOT / "pipeline").glob("*.py") if path.stem not in ("__init__", "sweep"))


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code, to be changed and changed back."""
    root = tmp_path_factory.mktemp("code")
    for name in ("src/sightline", "pipeline"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    return root


def digests(root: Path) -> CodeDigests:
    return CodeDigests(root / "src/sightline", root / "pipeline", root / "memory.json")


def all_digests(root: Path) -> dict[str, str]:
    reader = digests(root)
    return {stage: reader.digest(f"pipeline.{stage}") for stage in STAGES}


def write(root: Path, **modules: str) -> CodeDigests:
    """Writes modules, `a__b` for a/b.py, and returns a reader that remembers nothing."""
    for name, text in modules.items():
        path = root / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        for folder in path.relative_to(root).parents:
            (root / folder / "__init__.py").touch()
        path.write_text(text)
    return CodeDigests(root / "sightline", root / "pipeline", None)


def test_one_token_of_any_file_changes_the_stages_that_run_it_and_a_comment_none(copy: Path) -> None:
    before = all_digests(copy)
    reader = CodeDigests(copy / "src/sightline", copy / "pipeline", None)
    closures = {stage: set(reader.closure(f"pipeline.{stage}").values()) for stage in STAGES}
    files = sorted(set().union(*closures.values()))
    assert len(files) > 200
    for path in files:
        path.write_text(f"# another word\n{path.read_text()}\n# and one more\n")
    assert all_digests(copy) == before
    for number, path in enumerate(files):
        text = path.read_text()
        path.write_text(f"{text}\nANOTHER = 1\n")
        reader.refresh()
        having = [stage for stage in STAGES if path in closures[stage]]
        stage = having[number % len(having)]  # one for each file: the same function digests them all
        assert reader.digest(f"pipeline.{stage}") != before[stage], path.relative_to(copy)
        path.write_text(text)
    for stage in STAGES:
        others = {path: path.read_text() for path in files if path not in closures[stage]}
        for path, text in others.items():
            path.write_text(f"{text}\nANOTHER = 1\n")
        reader.refresh()
        assert reader.digest(f"pipeline.{stage}") == before[stage]
        for path, text in others.items():
            path.write_text(text)
    assert all_digests(copy) == before


def test_a_source_is_no_code_of_the_stages_that_read_what_was_ingested(copy: Path) -> None:
    reader = digests(copy)
    for stage in ("preprocess", "baseline", "train", "evaluate", "export"):
        assert not [name for name in reader.closure(f"pipeline.{stage}") if name.startswith("sightline.sources")], stage


def test_the_engine_of_sweeps_is_no_code_of_a_stage(copy: Path) -> None:
    reader = digests(copy)
    for stage in ("ingest", "preprocess", "baseline", "train", "evaluate", "export"):
        assert not [name for name in reader.closure(f"pipeline.{stage}") if name.startswith("sightline.sweep")], stage


def test_every_template_that_a_stage_fills_is_part_of_it(copy: Path) -> None:
    before = all_digests(copy)["evaluate"]
    templates = sorted((copy / "src/sightline").rglob("*.j2"))
    reporting = [path for path in templates if {"reporting", "evaluate"} & set(path.parts)]  # the others fill their own
    assert len(reporting) >= 3
    for path in reporting:
        text = path.read_text()
        path.write_text(f"{text} ")
        assert all_digests(copy)["evaluate"] != before, path.name
        path.write_text(text)


def test_imports_are_found_however_they_are_written() -> None:
    text = b"""
from . import near
from .sub import thing
from .. import above
if TYPE_CHECKING:
    import sightline.never
else:
    import sightline.otherwise
"""
    within = {"sightline.a", "sightline.a.near", "sightline.a.sub", "sightline.a.sub.thing"}
    assert set(read_source(text, "sightline.a.b").names) == within | {
        "sightline", "sightline.above", "sightline.otherwise"
    }  # fmt: skip


def test_a_docstring_counts_as_a_comment_and_a_text_does_not() -> None:
    def digest(text: str) -> str:
        return read_source(text.encode(), "sightline.x").digest

    plain = digest("def f(a):\n    return a\n")
    assert digest('"""Of the module."""\n\ndef f(a):\n    """Of the function."""\n    return (a)  # why\n') == plain
    assert digest('def f(a):\n    b = """Text."""\n    return a\n') != plain
    assert digest("def f(a):\n    return 1\n") != digest("def f(a):\n    return 1.0\n")
    assert digest("def f(a):\n    return '1'\n") != digest("def f(a):\n    return b'1'\n")
    assert digest("x = a + b\n") != digest("x = a - b\n")
    assert digest("x = a[1:]\n") != digest("x = a[:1]\n")


@pytest.mark.parametrize(
    "text",
    [
        "import sightline.other",
        "from sightline import other",
        "from sightline.other import thing",
        "def f():\n    from sightline import other",
        "import importlib\nimportlib.import_module('sightline.other')",
        "CALLBACK = 'sightline.other.Callback'",
        "MODULES = 'sightline.*'",
        "from importlib import import_module\nname = 'oth' + 'er'\nimport_module(f'sightline.{name}')",
        "from . import other",
    ],
)
def test_an_import_is_found_in_every_form(tmp_path: Path, text: str) -> None:
    reader = write(
        tmp_path, sightline__other="thing = 1\n", sightline__main=text, pipeline__x="import sightline.main\n"
    )
    assert "sightline.other" in reader.closure("pipeline.x")


@pytest.mark.parametrize(
    "text",
    [
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import sightline.other\n",
        "NOTE = 'sightline.other is another'",
        "# import sightline.other\n",
        "import json, other",
    ],
)
def test_what_never_runs_is_no_import(tmp_path: Path, text: str) -> None:
    reader = write(
        tmp_path, sightline__other="thing = 1\n", sightline__main=text, pipeline__x="import sightline.main\n"
    )
    assert "sightline.other" not in reader.closure("pipeline.x")


def test_no_module_of_the_project_goes_through_the_packages_own_front_door() -> None:
    """The code digest leaves out what `sightline/__init__.py` hands out; so no stage may take it from there."""
    for path in [*(ROOT / "src").rglob("*.py"), *(ROOT / "pipeline").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "sightline":
                for alias in node.names:
                    assert (ROOT / "src/sightline" / alias.name).is_dir(), f"{path}: {alias.name}"
            if isinstance(node, ast.Import):
                assert "sightline" not in [alias.name for alias in node.names], path


def test_what_is_remembered_is_no_longer_believed_when_the_file_changed(tmp_path: Path) -> None:
    write(tmp_path, sightline__main="A = 1\n", pipeline__x="import sightline.main\n")

    def digest() -> str:
        return CodeDigests(tmp_path / "sightline", tmp_path / "pipeline", tmp_path / "memory").digest("pipeline.x")

    before = digest()
    assert digest() == before
    (tmp_path / "sightline/main.py").write_text("A = 22\n")
    assert digest() != before
    (tmp_path / "sightline/main.py").write_text("A = 1\n")
    (tmp_path / "memory").write_text("damaged")
    assert digest() == before


def test_a_module_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match="no module pipeline"):
        write(tmp_path, pipeline__x="").digest("pipeline.nothing")


def test_a_star_stands_for_any_one_part(tmp_path: Path) -> None:
    reader = write(
        tmp_path,
        sightline__a="X = 'sightline.stages.*.config'",
        sightline__stages__one__config="",
        sightline__stages__two__config="",
        sightline__stages__two__other="",
        sightline__stages__three__other="",
    )
    packages = {"sightline", "sightline.stages", "sightline.stages.one", "sightline.stages.two"}
    assert set(reader.closure("sightline.a")) == {
        "sightline.a", "sightline.stages.one.config", "sightline.stages.two.config", *packages,
    }  # fmt: skip
