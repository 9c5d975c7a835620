"""Settings of a run: those that tell it from others, as its parameters and its name; all of them are an artifact.

A run has some 140 settings, nearly all of them defaults. In a table of runs only those say something that differ.
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
"""Characters of a run's name after which further settings are only counted."""


def artifact(stage: str, settings: Mapping[str, str]) -> tuple[str, str]:
    """Returns name and content of the artifact that holds all settings that a stage worked with."""
    return f"config/{stage}.json", files.canonical_json(dict(settings))


def distinct(settings: Mapping[str, str], overrides: Sequence[str] = ()) -> dict[str, str]:
    """Returns the names of the chosen options, and the settings that differ from the defaults in `conf/`.

    The learning rate and what the command line sets are among them even so: the jobs of a sweep over a knob all have
    it, the one at the default as well.

    Args:
        settings: Flat, as `flat_params` gives them: `train.model.name`, `train.lr`, ...
        overrides: The command line.
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
    """Returns a training's name: network, learning rate, and what else differs from the committed `params.yaml`.

    So a plain `dvc repro` is `cnn lr=0.002`, and an experiment with another seed `cnn lr=0.002 seed=3`. Sections are
    left out where that is clear: `size=24` is `preprocess.size`; what the training has as well keeps its section.
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
    """Leaves out what an option takes over from its section: `train.optimizer.lr` is `train.lr`."""
    parts = {key: key.split(".") for key in settings}
    return {
        key: value
        for key, value in settings.items()
        if len(parts[key]) != 3 or settings.get(f"{parts[key][0]}.{parts[key][2]}") != value
    }


def _differing(settings: Mapping[str, str], base: Mapping[str, str]) -> dict[str, str]:
    """Returns the settings that `base` has otherwise; of an option that it does not choose, the name alone."""
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
    """Whether two values, as text, are equal: `1` and `1.0` are."""
    return one == other or (other is not None and params.parse_yaml(one) == params.parse_yaml(other))


def _committed(revision: str) -> dict[str, str]:
    """Returns the settings of `params.yaml` as it was committed; without git as it stands here, without it defaults."""
    text = git.answer("show", f"{revision}:./{PARAMS}") or (
        PARAMS.read_text(encoding="utf-8") if PARAMS.is_file() else ""
    )
    return _composed(text, (), conf_folder())


@functools.lru_cache(maxsize=8)
def _composed(text: str, options: tuple[str, ...], conf: Path) -> dict[str, str]:
    """Returns the settings that a `params.yaml` and a choice of options make of `conf/`; none where they do not fit it.

    Of another time, they may name what `conf/` has no more.
    """
    at_work, GlobalHydra.instance().hydra = GlobalHydra.instance().hydra, None  # Hydra composes one thing at a time
    try:
        return flat_params(compose([*saved_overrides(params.parse_yaml(text) or {}, conf), *options], conf))
    except (ConfigError, ValueError, YAMLError):
        return {}
    finally:
        GlobalHydra.instance().hydra = at_work
