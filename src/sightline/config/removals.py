"""Settings of params.yaml that a command line removes: `~train.lr` acts as if the file did not set it.

This is what `dvc exp run -S '~train.lr'` means. Hydra's own `~` would remove the default in `conf/` as well.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sightline.config import renames
from sightline.config.option_settings import SUFFIX
from sightline.config.params import PARAMS
from sightline.core.errors import ConfigError


def is_removal(word: str) -> bool:
    """Returns whether a command-line word removes a setting; Hydra's own settings are left to Hydra."""
    return word.startswith("~") and not re.match(r"~hydra\b", word)


def without(params: Mapping[str, Any], words: Iterable[str], conf: Path) -> Mapping[str, Any]:
    """Returns the content of params.yaml without the settings that the words remove.

    Args:
        params: Sections and their settings.
        words: `~train.lr`, `~train.model`, `~train.model_options.width` or, in Hydra's form, `~train.model.width`.
        conf: The folder of choices.

    Raises:
        ConfigError: If a word has a value, or params.yaml does not set what it removes.
    """
    left = copy.deepcopy(dict(params))
    for word in words:
        renames.refuse_word(word)
        path, equals, _ = word.removeprefix("~").replace("/", ".").partition("=")
        if equals:
            raise ConfigError(f"{word}: to remove a setting, give only its name, ~{path}")
        parts = path.split(".")
        if len(parts) > 2 and (conf / parts[0] / parts[1]).is_dir():
            parts[1] += SUFFIX
        node: Any = left
        for part in parts[:-1]:
            node = node.get(part) if isinstance(node, Mapping) else None
        if not isinstance(node, dict) or parts[-1] not in node:
            raise ConfigError(f"{word}: {PARAMS} does not set {'.'.join(parts)}, so there is nothing to remove")
        del node[parts[-1]]
    return left
