"""Former names of knobs and options: one line that names the present one."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightline.config import renames
from sightline.config.compose import compose, saved_overrides, selecting
from sightline.config.sections import check
from sightline.core.errors import ConfigError

KNOBS = {"train.speed": "train.lr", "train.mean": "train.average", "train.model.breadth": "train.model.width"}
OPTIONS = {("train.loss", "log"): "cross_entropy"}


@pytest.fixture(autouse=True)
def _renamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renames, "KNOBS", KNOBS)
    monkeypatch.setattr(renames, "OPTIONS", OPTIONS)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"speed": 0.1}, "train.speed is now called train.lr"),
        ({"mean": "ema"}, "train.mean is now called train.average"),
        ({"mean_options": {"decay": 0.9}}, "train.mean_options is now called train.average_options"),
        ({"model_options": {"breadth": 4}}, "train.model_options.breadth is now called train.model_options.width"),
        ({"loss": "log"}, "train.loss=log is now called train.loss=cross_entropy"),
    ],
)
def test_former_names_in_params_are_refused(section: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        saved_overrides({"train": section})
    assert str(error.value) == f"{message}: rename it in params.yaml"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("train.speed=0.1", "train.speed is now called train.lr"),
        ("++train.speed=0.1,0.2", "train.speed is now called train.lr"),
        ("~train.speed", "train.speed is now called train.lr"),
        ("train/mean=ema", "train.mean is now called train.average"),
        ("train.mean=ema", "train.mean is now called train.average"),
        ("train.mean.decay=0.9", "train.mean is now called train.average"),
        ("train.mean_options.decay=0.9", "train.mean_options is now called train.average_options"),
        ("train.model.breadth=4", "train.model.breadth is now called train.model.width"),
        ("train.loss=log", "train.loss=log is now called train.loss=cross_entropy"),
        ("train/loss=focal,log", "train.loss=log is now called train.loss=cross_entropy"),
    ],
)
def test_former_names_on_the_command_line_are_refused(word: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        selecting(word)
    assert str(error.value) == f"{message}: rename it on the command line"


def test_present_names_are_taken() -> None:
    assert selecting("train.lr=0.1") == "train.lr=0.1"
    assert saved_overrides({"train": {"lr": 0.1, "note": "speed"}, "ingest": {"speed": 1}})


def test_what_a_former_name_is_replaced_by_exists(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.chdir(project)
    config = compose([])
    check(config)
    for former, present in renames.KNOBS.items():
        stage, knob = present.split(".", 1)
        assert knob.split(".")[0] in config[stage], present
        assert former.split(".")[1:] != present.split(".")[1:]
    for (choice, former), present in renames.OPTIONS.items():
        folder = Path("conf") / choice.replace(".", "/")
        assert (folder / f"{present}.yaml").is_file()
        assert not (folder / f"{former}.yaml").exists()


def test_a_knob_that_is_gone_is_refused_with_the_reason() -> None:
    why = "ingest.deep was removed: files on disk are always watched by their content; remove it from"
    with pytest.raises(ConfigError, match=f"^{why} params.yaml$"):
        saved_overrides({"ingest": {"deep": True}})
    with pytest.raises(ConfigError, match=f"^{why} the command line$"):
        selecting("ingest.deep=true")
