"""dvc.yaml names all that a stage reads: code, configuration and data; and no code that it does not read."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from sightline.datasets import data_settings
from tests.pipeline.closure import ROOT, import_closure
from tests.pipeline.conftest import Base
from tests.pipeline.project import OUTPUTS, STAGES, stages

CODE = ("src/", "pipeline/")
# watch needs no dependencies: it always runs.
TRACKED = [stage for stage in STAGES if stage != "watch"]


def deps_of(stage: str) -> list[str]:
    return [str(dep) for dep in stages()[stage]["deps"]]


def outs_of(stage: str) -> list[str]:
    description = stages()[stage]
    written = [*description.get("outs", []), *description.get("metrics", [])]
    return [out if isinstance(out, str) else next(iter(out)) for out in written]


def covers(paths: list[str], file: str) -> bool:
    return any(file == path or file.startswith(f"{path}/") for path in paths)


def is_empty(file: str) -> bool:
    """Says whether a file is a module of nothing but a docstring: to edit it changes nothing."""
    if not file.endswith("__init__.py"):
        return False
    body = ast.parse((ROOT / file).read_text()).body
    return all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in body)


def closure(stage: str) -> set[str]:
    files = import_closure(ROOT / "pipeline" / f"{stage}.py")
    return {str(file.relative_to(ROOT)) for file in files}


def test_every_stage_is_known_here():
    assert tuple(stages()) == STAGES
    assert stages()["watch"]["always_changed"] is True


@pytest.mark.parametrize("stage", TRACKED)
def test_all_imported_code_is_a_dependency(stage: str):
    missed = {file for file in closure(stage) if not is_empty(file) and not covers(deps_of(stage), file)}
    assert not missed


@pytest.mark.parametrize("stage", TRACKED)
def test_no_code_is_a_dependency_without_being_imported(stage: str):
    files = closure(stage)
    superfluous = [dep for dep in deps_of(stage) if dep.startswith(CODE) and not any(covers([dep], f) for f in files)]
    assert not superfluous


@pytest.mark.parametrize("stage", STAGES)
def test_every_dependency_exists_or_is_written_by_an_earlier_stage(stage: str):
    written = [out for earlier in STAGES[: STAGES.index(stage)] for out in outs_of(earlier)]
    for dep in stages()[stage].get("deps", []):
        assert covers(written, dep) or (ROOT / dep).exists(), dep


@pytest.mark.parametrize("stage", STAGES)
def test_no_command_holds_a_value(stage: str):
    assert stages()[stage]["cmd"] == f"exec python -m pipeline.{stage}"
    assert "${" not in "".join(re.findall(r"^\s*cmd:.*$", (ROOT / "dvc.yaml").read_text(), re.MULTILINE))


@pytest.mark.parametrize("stage", TRACKED)
def test_a_section_reads_no_other_section(stage: str):
    # DVC sees only a stage's own section change.
    for file in sorted((ROOT / "conf" / stage).rglob("*.yaml")):
        for path in re.findall(r"\$\{([\w.]+)\}", file.read_text()):
            assert path.split(".")[0] == stage, f"{file} reads {path}"


def test_the_closure_sees_an_import_wherever_it_stands(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(
        "def work():\n    from sightline.core import files\n\n"
        "if False:\n    import sightline.stages.train.fit as fit\n"
        'plugin = "sightline.stages.export.model_card.Card"\n'
    )
    found = {str(path.relative_to(ROOT)) for path in import_closure(script) if path != script}
    expected = {
        "src/sightline/core/files.py",
        "src/sightline/stages/train/fit.py",
        "src/sightline/stages/export/model_card.py",
    }
    assert expected | {"src/sightline/core/errors.py", "src/sightline/stages/train/lightning_module.py"} <= found


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("stage", TRACKED)
def test_a_stage_uses_only_files_that_it_names(base: Base, stage: str):
    used = {path for path in base.used(stage, "file") if (base.project.root / path).is_file()}
    code = {path for path in used if path.startswith(CODE)}
    imported = {path for path in base.used(stage, "import") if not is_empty(path)}
    assert imported, "the trace saw nothing"
    assert imported <= closure(stage), "imported, and not found by reading the source"
    conf = {path for path in used if path.startswith(f"conf/{stage}/") or path == "conf/config.yaml"}
    assert len(conf) > 1, "the trace saw no configuration"
    data = {path for path in used if path.split("/")[0] in OUTPUTS}
    # What the data were made with is told to MLflow and has no part in any output.
    told = [str(data_settings.RAW), str(data_settings.PROCESSED)]
    named = [*deps_of(stage), *outs_of(stage), *told]
    missed = {path for path in code | conf | data if not is_empty(path) and not covers(named, path)}
    assert not missed


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("stage", ["watch", "ingest", "preprocess"])
def test_light_stages_never_import_what_is_heavy(base: Base, stage: str):
    modules = base.used(stage, "module")
    assert "hydra" in modules, "the trace saw nothing"
    assert not modules & {"torch", "lightning", "pytorch_lightning", "mlflow", "albumentations", "matplotlib"}
