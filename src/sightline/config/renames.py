"""Former names of knobs and options, refused with the present one for as long as users may still have them.

An entry is made when a name changes, and goes two releases later.
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
"""Former name -> present name of a knob, both `<stage>.<knob>` or `<stage>.<choice>.<setting>`."""

REMOVED: dict[str, str] = {"ingest.deep": "files on disk are always watched by their content"}
"""Former name of a knob that is no longer needed -> why."""

OPTIONS: dict[tuple[str, str], str] = {("preprocess.resize", "squash"): "stretch"}
"""(choice, former name) -> present name of an option: `("preprocess.resize", "squash"): "stretch"`."""


def refuse_params(content: Mapping[str, Any], file: str) -> None:
    """Refuses former names in the content of params.yaml.

    Args:
        content: Sections and their knobs.
        file: The file's name, for the message.

    Raises:
        ConfigError: For the first, with its present name.
    """
    for path, value in _paths(content):
        _refuse(path, value, "in", file)


def refuse_word(word: str) -> None:
    """Refuses former names in an override of the command line, in any of the forms that are taken there.

    Raises:
        ConfigError: For the first, with its present name.
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
