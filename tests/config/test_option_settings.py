"""Keys of options' settings, as params.yaml and the command line write them, and as Hydra composes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightline.config import option_settings
from sightline.core.errors import ConfigError


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A folder of configuration with the choice `model` of the stage `train`."""
    (tmp_path / "train/model").mkdir(parents=True)
    (tmp_path / "train/default.yaml").touch()
    (tmp_path / "train/lr").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("key", "choice"),
    [("model_options", "model"), ("model", None), ("lr_options", None), ("loss_options", None), ("options", None)],
)
def test_a_key_belongs_to_a_choice_that_has_a_folder(conf: Path, key: str, choice: str | None) -> None:
    assert option_settings.choice_of(key, conf / "train") == choice


def test_settings_are_a_mapping_that_names_no_option() -> None:
    assert option_settings.checked("train.model_options", {"width": 4}) == {"width": 4}
    assert option_settings.checked("train.model_options", {}) == {}
    assert option_settings.checked("train.model_options", None) == {}
    with pytest.raises(ConfigError, match=r"^train\.model_options: must map .* as in conf/train/model/$"):
        option_settings.checked("train.model_options", [1])
    with pytest.raises(ConfigError, match=r"^train\.model_options\.name: an option is chosen by train\.model$"):
        option_settings.checked("train.model_options", {"name": "dense"})


@pytest.mark.parametrize(
    ("word", "composed"),
    [
        ("train.model_options.width=64", "++train.model.width=64"),
        ("+train.model_options.width=64", "++train.model.width=64"),
        ("++train.model_options.a.b=x\ny", "++train.model.a.b=x\ny"),
        ("train.lr_options.a=1", "train.lr_options.a=1"),
        ("train.lr=1", "train.lr=1"),
        ("train/model=dense", "train/model=dense"),
        ("~train.model_options.width", "~train.model_options.width"),
        ("seed=1", "seed=1"),
    ],
)
def test_an_override_as_hydra_composes_it(conf: Path, word: str, composed: str) -> None:
    assert option_settings.composed_word(word, conf) == composed


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("train.model.width=64", "++train.model_options.width=64"),
        ("+train.model.width=64", "++train.model_options.width=64"),
        ("++train.model.a.b=x\ny", "++train.model_options.a.b=x\ny"),
        ("++train.model_options.width=64", "++train.model_options.width=64"),
        ("train.lr.a=1", "train.lr.a=1"),
        ("train.lr=1", "train.lr=1"),
        ("~train.model.width", "~train.model.width"),
    ],
)
def test_an_override_as_params_yaml_has_it(conf: Path, word: str, written: str) -> None:
    assert option_settings.written_word(word, conf) == written
