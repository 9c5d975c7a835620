"""The configurations of jobs: those that are derived are those that Hydra composes."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from sightline.config import compose as composing
from sightline.config.location import conf_folder
from sightline.config.params import parse_yaml
from sightline.core.errors import ConfigError
from sightline.sweep import job_composer, params_edit
from sightline.sweep.job_composer import JobComposer

PARAMS = composing.PARAMS
CHANGES = [
    ["train.lr=0.01"],
    ["train.lr=1e-3", "train.seed=3"],
    ["preprocess.size=24", "train.lr=0.02"],
    ["train/model=dense"],
    ["train/model=dense", "train.lr=0.5"],
    ["++train.model.width=64"],
    ["++train.model.width=32"],
    ["train.max_epochs=null"],
    ["ingest.path='/data/some birds'"],
    ["baseline.methods=[majority]"],
]


def test_derived_configurations_are_those_that_hydra_composes(monkeypatch: pytest.MonkeyPatch) -> None:
    composed: list[list[str]] = []

    def counting(overrides: list[str], conf: object) -> object:
        composed.append(overrides)
        return composing.compose(overrides)

    monkeypatch.setattr(job_composer, "compose", counting)
    composer, text = JobComposer(conf_folder()), PARAMS.read_text()
    for words in [[], *CHANGES, *CHANGES]:
        overrides = composing.saved_overrides(parse_yaml(params_edit.changed(text, words)))
        derived = composer.compose(overrides)
        assert OmegaConf.to_container(derived) == OmegaConf.to_container(composing.compose(overrides)), words
    assert len(composed) < len(CHANGES)


def test_what_cannot_be_derived_is_worded_as_hydra_finds_it() -> None:
    composer = JobComposer(conf_folder())
    composer.compose(["train.lr=0.1"])
    with pytest.raises(ConfigError, match=r"train\.rate"):
        composer.compose(["train.rate=0.1"])
