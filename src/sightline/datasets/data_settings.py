"""Settings that a dataset was made with: a flattened section of the configuration, recorded next to the data.

MLflow's record of a model's data comes from these files. The command line and params.yaml describe what would be made
now; the images on disk may be older. A record is an output of its stage but not a dependency of the next one: a
different number of workers, or another way to get the same images, does not retrain anything.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import AnyNode, Container, DictConfig, OmegaConf

from sightline.core import credentials, files

RAW = Path("data/raw.settings.json")
PROCESSED = Path("data/processed.settings.json")
UNKNOWN = "not known: {} is not what {} describes"


def flat_params(config: DictConfig, *sections: str) -> dict[str, str]:
    """Returns a configuration as flat parameters: `train.model.name`, `train.lr`, ...

    Values from the environment stay unresolved, and credentials in URLs are removed.

    Args:
        config: The whole composed configuration.
        sections: The sections to return; none for all.
    """
    resolved = copy.deepcopy(config)
    _hide_environment(resolved)
    params: dict[str, str] = {}

    def walk(node: Any, path: str) -> None:
        if isinstance(node, dict):
            for key, value in node.items():
                walk(value, f"{path}.{key}" if path else str(key))
        else:
            params[path] = credentials.mask(str(node))

    walk(OmegaConf.to_container(resolved, resolve=True), "")
    return {name: value for name, value in params.items() if not sections or name.split(".")[0] in sections}


def _hide_environment(node: Any) -> None:
    """Replaces every value that reads an environment variable by the text of its interpolation, without the `$`."""
    for key in list(node) if isinstance(node, DictConfig) else range(len(node)):
        child = node._get_node(key)
        if isinstance(child, Container) and not child._is_none() and not child._is_missing():
            if child._is_interpolation():
                continue
            _hide_environment(child)
        elif child is not None and "oc.env:" in str(child._value()):
            text = str(child._value()).replace("${", "{")
            node._set_item_impl(key, AnyNode(text)) if isinstance(node, DictConfig) else node.__setitem__(key, text)


def save_settings(path: Path, config: DictConfig, section: str, digest: str, made_from: str | None = None) -> None:
    """Writes the settings that a dataset was made with.

    Args:
        path: `RAW` or `PROCESSED`, below the folder that the set was written to.
        config: The whole composed configuration.
        section: The section of the stage that made it.
        digest: The set's digest.
        made_from: The digest of the set that it was made from.
    """
    settings = flat_params(config, section)
    files.write_json(path, {"digest": digest, "made_from": made_from, "settings": settings})


def raw_digest(folder: Path) -> str:
    """Returns a digest of a raw set: of file names (which for shards follow from content) and other files' content."""
    parts = [(p.name, "" if p.name.startswith("shard-") else files.sha256_file(p)) for p in sorted(folder.iterdir())]
    return files.sha256(json.dumps(parts).encode())


def load_settings(root: Path, digest: str) -> dict[str, str]:
    """Returns the settings that a processed set was made with, including those of its raw set.

    Args:
        root: The project's root.
        digest: The processed set's digest.

    Returns:
        Flat parameters; a section whose record is missing, or of another set, has a text that says so instead.
    """
    processed = _settings_file(root / PROCESSED)
    if processed.get("digest") != digest:
        reason = UNKNOWN.format("data/processed", PROCESSED)
        return {"ingest": reason, "preprocess": reason}
    raw = _settings_file(root / RAW)
    if raw.get("digest") != processed["made_from"]:
        return {"ingest": UNKNOWN.format("what data/processed was made from", RAW), **processed["settings"]}
    return {**raw["settings"], **processed["settings"]}


def _settings_file(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) and isinstance(content.get("settings"), dict) else {}
