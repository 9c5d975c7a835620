"""The sources of images, one module each. None of them has heavy imports before images are read."""

from __future__ import annotations

import dataclasses
from typing import Any

from sightline.core.project import located
from sightline.sources.base import SOURCES, Source, SourceConfig, SourceOption

__all__ = ["SOURCES", "Source", "SourceConfig", "SourceOption", "open_source"]


def open_source(config: SourceConfig) -> Source:
    """Returns the source that the configuration selects. It opens nothing until one of its methods is called."""
    return _located(config.source).open(config)


def _located(option: SourceOption) -> SourceOption:
    """Returns a source option with its paths resolved from here, the project or an experiment's copy of it."""
    given: dict[str, Any] = {name: getattr(option, name, None) for name in ("path", "root")}
    places = {name: str(located(path)) for name, path in given.items() if path is not None and "://" not in path}
    return dataclasses.replace(option, **places)
