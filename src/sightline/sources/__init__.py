"""The sources of images, one file each. None of them imports anything heavy before it is asked for an image."""

from __future__ import annotations

import dataclasses
from typing import Any

from sightline.core.project import located
from sightline.sources.base import SOURCES, Source, SourceConfig, SourceOption

__all__ = ["SOURCES", "Source", "SourceConfig", "SourceOption", "open_source"]


def open_source(config: SourceConfig) -> Source:
    """Returns the source that the configuration selects. Nothing is opened before one of its methods is called."""
    return _located(config.source).open(config)


def _located(option: SourceOption) -> SourceOption:
    """Returns a source's option with its paths as they lead from here, in the project or in an experiment's copy."""
    given: dict[str, Any] = {name: getattr(option, name, None) for name in ("path", "root")}
    places = {name: str(located(path)) for name, path in given.items() if path is not None and "://" not in path}
    return dataclasses.replace(option, **places)
