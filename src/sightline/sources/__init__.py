"""The sources of images, one file each. None of them imports anything heavy before it is asked for an image."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.config.schema import Option
from sightline.core.project import located
from sightline.sources import options
from sightline.sources.databases.options import MongodbOption, SqlOption
from sightline.sources.layout_rules import LayoutRules

if TYPE_CHECKING:
    from sightline.sources.base import Source, SourceConfig


def open_source(config: SourceConfig) -> Source:
    """Returns the source that the configuration selects. Nothing is opened before one of its methods is called."""
    match _located(config.source):
        case options.DigitsOption():
            from sightline.sources.digits import DigitsSource

            return DigitsSource(config.limit)
        case options.FolderOption(path=str(path)) as option:
            from sightline.sources.folder import FolderSource

            rules = LayoutRules(option.layout, option.class_depth)
            return FolderSource(Path(path), config.max_bytes, config.limit, rules)
        case options.FolderOption(url=str(url)) as option:
            from sightline.sources.remote_folder import RemoteFolderSource

            rules = LayoutRules(option.layout, option.class_depth)
            return RemoteFolderSource(url, config.max_bytes, config.limit, rules)
        case options.ArchiveOption() as option:
            from sightline.sources.archive import ArchiveSource
            from sightline.sources.file import source_file

            file = source_file(option.path, option.url)
            rules = LayoutRules(option.layout, option.class_depth)
            return ArchiveSource(file, config.max_bytes, option.max_entries, option.max_ratio, config.limit, rules)
        case MongodbOption() as option:
            from sightline.sources.databases.mongo_source import MongodbSource

            return MongodbSource(option, config.limit)
        case SqlOption() as option:
            from sightline.sources.databases.sql_source import SqlSource

            return SqlSource(option, config.limit)
        case options.TableOption() as option:
            from sightline.sources.table import TableSource

            return TableSource(option, config.max_bytes)
        case options.IdxOption() as option:
            from sightline.sources.idx import IdxSource

            return IdxSource(Path(option.path or ""), option.class_names, config.limit)
        case options.TorchvisionOption() as option:
            from sightline.sources.torchvision import TorchvisionSource

            return TorchvisionSource(option, config.max_bytes, config.limit)
        case options.HuggingfaceOption() as option:
            from sightline.sources.huggingface import HuggingfaceSource

            return HuggingfaceSource(option, config.max_bytes, config.limit)
        case other:
            raise NotImplementedError(f"no source for {type(other).__name__}")


def _located(option: Option) -> Option:
    """Returns a source's option with its paths as they lead from here, in the project or in an experiment's copy."""
    given: dict[str, Any] = {name: getattr(option, name, None) for name in ("path", "root")}
    places = {name: str(located(path)) for name, path in given.items() if path is not None and "://" not in path}
    return dataclasses.replace(option, **places)
