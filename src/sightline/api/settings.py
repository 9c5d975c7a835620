"""Keyword arguments as a section of the configuration: the same settings, defaults and errors as in `params.yaml`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeVar

from omegaconf import DictConfig

from sightline.config import renames
from sightline.config.compose import compose, saved_overrides, typed
from sightline.config.location import conf_folder

T = TypeVar("T")


def section(name: str, schema: type[T], knobs: Mapping[str, Any]) -> tuple[T, DictConfig]:
    """Returns a stage's section, checked, and the whole configuration that contains it.

    Args:
        name: The section's name: `train`.
        schema: Its dataclass.
        knobs: Settings that differ from `conf/`, by the keys of `params.yaml`: `{"model": "cnn"}`.

    Raises:
        ConfigError: For an unknown setting or option, or a value of the wrong type or outside its range.
    """
    conf = conf_folder()
    content = {name: {key: _plain(value) for key, value in knobs.items()}}
    renames.refuse_params(content, "the call")
    config = compose(saved_overrides(content, conf), conf)
    return typed(schema, config[name], name), config


def _plain(value: Any) -> Any:
    """Returns a value as YAML could represent it: NumPy's numbers as Python's, paths as text."""
    if isinstance(value, Mapping):
        return {key: _plain(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(child) for child in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.item() if hasattr(value, "item") else value
