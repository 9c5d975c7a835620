"""Settings of chosen options in params.yaml: `denoise_options: {sigma: 1.0}` next to `denoise: gaussian`.

A choice must be a single word there, so that `dvc exp run -S train.model=cnn` can set it; the option's settings
therefore get a key of their own. The key is the same in params.yaml, in
`dvc exp run -S ++preprocess.denoise_options.sigma=1.0` and on the command line of a stage's script, where Hydra's own
`preprocess.denoise.sigma` works as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sightline.core.errors import ConfigError

SUFFIX = "_options"


def choice_of(key: str, folder: Path) -> str | None:
    """Returns the choice that an options key belongs to, `denoise` for `denoise_options`; None for any other key.

    Args:
        key: A key of a stage's section.
        folder: The stage's folder in `conf/`.
    """
    choice = key.removesuffix(SUFFIX)
    return choice if choice != key and (folder / choice).is_dir() else None


def checked(path: str, value: Any) -> Mapping[str, Any]:
    """Returns the settings below a key `<stage>.<choice>_options`.

    Raises:
        ConfigError: If they are not a mapping, or set the option itself.
    """
    choice = path.removesuffix(SUFFIX)
    if not isinstance(value, Mapping | None):
        raise ConfigError(f"{path}: must map settings of the option to values, as in conf/{choice.replace('.', '/')}/")
    if "name" in (value or {}):
        raise ConfigError(f"{path}.name: an option is chosen by {choice}")
    return value or {}


def composed_word(word: str, conf: Path) -> str:
    """Rewrites an override of an option's setting to the key that Hydra composes.

    `train.model_options.width=64` becomes `++train.model.width=64`, just as from params.yaml.
    """
    match = re.match(r"(?:\+\+?)?(\w+)\.(\w+)\.(.*)", word, re.DOTALL)
    choice = match and choice_of(match[2], conf / match[1])
    return f"++{match[1]}.{choice}.{match[3]}" if match and choice else word


def written_word(word: str, conf: Path) -> str:
    """Rewrites an override of an option's setting to the key that params.yaml, `dvc exp run -S` and scripts accept.

    `++train.model.width=64` and `train.model.width=64` become `++train.model_options.width=64`; a removal (`~key`) is
    returned unchanged.
    """
    match = re.fullmatch(r"(?:\+\+?)?(\w+)\.(\w+)\.(.*)", word, re.DOTALL)
    is_setting = match and (conf / match[1] / match[2]).is_dir()
    return f"++{match[1]}.{match[2]}{SUFFIX}.{match[3]}" if match and is_setting else word
