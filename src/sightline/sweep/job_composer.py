"""Configurations of a sweep's jobs, which mostly differ in a few values: composed once per combination of options."""

from __future__ import annotations

import copy
from pathlib import Path

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sightline.config.compose import compose, parse_overrides


class JobComposer:
    """Composes `conf/` with overrides like `compose`, at a tenth of its cost if only values differ.

    Args:
        conf: The folder.
    """

    def __init__(self, conf: Path) -> None:
        self._conf = conf
        self._composed: dict[tuple[str, ...], tuple[dict[str, str], DictConfig]] = {}

    def compose(self, overrides: list[str]) -> DictConfig:
        """Returns the configuration, which the caller may modify.

        Raises:
            ConfigError: If a key or an option is unknown, naming what is allowed.
        """
        texts = {override.partition("=")[0].lstrip("+"): override for override in overrides}
        chosen = tuple(text for key, text in texts.items() if "/" in key)
        if chosen in self._composed and len(texts) == len(overrides):
            before, config = self._composed[chosen]
            if before.keys() == texts.keys():
                derived = _with_values(config, [texts[key] for key in texts if texts[key] != before[key]], texts)
                if derived is not None:
                    return derived
        config = compose(overrides, self._conf)
        self._composed.setdefault(chosen, (texts, copy.deepcopy(config)))
        return config


def _with_values(config: DictConfig, changed: list[str], keys: dict[str, str]) -> DictConfig | None:
    """Returns a configuration with other values of some keys; None if that is not sufficient.

    Args:
        config: The composed configuration.
        changed: The overrides that differ.
        keys: All overrides by key, since the order of nested keys matters.
    """
    overrides: list[Override] = parse_overrides(changed)
    for override in overrides:
        key = override.key_or_group
        nested = any(other.startswith(f"{key}.") or key.startswith(f"{other}.") for other in keys)
        if nested or override.is_delete() or isinstance(override.value(), dict | list):
            return None
    derived = copy.deepcopy(config)
    try:
        for override in overrides:
            added = override.is_add() or override.is_force_add()
            OmegaConf.update(derived, override.key_or_group, override.value(), merge=True, force_add=added)
    except OmegaConfBaseException:  # `compose` raises a better message
        return None
    return derived
