"""The help of a stage's script speaks of the stage's knobs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sightline.config.compose import compose
from sightline.config.stage_help import Knob, help_text, knobs

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("stage", ["ingest", "preprocess", "baseline", "train", "evaluate", "export"])
def test_every_knob_stands_there_with_its_value_and_comment(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "80")
    text = help_text(stage, stage, "what it does", compose([f"{stage}.seed=77"] if stage == "train" else []))
    shown = list(knobs(Path("conf") / stage / "default.yaml"))
    assert len(shown) > 5
    for knob in shown:
        assert f"  {stage}.{knob.name}" in text
    words = [line for line in text.splitlines() if not line.startswith(f"  {stage}.")]  # a value may be longer
    assert max(map(len, words)) <= 80
    if stage == "train":
        assert "train.seed=77 " in text
        assert " channels of the first block;" in text
        assert "train/model=cnn " in text


def test_comments_behind_and_above_a_key(tmp_path: Path) -> None:
    path = tmp_path / "default.yaml"
    path.write_text(
        "# The file.\ndefaults:\n  - _self_\n\na: 1   # behind\n# above,\n# in two lines\nb: 2\n"
        "c: # a group\n  d: 3 # in it\n"
    )
    assert list(knobs(path)) == [
        Knob("a", "behind"),
        Knob("b", "above, in two lines"),
        Knob("c", "a group"),
        Knob("c.d", "in it"),
    ]


def test_on_the_command_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipeline.train", "train.model=resnet9", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.startswith("train: data/processed -> models/")
    assert "train/model=resnet9" in done.stdout
    assert "owered by" not in done.stdout
