"""docs/extending.md, executed: its blocks are written into a copy of the project, and each extension is used there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT

PAGE = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(?:python|yaml) (?P<path>\S+)(?: before:(?P<before>[^\n]+))?\n(?P<text>.*?)^```$", re.M | re.S)
USE = """
import json
from pathlib import Path

import numpy as np

import sightline
from sightline.api.settings import section
from sightline.metrics import classification
from sightline.stages.baseline.config import BaselineConfig
from sightline.stages.baseline.stage import run_methods

raw = sightline.ingest("stripes", workers=0)
data = sightline.preprocess(raw, size=8, channels=1, denoise="box", val_fraction=0.2)
model = sightline.train(
    data, model="linear", loss="brier", optimizer="adagrad", augment="none", max_epochs=1, lr=0.05
)
settings, _ = section("baseline", BaselineConfig, {"methods": ["nearest_mean"], "robustness_images": 0})
(method,) = run_methods(data.files, settings, Path("baselines"))
labels, probabilities = np.array([0, 0, 1, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.3, 0.7]])
numbers = classification.classification_metrics(labels, probabilities, 2, 20)
Path("data").mkdir()
Path("data/processed").symlink_to(data.path.resolve())
transform = json.loads((data.path / "contract.json").read_text())
print(json.dumps({
    "package": sightline.__file__,
    "images": len(raw),
    "step": transform["steps"]["denoise"],
    "model": dict(model.info.architecture),
    "training": dict(model.info.lineage.training),
    "baseline": method.numbers["accuracy"],
    "worst_recall": [numbers["worst_recall"], numbers["worst_recall_low"], numbers["worst_recall_high"]],
}))
"""


@dataclass(frozen=True)
class Block:
    path: Path
    before: str | None
    text: str


def blocks() -> list[Block]:
    return [Block(Path(m["path"]), m["before"], m["text"]) for m in BLOCK.finditer(PAGE)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("extended")
    for folder in ("src", "conf", "pipeline"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, root)
    for block in blocks():
        path = root / block.path
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        assert not old or block.path.suffix == ".yaml" or block.before, f"{block.path} is there already"
        lines = old.splitlines(keepends=True)
        starts = [i for i, line in enumerate(lines) if block.before and line.strip().startswith(block.before)]
        place = starts[0] if block.before else len(lines)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = block.text
        if block.before and path.suffix == ".py":  # an entry of a list, indented as the one that follows it
            margin = re.match(r"\s*", lines[place])
            assert margin
            text = textwrap.indent(text.rstrip(), margin[0]) + ",\n"
        path.write_text("".join([*lines[:place], text, *lines[place:]]), encoding="utf-8")
    return root


def run(project: Path, *command: str) -> str:
    environment = {**os.environ, "PYTHONPATH": f"{project / 'src'}{os.pathsep}{project}"}
    done = subprocess.run(
        [sys.executable, *command], cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_extension_works_as_the_page_has_it(project: Path) -> None:
    used = yaml.safe_load(run(project, "-c", USE).splitlines()[-1])
    assert used["package"] == str(project / "src/sightline/__init__.py")
    assert used["images"] == 120
    assert used["step"] == {"name": "box", "kernel_size": 3}
    assert used["model"] == {"name": "linear", "dropout": 0.0}
    assert used["training"]["loss"] == {"name": "brier", "scale": 1.0}
    assert used["training"]["optimizer"]["name"] == "adagrad"
    assert used["baseline"] == 1.0  # stripes across and along are told apart by their means
    value, low, high = used["worst_recall"]
    assert value == 0.5
    assert low < value < high
    output = run(project, "-m", "pipeline.brightness", "brightness.split=test")
    assert re.fullmatch(r"brightness: 2 classes, from \d+\.\d+ to \d+\.\d+\n", output)
    levels = yaml.safe_load((project / "reports/brightness.json").read_text())
    assert set(levels) == {"across", "along"}


def test_the_stage_is_part_of_the_dag_and_of_what_is_checked(project: Path) -> None:
    stage = yaml.safe_load((project / "dvc.yaml").read_text())["stages"]["brightness"]
    assert stage["outs"] == ["reports/brightness.json"]
    code = (
        "from pathlib import Path; from sightline.config.compose import compose;"
        "from sightline.stages.watch.stage_digests import settings_digests, write_stage_digests as write;"
        "write(settings_digests(compose([])), Path('stages.json')); print(Path('stages.json').read_text())"
    )
    assert set(yaml.safe_load(run(project, "-c", code))["brightness"]) == {"code", "settings"}
    bad = subprocess.run(
        [sys.executable, "-m", "pipeline.watch", "brightness.split=all"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": f"{project / 'src'}{os.pathsep}{project}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert bad.returncode == 2


def test_the_table_counts_what_the_examples_touch() -> None:
    """Of each section: new files, and files that get lines."""
    rows = re.findall(r"^\| \[(.+?)\]\(#.+?\) \| (.+?) \| (.+?) \|$", PAGE, re.M)
    for title, new, elsewhere in rows:
        start = re.search(rf"^## {re.escape(title)}$", PAGE, re.M | re.I)
        assert start, title
        section = PAGE[start.end() :].split("\n## ")[0]
        touched = [Block(Path(m["path"]), m["before"], m["text"]) for m in BLOCK.finditer(section)]
        there = [b for b in touched if (ROOT / b.path).exists()]
        counts = {"none": 0, "one entry": 1, "three files": 3}
        files = {"none": 0, "module": 1, "module, option file": 2, "script, package of three modules, defaults": 5}
        assert (len(touched) - len(there), len(there)) == (files[new], counts[elsewhere]), title
    assert len(rows) == 8
