"""dvc.yaml names all that a stage reads: data, and the digests of its code and settings."""

from __future__ import annotations

import pytest

from sightline.core.code_digest import CodeDigests
from sightline.datasets import data_settings
from sightline.reporting import closing_lines
from tests.pipeline.conftest import Base
from tests.pipeline.project import OUTPUTS, ROOT, STAGES, stages

LISTED_NOWHERE = ("src/", "pipeline/", "conf/")
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


def closure(stage: str) -> set[str]:
    files = CodeDigests(ROOT / "src/sightline", ROOT / "pipeline", None).closure(f"pipeline.{stage}").values()
    return {str(file.relative_to(ROOT)) for file in files}


def test_every_stage_is_known_here():
    assert tuple(stages()) == STAGES
    assert stages()["watch"]["always_changed"] is True


def test_the_network_is_trained_before_the_baselines():
    from dvc.repo import Repo
    from dvc.repo.reproduce import plan_repro

    with Repo(str(ROOT)) as repo:
        graph = repo.index.graph
        plans = [plan_repro(graph), *(plan_repro(graph, repo.stage.collect(stage)) for stage in STAGES)]
    for plan in ([stage.addressing for stage in plan] for plan in plans):
        assert plan == [stage for stage in STAGES if stage in plan]


@pytest.mark.parametrize("stage", TRACKED)
def test_every_stage_depends_on_the_digests_of_its_own_code_and_settings_and_lists_no_file_of_them(stage: str):
    assert {"data/stages.json": [stage]} in stages()[stage]["params"]
    assert not [dep for dep in deps_of(stage) if dep.startswith(LISTED_NOWHERE)]


@pytest.mark.parametrize("stage", STAGES)
def test_every_dependency_exists_or_is_written_by_an_earlier_stage(stage: str):
    written = [out for earlier in STAGES[: STAGES.index(stage)] for out in outs_of(earlier)]
    for dep in stages()[stage].get("deps", []):
        assert covers(written, dep) or (ROOT / dep).exists(), dep


@pytest.mark.parametrize("stage", STAGES)
def test_no_command_holds_a_value(stage: str):
    assert stages()[stage]["cmd"] == f"exec python -m pipeline.{stage}"
    assert "${" not in (ROOT / "dvc.yaml").read_text()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("stage", TRACKED)
def test_a_stage_uses_only_files_that_it_names(base: Base, stage: str):
    used = {path for path in base.used(stage, "file") if (base.project.root / path).is_file()}
    imported = base.used(stage, "import")
    assert imported, "the trace saw nothing"
    assert imported <= closure(stage), "imported, and no part of the digest"
    data = {path for path in used if path.split("/")[0] in OUTPUTS}
    # What the data were made with is told to MLflow, and what the best baseline reached to the user, at the end of a
    # run: neither has a part in any output.
    written = [str(data_settings.RAW), str(data_settings.PROCESSED), str(closing_lines.BASELINES.parent)]
    named = [*deps_of(stage), *outs_of(stage), *written]
    missed = {path for path in data if not covers(named, path)}
    assert not missed


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("stage", ["watch", "ingest", "preprocess"])
def test_light_stages_never_import_what_is_heavy(base: Base, stage: str):
    modules = base.used(stage, "module")
    assert "hydra" in modules, "the trace saw nothing"
    assert not modules & {"torch", "lightning", "pytorch_lightning", "mlflow", "albumentations", "matplotlib"}
