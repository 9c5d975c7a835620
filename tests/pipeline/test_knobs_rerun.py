"""Settings turned there, back and there again: the right stages run, and what they write holds the value each time.

The one for which DVC's run cache once brought the old outputs back is tried at every run of the tests; every other
setting of every stage, by real runs of it, only with `--full`. `test_run_cache.py` asks DVC for the key of each.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from sightline.config.compose import read_params
from tests.config.knobs import CHOICES, ROOT, Knob, knobs, merge, together
from tests.pipeline.conftest import Base
from tests.pipeline.project import Project

BEHIND = {"ingest": "baseline", "preprocess": "baseline"}
"""The stage whose run in MLflow has the parameters of another: the quickest one behind it."""
RUNS = {"ingest": ["ingest", "preprocess", "baseline"], "preprocess": ["preprocess", "baseline"]}
# What this machine, or the digits, cannot run: devices, clusters, machines, files and networks of a hundred megabytes.
ELSEWHERE = {
    *("ingest.source", "ingest.labels", "preprocess.backend", "preprocess.backend.address", "train.trainer"),
    *("train.trainer.devices", "train.trainer.nodes", "train.trainer.compile", "train.model.weights"),
}

NOT_HERE = ("timm", "gpu", "mps", "ddp", "finetune", "probe")  # the last two: with pretrained weights alone


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_size_and_an_options_setting_there_and_back_and_there_again(project: Project):
    before = project.outputs()
    turned = ["-S", "preprocess.size=12", "-S", "++preprocess.denoise_options.sigma=0.7"]
    assert project.check("dvc", "exp", "run", "preprocess", *turned).ran == ["watch", "preprocess"]
    there = project.outputs()

    def transform() -> tuple[int, float]:
        content = json.loads(project.read("data/processed/contract.json"))
        return content["size"], content["steps"]["denoise"]["sigma"]

    assert transform() == (12, 0.7)
    project.check("git", "checkout", "params.yaml")
    assert project.repro().ran == ["watch"]
    assert project.outputs() == before
    assert project.check("dvc", "exp", "run", "preprocess", *turned).ran == ["watch"]
    assert project.outputs() == there
    assert transform() == (12, 0.7)


def runnable(knob: Knob) -> bool:
    of_a_source = knob.composed.startswith("ingest.source.")
    return knob.composed not in ELSEWHERE and not of_a_source and knob.option not in NOT_HERE


def groups() -> list[Any]:
    """Returns the settings of each stage that can be tried at once."""
    found = []
    for stage in ("ingest", "preprocess", "baseline", "train", "evaluate", "export"):
        tried = [knob for knob in knobs() if knob.stage == stage and runnable(knob)]
        for number, group in enumerate(together(tried)):
            found.append(pytest.param(stage, group, id=f"{stage}-{number}"))
    return found


@pytest.fixture(scope="module")
def tried(base: Base, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("tried")
    yield base.project.copy(folder / "project")
    shutil.rmtree(folder)


def logged(project: Project, stage: str) -> dict[str, str]:
    """Returns what MLflow knows of a stage's settings: the newest run of a baseline, or that of the model now."""
    of_baselines = BEHIND.get(stage, stage) == "baseline"
    runs = project.runs(baselines=of_baselines)
    if not of_baselines:
        digest = json.loads(project.read("models/model.json"))["weights_sha256"]
        runs = [run for run in runs if run.data.tags.get("sightline.model_sha256") == digest]
    run = runs[0]
    return {**run.data.tags, **run.data.params}


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("stage", "group"), groups())
def test_all_settings_there_and_back_and_there_again(tried: Project, stage: str, group: list[Knob]):
    target = BEHIND.get(stage, stage)
    before = tried.outputs()
    original = tried.read("params.yaml")
    params = yaml.safe_load(original)
    for knob in group:
        merge(params.setdefault(stage, {}), knob.section())
    (tried.root / "params.yaml").write_text(yaml.safe_dump(params))
    try:
        assert tried.repro(target).ran == ["watch", *RUNS.get(stage, [stage])]
        there = tried.outputs()
        known = logged(tried, stage)
        for knob in group:
            others = knob.other.items() if isinstance(knob.other, dict) else [("", knob.other)]
            for inner, other in others:
                name = f"{knob.composed}{f'.{inner}' if inner else ''}{'.name' if knob.composed in CHOICES else ''}"
                assert known[name] == str(other), name
        if stage == "train":
            assert_model_holds(json.loads(tried.read("models/model.json")), group)
    finally:
        (tried.root / "params.yaml").write_text(original)
    assert tried.repro(target).ran == ["watch"]
    assert tried.outputs() == before
    (tried.root / "params.yaml").write_text(yaml.safe_dump(params))
    try:
        assert tried.repro(target).ran == ["watch"]
        assert tried.outputs() == there
    finally:
        (tried.root / "params.yaml").write_text(original)
        tried.repro(target)


def assert_model_holds(info: dict[str, Any], group: list[Knob]) -> None:
    for knob in group:
        if knob.key == "num_workers":  # a matter of the machine
            continue
        found = info["architecture"] if knob.key == "model" else info["training"][knob.key]
        if knob.setting:
            found = found[knob.setting]
        elif knob.composed in CHOICES:
            found = found["name"]
        assert found == knob.other, knob


def test_only_what_cannot_run_here_is_left_out():
    left = {knob.composed for knob in knobs() if not runnable(knob) and not knob.option}
    assert left <= ELSEWHERE
    assert {f"{stage}.{key}" for stage, section in read_params(ROOT / "params.yaml").items() for key in section} <= {
        knob.composed for knob in knobs()
    }
