"""Runs of a stage that DVC takes for the same: asked of DVC itself, for each digest that `watch` writes.

That every value of every knob is another digest of settings is tested where the knobs are (tests/config/test_knobs.py).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from dvc.dependency import ParamsDependency
from dvc.repo import Repo
from dvc.stage.cache import _get_cache_hash
from dvc.stage.serialize import to_single_stage_lockfile
from dvc_data.hashfile.hash_info import HashInfo

from tests.pipeline.project import ROOT, STAGES

REPEATABLE = [stage for stage in STAGES if stage != "watch"]  # watch always runs
DIGESTS = {stage: {"code": "0" * 64, "settings": "0" * 64} for stage in REPEATABLE}


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repo]:
    """A project of DVC's with this project's stages, without their files."""
    folder = tmp_path_factory.mktemp("stages")
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, folder)
    (folder / "data").mkdir()
    (folder / "data" / "weights.json").write_text(
        json.dumps(dict.fromkeys(["weights", "teacher", "start", "unknown", "baseline"]))
    )
    before = Path.cwd()
    os.chdir(folder)
    Repo.init(no_scm=True).close()
    with Repo() as repo:
        yield repo
    os.chdir(before)


def keys(repo: Repo, digests: dict[str, dict[str, str]]) -> dict[str, str]:
    """Returns the run cache's key of each stage for the digests that `watch` has written."""
    Path("data/stages.json").write_text(json.dumps(digests))
    found = {}
    for stage in repo.index.stages:
        if stage.name not in REPEATABLE:
            continue
        for dep in stage.deps:
            if isinstance(dep, ParamsDependency):
                dep.save()
            else:
                dep.hash_info = HashInfo("md5", "0" * 32)
        found[stage.name] = _get_cache_hash(to_single_stage_lockfile(stage), key=True)
    return found


@pytest.mark.parametrize("kind", ["code", "settings"])
def test_another_digest_is_another_run_of_its_stage_and_of_no_other(repo: Repo, kind: str) -> None:
    at_first = keys(repo, DIGESTS)
    assert list(at_first) == REPEATABLE
    for stage in REPEATABLE:
        changed = keys(repo, {**DIGESTS, stage: {**DIGESTS[stage], kind: "1" * 64}})
        assert {name for name in REPEATABLE if changed[name] != at_first[name]} == {stage}
    assert keys(repo, DIGESTS) == at_first
