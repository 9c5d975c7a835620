"""Settings of other stages on a stage's command line: refused, with the command that does what the user wants.

Training with `preprocess.size=32` would train on the existing images, whatever their size, yet record a size of 32.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from sightline.config.compose import parse_overrides, selecting
from sightline.config.location import conf_folder
from sightline.config.option_settings import SUFFIX
from sightline.config.params import PARAMS
from sightline.core.errors import ConfigError


def refuse(words: Sequence[str], own: Collection[str], params: Mapping[str, Any], conf: Path | None = None) -> None:
    """Refuses overrides of another stage's section.

    Args:
        words: Overrides as the user wrote them.
        own: The sections that may be overridden; Hydra's own settings are always allowed.
        params: The content of params.yaml.
        conf: The folder of choices, with one folder per section; None for the project's.

    Raises:
        ConfigError: If there are any, in one line with the command that applies all of them.
    """
    conf = conf or conf_folder()
    sections = {folder.name for folder in conf.iterdir() if folder.is_dir()} - set(own)
    others = [word for word in words if re.split(r"[./=]", word.lstrip("+~"), maxsplit=1)[0] in sections]
    if not others:
        return
    (first,) = parse_overrides([selecting(others[0])])
    owner = re.split(r"[./]", first.key_or_group)[0]
    several = any(override.is_sweep_override() for override in parse_overrides([selecting(word) for word in others]))
    settings = " ".join(f"-S {shlex.quote(_for_dvc(word, params, conf))}" for word in others)
    does = f"dvc exp run {'--queue ' if several else ''}{settings}{' && dvc queue start' if several else ''}"
    raise ConfigError(
        f"{first.key_or_group.replace('/', '.')}: a setting of {owner}, which does not run here; instead: {does} (or "
        f"set it in {PARAMS} and run dvc repro)"
    )


def _for_dvc(word: str, params: Mapping[str, Any], conf: Path) -> str:
    """Rewrites an override for `dvc exp run -S`: the key as in params.yaml, with `++` if it is not there yet."""
    sign, key, value = re.fullmatch(r"(\+\+?|~)?([^=]*)(.*)", word, re.DOTALL).groups("")  # type: ignore[union-attr]
    parts = key.replace("/", ".").split(".")
    if len(parts) > 2 and (conf / parts[0] / parts[1]).is_dir():
        parts[1] += SUFFIX
    node: Any = params
    for part in parts:
        node = node.get(part, params) if isinstance(node, Mapping) else params
    known = node is not params
    return f"{'~' if sign == '~' else '' if known else '++'}{'.'.join(parts)}{value}"
