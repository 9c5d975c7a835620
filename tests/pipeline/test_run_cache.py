"""Runs of a stage that DVC takes for the same: asked of DVC itself, for every knob and every option's file."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.dependency import ParamsDependency
from dvc.repo import Repo
from dvc.stage.cache import _get_cache_hash
from dvc.stage.serialize import to_single_stage_lockfile
from dvc_data.hashfile.hash_info import HashInfo

from sightline.config.compose import read_params
from tests.config.knobs import CHOICES, ROOT, knobs, merge
from tests.pipeline.project import STAGES

KNOBS = knobs()
REPEATABLE = [stage for stage in STAGES if stage != "watch"]  # watch always runs
Keys = Callable[[dict[str, Any]], dict[str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project of DVC's with this project's stages, without their files."""
    folder = tmp_path_factory.mktemp("stages")
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, folder)
    (folder / "data").mkdir()
    (folder / "data" / "code.json").write_text(json.dumps(dict.fromkeys(REPEATABLE, "0" * 64)))
    (folder / "data" / "weights.json").write_text(
        json.dumps(dict.fromkeys(["weights", "teacher", "start", "baseline"]))
    )
    before = Path.cwd()
    os.chdir(folder)
    Repo.init(no_scm=True).close()
    yield folder
    os.chdir(before)


@pytest.fixture(scope="module")
def keys(folder: Path) -> Iterator[Keys]:
    """Returns the run cache's key of each stage for changed sections of params.yaml."""
    with Repo() as repo:
        stages = {stage.name: stage for stage in repo.index.stages if stage.name in REPEATABLE}
        for stage in stages.values():
            for dep in stage.deps:
                if not isinstance(dep, ParamsDependency):
                    dep.hash_info = HashInfo("md5", "0" * 32)

        original = read_params(ROOT / "params.yaml")

        def of(changes: dict[str, Any]) -> dict[str, str]:
            params = copy.deepcopy(original)
            merge(params, changes)
            Path("params.yaml").write_text(yaml.safe_dump(params))
            for stage in stages.values():
                for dep in stage.deps:
                    if isinstance(dep, ParamsDependency):
                        dep.save()
            return {name: _get_cache_hash(to_single_stage_lockfile(stage), key=True) for name, stage in stages.items()}

        yield of


def test_every_value_of_every_knob_is_another_run_of_its_stage_and_of_no_other(keys: Keys) -> None:
    at_first = keys({})
    assert list(at_first) == REPEATABLE
    seen: dict[str, set[str]] = {stage: {key} for stage, key in at_first.items()}
    behind = [knob for knob in KNOBS if knob.stage in REPEATABLE]
    for knob in behind:
        changed = keys({knob.stage: knob.section()})
        key = changed.pop(knob.stage)
        assert key not in seen[knob.stage], f"{knob} is no part of the key"
        seen[knob.stage].add(key)
        assert changed.items() <= at_first.items(), knob
    assert keys({}) == at_first


def test_a_stage_depends_on_the_files_of_the_options_that_it_selects(folder: Path) -> None:
    choices = {choice: options for choice, options in CHOICES.items() if choice.split(".")[0] in REPEATABLE}
    rounds = max(map(len, choices.values()))
    for number in range(rounds):
        params = read_params(ROOT / "params.yaml")
        chosen = {choice: options[number % len(options)] for choice, options in choices.items()}
        for choice, option in chosen.items():
            stage, key = choice.split(".")
            params[stage][key] = option
        Path("params.yaml").write_text(yaml.safe_dump(params))
        with Repo() as repo:
            for stage in repo.index.stages:
                named = {dep.def_path for dep in stage.deps if dep.def_path.startswith("conf/")}
                selected = {f"conf/{choice.replace('.', '/')}/{option}.yaml" for choice, option in chosen.items()}
                own = {path for path in selected if path.startswith(f"conf/{stage.name}/")}
                expected = {"conf/config.yaml", f"conf/{stage.name}/default.yaml", *own}
                assert named == (set() if stage.name in ("watch", "headline") else expected)
