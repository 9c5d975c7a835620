"""Provenance of an evaluation: digests of data, configuration and model; settings; the training machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sightline.core import files
from sightline.datasets.processed_set import INDEX, TRANSFORM, ProcessedSet
from sightline.datasets.raw_set import CLASSES

_CONFIGURATION = ("architecture", "input", "training")
_SHOWN = {
    "device": "device",
    "machine": "processor",
    "cpu_capability": "processor's instructions",
    "threads": "threads",
    "precision": "precision",
    "torch": "PyTorch",
}


def digests(info: Mapping[str, Any], data: ProcessedSet) -> list[tuple[str, str]]:
    """Returns the SHA-256 digests that identify the model, its configuration and its data.

    The data's index names every shard by the digest of its content, and so covers every pixel.
    """
    rows = []
    if "weights_sha256" in info:
        rows.append(("model: weights", info["weights_sha256"]))
    settings = {name: info[name] for name in _CONFIGURATION if name in info}
    if settings:
        rows.append(("model: configuration", files.sha256(files.canonical_json(settings).encode())))
    rows.append(("data: the whole set", data.digest))
    names = {INDEX: "index", CLASSES: "class map", TRANSFORM: "preprocessing"}
    return rows + [(f"data: {title}", files.sha256_file(data.root / name)) for name, title in names.items()]


def environment(info: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns the training environment that `model.json` records: device, threads, versions."""
    profile = info.get("profile", {})
    named = [(title, str(profile[name])) for name, title in _SHOWN.items() if name in profile]
    return named + [(name, str(value)) for name, value in profile.items() if name not in _SHOWN]


def flat_settings(info: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns the remaining facts about the model, its architecture and training settings, key by key."""
    shown_elsewhere = {"classes", "weights_sha256", "profile"}
    return flatten({key: value for key, value in info.items() if key not in shown_elsewhere})


def flatten(node: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Returns nested mappings as pairs of dotted key and text, in the order given.

    >>> flatten({"name": "cnn", "train": {"lr": 0.1}})
    [('name', 'cnn'), ('train.lr', '0.1')]
    """
    rows: list[tuple[str, str]] = []
    for key, value in node.items():
        if isinstance(value, Mapping):
            rows += flatten(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", str(value)))
    return rows
