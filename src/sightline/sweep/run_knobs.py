"""Conversion of the settings of an MLflow run to params.yaml."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from sightline.config import option_settings, params
from sightline.config.compose import compose, saved_overrides
from sightline.config.location import conf_folder
from sightline.core.errors import UserError
from sightline.datasets.data_settings import flat_params
from sightline.sweep import params_edit
from sightline.tracking.find_run import FoundRun, all_settings


@dataclass(frozen=True)
class AdoptedText:
    """A params.yaml with the settings of a run.

    Attributes:
        text: Its content.
        left: A line for each setting that could not be adopted.
    """

    text: str
    left: list[str]


def settings_of(run: FoundRun) -> dict[str, str]:
    """Returns all settings of a run, flattened, as text.

    Raises:
        UserError: If none are recorded, or MLflow cannot be reached.
    """
    found = all_settings(run.id)
    if not found:
        raise UserError(f"{run.name}: this run has no settings (config/train.json is no artifact of it)")
    return found


def adopted(text: str, settings: Mapping[str, str]) -> AdoptedText:
    """Returns a params.yaml that composes to a run's settings.

    Args:
        text: The current params.yaml.
        settings: The run's settings, from `settings_of`.

    Raises:
        UserError: If an option that it chose no longer exists.
    """
    conf = conf_folder()
    choices = {key.removesuffix(".name"): value for key, value in settings.items() if key.endswith(".name")}
    choices = {key: option for key, option in choices.items() if (conf / key.replace(".", "/")).is_dir()}
    composed = _composed(text, conf)
    now = flat_params(composed)
    changed: dict[str, Any] = {key: option for key, option in choices.items() if now.get(f"{key}.name") != option}
    base_text = params_edit.with_values(text, changed)
    config = _composed(base_text, conf) if changed else composed
    base = flat_params(config)
    left = [f"{key}: {value}" for key, value in settings.items() if "." not in key]
    values: dict[str, Any] = {}
    for key, value in settings.items():
        parts = key.split(".")
        if len(parts) == 1 or key.removesuffix(".name") in choices or same(value, base.get(key)):
            continue
        if len(parts) == 3 and settings.get(f"{parts[0]}.{parts[2]}") == value:
            continue  # interpolated from the section: `train.optimizer.lr` is `train.lr`
        if "oc.env:" in f"{value}{base.get(key)}":
            continue
        if "***" in value:
            left.append(f"{key}: credentials are not recorded with runs")
        elif key not in base:
            left.append(f"{key}={value}: there is no such setting any more")
        else:
            written = option_settings.written_word(f"{key}=", conf).rstrip("=").lstrip("+")
            values[written] = value if isinstance(OmegaConf.select(config, key), str) else _value_of_text(value)
    return AdoptedText(params_edit.with_values(base_text, values), left)


def same(one: str, other: str | None) -> bool:
    """Returns whether two values given as text are equal; `1` and `1.0` are."""
    return one == other or (other is not None and params.parse_yaml(one) == params.parse_yaml(other))


def _composed(text: str, conf: Path) -> DictConfig:
    return compose(saved_overrides(params.parse_yaml(text) or {}, conf), conf)


def _value_of_text(text: str) -> Any:
    """Parses a value in Python's syntax (None, True, a number, a list); anything else is a string."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
