"""Changes of params.yaml: only the values that change, with comments, quotes and order as they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightline.sweep import params_edit

TEXT = """\
# knobs
train:
  model: cnn                # the network
  model_options: {width: 64}
  lr: 2e-3                  # peak
  note: 'it''s'
  seed: 0
"""


@pytest.mark.parametrize(
    ("words", "before", "after"),
    [
        (["train.lr=0.01"], "lr: 2e-3                  # peak", "lr: 0.01                  # peak"),
        (["++train.threads=1"], "  seed: 0\n", "  seed: 0\n  threads: 1\n"),
        (["train.model_options.width=8"], "{width: 64}", "{width: 8}"),
        (["++train.model.width=8"], "{width: 64}", "{width: 8}"),
        (["train/model=cnn"], "", ""),
        (["train.model=dense"], "cnn                # the network\n  model_options: {width: 64}", None),
        (["train.gradient_clip=null"], "  seed: 0\n", "  seed: 0\n  gradient_clip: null\n"),
        (["preprocess.size=24"], "  seed: 0\n", "  seed: 0\npreprocess:\n  size: 24\n"),
        (["train.weights='007'"], "  seed: 0\n", "  seed: 0\n  weights: '007'\n"),
    ],
)
def test_a_change_changes_its_value_alone(project: Path, words: list[str], before: str, after: str | None) -> None:
    if after is None:
        after = "dense              # the network"
    assert params_edit.changed(TEXT, words) == TEXT.replace(before, after)


def test_the_settings_of_another_option_go_and_those_of_the_new_one_stay(project: Path) -> None:
    text = params_edit.changed(TEXT, ["++train.model.depth=16", "train.model=wide_resnet"])
    assert "model_options:\n    depth: 16" in text
    assert "width" not in text


def test_the_projects_own_file_stays_as_it_is(project: Path) -> None:
    text = (project / "params.yaml").read_text()
    assert params_edit.changed(text, []) == text
    lines = params_edit.changed(text, ["train.lr=0.004", "preprocess.size=24"]).splitlines()
    different = [line for line in lines if line not in text.splitlines()]
    assert [line.split("#")[0].strip() for line in different] == ["size: 24", "lr: 0.004"]
    assert all("#" in line for line in different)
