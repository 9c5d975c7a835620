"""The sections of the configuration, and the schema of each.

There is no list of them. A section is a folder of `conf/`, and its schema lives next to the code that it configures:
that of `train` is the dataclass `TrainConfig` in the module `sightline.stages.train.config`; that of `promote`, which
is not a stage, is in `sightline.promote.config`.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from sightline.config.compose import typed
from sightline.config.location import conf_folder
from sightline.core.errors import ConfigError

MODULES = ("sightline.stages.*.config", "sightline.*.config")


def schema_of(section: str) -> type[Any]:
    """Returns a section's schema.

    Raises:
        ConfigError: If no package of that name has a configuration schema.
    """
    for pattern in MODULES:
        module = pattern.replace("*", section)
        try:
            schema: type[Any] = getattr(import_module(module), f"{section.title().replace('_', '')}Config")
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):  # an import of the module itself
                raise
        else:
            return schema
    raise ConfigError(
        f"{section}: no such section; the section of a stage is in src/sightline/stages/{section}/config.py"
    )


def schemas(conf: Path | None = None) -> dict[str, type[Any]]:
    """Returns the schemas of all sections of `conf/`, by name."""
    folders = sorted((conf or conf_folder()).iterdir())
    return {folder.name: schema_of(folder.name) for folder in folders if folder.is_dir()}


def check(config: DictConfig) -> None:
    """Checks all sections of a composed configuration, in order.

    Raises:
        ConfigError: For the first error.
    """
    for section in config:
        typed(schema_of(str(section)), config[section], str(section))
