"""A configuration that has been checked before, and has not changed since.

`watch` runs at every `dvc repro`. Composing and checking the configuration is most of its time, and nearly always the
answer is the last one; so the answer is kept, under a digest of everything that it was worked out from.
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
    """The parts of a configuration that `watch` looks at.

    Attributes:
        ingest: The ingest section.
        weights: The weights that were trained elsewhere.
        settings: The digest of each section's settings.
    """

    ingest: IngestConfig
    weights: WatchedWeights
    settings: dict[str, str]

    @classmethod
    def of(cls, ingest: IngestConfig, config: DictConfig) -> Self:
        """Takes it from a composed configuration, of which the ingest section is typed."""
        return cls(ingest, WatchedWeights.of(config), settings_digests(config))


def remembered() -> WatchedConfig | None:
    """Returns what was found good, or None if anything may have changed."""
    try:
        kept = json.loads(MEMORY.read_text())
        if kept["key"] != _key():  # which is not None: nothing would have been kept
            return None
        section = kept["ingest"]
        source = SOURCES[section["source"]["name"]](**section["source"])
        patterns = {knob: NamePattern(**section[knob]) for knob in ("class_from", "group_from", "split_from")}
        ingest = IngestConfig(**{**section, **patterns, "source": source})
        return WatchedConfig(ingest, WatchedWeights(**kept["weights"]), dict(kept["settings"]))
    except (OSError, ValueError, LookupError, TypeError):  # nothing kept, or by another version: it is worked out anew
        return None


def remember(watched: WatchedConfig) -> None:
    """Keeps what is looked at of a configuration of which all sections were found good.

    Not where the environment is read for it: what is kept must hold no credential.
    """
    key = _key()
    if key is not None:
        files.write_json(MEMORY, {"key": key, **dataclasses.asdict(watched)})


def _key() -> str | None:
    """Digests what a configuration is made of and checked by; None where the ingest section reads the environment."""
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
