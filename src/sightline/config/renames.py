"""Former names of settings and options, refused with the current name while users may still have them.

An entry is added when a name changes, and is removed two releases later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sightline.config.option_settings import SUFFIX
from sightline.core.errors import ConfigError

KNOBS: dict[str, str] = {
    "train.average": "train.weight_averaging",
    "train.backbone_factor": "train.backbone_lr_mult",
    "train.balanced": "train.balanced_sampling",
    "train.resident": "train.cache_in_memory",
}
"""Former name -> current name of a setting, both `<stage>.<setting>` or `<stage>.<choice>.<setting>`."""

REMOVED: dict[str, str] = {"ingest.deep": "files on disk are always watched by their content"}
"""Former name of a setting that is no longer needed -> the reason."""

OPTIONS: dict[tuple[str, str], str] = {("preprocess.resize", "squash"): "stretch"}
"""(choice, former name) -> current name of an option: `("preprocess.resize", "squash"): "stretch"`."""


def refuse_params(content: Mapping[str, Any], file: str) -> None:
    """Refuses former names in the content of params.yaml.

    Args:
        content: Sections and their settings.
        file: The file's name, for the message.

    Raises:
        ConfigError: For the first one found, with its current name.
    """
    for path, value in _paths(content):
        _refuse(path, value, "in", file)


def refuse_word(word: str) -> None:
    """Refuses former names in a command-line override, in any form that is accepted there.

    Raises:
        ConfigError: For the first one found, with its current name.
    """
    key, equals, value = word.lstrip("+~").partition("=")
    path = key.replace("/", ".")
    for each in value.strip("[]").split(","):  # a sweep's values
        _refuse(path, each.strip("'\" ") if equals else None, "on", "the command line")


def _refuse(path: str, value: Any, preposition: str, place: str) -> None:
    parts = path.split(".")
    plain = [part.removesuffix(SUFFIX) if place == 1 else part for place, part in enumerate(parts)]
    for former, reason in REMOVED.items():
        if plain[: former.count(".") + 1] == former.split("."):
            raise ConfigError(f"{former} was removed: {reason}; remove it from {place}")
    remedy = f"rename it {preposition} {place}"
    for former, present in KNOBS.items():
        depth = former.count(".") + 1
        if plain[:depth] == former.split("."):
            renamed = present.split(".")
            if parts[1].endswith(SUFFIX):
                renamed[1] += SUFFIX
            raise ConfigError(f"{'.'.join(parts[:depth])} is now called {'.'.join(renamed)}: {remedy}")
    choice = ".".join(plain[:2])
    if len(parts) == 2 and parts == plain and isinstance(value, str) and (choice, value) in OPTIONS:
        raise ConfigError(f"{choice}={value} is now called {choice}={OPTIONS[choice, value]}: {remedy}")


def _paths(node: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the dotted path and the value of every key, at any depth."""
    for key, value in node.items():
        path = f"{above}{key}"
        yield path, value
        if isinstance(value, Mapping):
            yield from _paths(value, f"{path}.")
