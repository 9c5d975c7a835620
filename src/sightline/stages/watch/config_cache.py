"""Cache of the checked configuration.

`watch` runs on every `dvc repro`. Composing and checking the configuration takes most of its time, and nearly always
gives the same result as last time. So the result is cached, keyed by a digest of everything that it depends on.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from sightline.config.location import conf_folder
from sightline.core import files
from sightline.core.code_digest import CodeDigests
from sightline.sources import SOURCES
from sightline.sources.name_pattern import NamePattern
from sightline.stages.ingest.config import IngestConfig
from sightline.stages.watch.fingerprint import WatchedWeights
from sightline.stages.watch.stage_digests import settings_digests

if TYPE_CHECKING:
    from omegaconf import DictConfig

MEMORY = files.STATE / "checked.json"
PARAMS = Path("params.yaml")

_COMMENT = re.compile(rb"#[^\n]*")
_VARIABLE = re.compile(rb"oc\.env:(\w+)")


@dataclass(frozen=True)
class WatchedConfig:
    """The parts of a configuration that `watch` uses.

    Attributes:
        ingest: The ingest section.
        weights: Settings of weights trained elsewhere.
        settings: The digest of each section's settings.
    """

    ingest: IngestConfig
    weights: WatchedWeights
    settings: dict[str, str]

    @classmethod
    def of(cls, ingest: IngestConfig, config: DictConfig) -> Self:
        """Builds it from a composed configuration and its typed ingest section."""
        return cls(ingest, WatchedWeights.of(config), settings_digests(config))


def remembered() -> WatchedConfig | None:
    """Returns the cached result, or None if anything may have changed."""
    try:
        kept = json.loads(MEMORY.read_text())
        if kept["key"] != _key():  # a stored key is never None
            return None
        section = kept["ingest"]
        source = SOURCES[section["source"]["name"]](**section["source"])
        patterns = {knob: NamePattern(**section[knob]) for knob in ("class_from", "group_from", "split_from")}
        ingest = IngestConfig(**{**section, **patterns, "source": source})
        return WatchedConfig(ingest, WatchedWeights(**kept["weights"]), dict(kept["settings"]))
    except (OSError, ValueError, LookupError, TypeError):  # no cached result, or one of another version
        return None


def remember(watched: WatchedConfig) -> None:
    """Caches the watched parts of a valid configuration.

    Nothing is cached if they are read from the environment, since the cache must not contain credentials.
    """
    key = _key()
    if key is not None:
        files.write_json(MEMORY, {"key": key, **dataclasses.asdict(watched)})


def _key() -> str | None:
    """Returns a digest of configuration files and checking code; None if the ingest section reads the environment."""
    digest = hashlib.sha256(CodeDigests().digest("sightline.config.sections").encode())
    conf = conf_folder()
    for path in [PARAMS, *sorted(conf.rglob("*.yaml"))]:
        content = path.read_bytes()
        digest.update(f"{path}\0{len(content)}\0".encode() + content)
        if path.suffix == ".yaml":
            variables = _VARIABLE.findall(_COMMENT.sub(b"", content))
            if variables and (path == PARAMS or path.is_relative_to(conf / "ingest")):
                return None
            for name in variables:
                digest.update(f"{name!r}={os.environ.get(name.decode())!r}\0".encode())
    return digest.hexdigest()
