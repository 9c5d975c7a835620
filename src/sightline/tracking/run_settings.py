"""Settings of a run: the distinctive ones become its parameters and its name, and all of them an artifact.

A run has some 140 settings, nearly all of them defaults. In a table of runs, only those that differ are useful.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra
from ruamel.yaml.error import YAMLError

from sightline.config import option_settings, params
from sightline.config.compose import compose, saved_overrides
from sightline.config.location import conf_folder
from sightline.config.params import PARAMS
from sightline.core import files, git
from sightline.core.errors import ConfigError
from sightline.datasets.data_settings import flat_params

LONGEST_NAME = 80
"""Maximum length of a run's name; further settings are only counted."""


def artifact(stage: str, settings: Mapping[str, str]) -> tuple[str, str]:
    """Returns name and content of the artifact with all settings of a stage."""
    return f"config/{stage}.json", files.canonical_json(dict(settings))


def distinct(settings: Mapping[str, str], overrides: Sequence[str] = ()) -> dict[str, str]:
    """Returns the names of the chosen options, and the settings that differ from the defaults in `conf/`.

    The learning rate and settings on the command line are always included, so that all jobs of a sweep over a setting
    have it, even the one with the default value.

    Args:
        settings: Flat settings from `flat_params`: `train.model.name`, `train.lr`, ...
        overrides: The overrides on the command line.
    """
    words = (option_settings.composed_word(word, conf_folder()).partition("=")[0] for word in overrides)
    given = {"train.lr", *(word.lstrip("+~").replace("/", ".") for word in words)}
    chosen, settings = _choices(settings), _own(settings)
    options = tuple(f"{choice.replace('.', '/')}={option}" for choice, option in chosen.items())
    defaults = _composed("", options, conf_folder())
    return {
        key: value
        for key, value in settings.items()
        if key.removesuffix(".name") in chosen or key in given or not _same(value, defaults.get(key))
    }


def run_name(settings: Mapping[str, str]) -> str:
    """Returns a training run's name: network, learning rate, and the differences from the committed `params.yaml`.

    A plain `dvc repro` is called `cnn lr=0.002`, and an experiment with another seed `cnn lr=0.002 seed=3`. Sections
    are omitted if unambiguous: `size=24` is `preprocess.size`; names that the train section also has keep theirs.
    """
    changed = _differing(settings, _committed(os.environ.get("DVC_EXP_BASELINE_REV") or "HEAD"))
    words = [settings["train.model.name"], f"lr={float(settings['train.lr']):g}"]
    own = {key.split(".")[1] for key in settings if key.startswith("train.")}
    short = {key: key.partition(".")[2] for key in changed}
    short = {k: v if k.startswith("train.") or v.split(".")[0] not in own else k for k, v in short.items()}
    more = [f"{short[key]}={value}" for key, value in changed.items()]
    more = sorted((word for word in more if word.split("=")[0] not in ("model", "lr")), key=lambda word: "." in word)
    while more and len(" ".join([*words, more[0]])) <= LONGEST_NAME:
        words.append(more.pop(0))
    return " ".join([*words, *([f"+{len(more)}"] if more else [])])


def _choices(settings: Mapping[str, str]) -> dict[str, str]:
    """Returns the choices between options: `train.model` -> `cnn`."""
    conf = conf_folder()
    found = {key.removesuffix(".name"): value for key, value in settings.items() if key.endswith(".name")}
    return {choice: option for choice, option in found.items() if (conf / choice.replace(".", "/")).is_dir()}


def _own(settings: Mapping[str, str]) -> dict[str, str]:
    """Omits settings that an option inherits from its section: `train.optimizer.lr` is `train.lr`."""
    parts = {key: key.split(".") for key in settings}
    return {
        key: value
        for key, value in settings.items()
        if len(parts[key]) != 3 or settings.get(f"{parts[key][0]}.{parts[key][2]}") != value
    }


def _differing(settings: Mapping[str, str], base: Mapping[str, str]) -> dict[str, str]:
    """Returns the settings that differ from `base`; for an option that differs, only its name."""
    chosen = _choices(settings)
    others = {choice for choice, option in chosen.items() if base.get(f"{choice}.name", option) != option}
    changed = {}
    for key, value in _own(settings).items():
        choice = ".".join(key.split(".")[:2])
        if choice in others:
            changed[choice] = chosen[choice]
        elif key in base and not _same(value, base[key]):
            changed[key] = value
    return changed


def _same(one: str, other: str | None) -> bool:
    """Returns whether two values given as text are equal, as `1` and `1.0` are."""
    return one == other or (other is not None and params.parse_yaml(one) == params.parse_yaml(other))


def _committed(revision: str) -> dict[str, str]:
    """Returns the settings of the committed `params.yaml`, or else of the current file, or else the defaults."""
    text = git.answer("show", f"{revision}:./{PARAMS}") or (
        PARAMS.read_text(encoding="utf-8") if PARAMS.is_file() else ""
    )
    return _composed(text, (), conf_folder())


@functools.lru_cache(maxsize=8)
def _composed(text: str, options: tuple[str, ...], conf: Path) -> dict[str, str]:
    """Returns the settings composed from `conf/`, a `params.yaml` and a choice of options; empty if they do not match.

    An older `params.yaml` may contain settings that `conf/` no longer has.
    """
    at_work, GlobalHydra.instance().hydra = GlobalHydra.instance().hydra, None  # Hydra's state is global
    try:
        return flat_params(compose([*saved_overrides(params.parse_yaml(text) or {}, conf), *options], conf))
    except (ConfigError, ValueError, YAMLError):
        return {}
    finally:
        GlobalHydra.instance().hydra = at_work
