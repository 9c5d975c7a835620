"""Settings of the chosen options in params.yaml: `denoise_options: {sigma: 1.0}` beside `denoise: gaussian`.

A choice is one word there, which `dvc exp run -S train.model=cnn` can write; so the option's settings stand beside it.
The key is the same in params.yaml, in `dvc exp run -S ++preprocess.denoise_options.sigma=1.0` and on the command line
of a stage's script, where Hydra's own `preprocess.denoise.sigma` means the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sightline.core.errors import ConfigError

SUFFIX = "_options"


def choice_of(key: str, folder: Path) -> str | None:
    """Returns the choice whose option a key sets up, `denoise` for `denoise_options`; None where it is another key.

    Args:
        key: A key of a stage's section.
        folder: The stage's folder in `conf/`.
    """
    choice = key.removesuffix(SUFFIX)
    return choice if choice != key and (folder / choice).is_dir() else None


def checked(path: str, value: Any) -> Mapping[str, Any]:
    """Returns the settings below a key `<stage>.<choice>_options`.

    Raises:
        ConfigError: If they are no mapping, or name the option itself.
    """
    choice = path.removesuffix(SUFFIX)
    if not isinstance(value, Mapping | None):
        raise ConfigError(f"{path}: must map settings of the option to values, as in conf/{choice.replace('.', '/')}/")
    if "name" in (value or {}):
        raise ConfigError(f"{path}.name: an option is chosen by {choice}")
    return value or {}


def composed_word(word: str, conf: Path) -> str:
    """Writes an override of a setting under the key that Hydra composes.

    `train.model_options.width=64` becomes `++train.model.width=64`, as from params.yaml.
    """
    match = re.match(r"(?:\+\+?)?(\w+)\.(\w+)\.(.*)", word, re.DOTALL)
    choice = match and choice_of(match[2], conf / match[1])
    return f"++{match[1]}.{choice}.{match[3]}" if match and choice else word


def written_word(word: str, conf: Path) -> str:
    """Writes an override of a setting under the key that params.yaml, `dvc exp run -S` and a script take alike.

    `++train.model.width=64` and `train.model.width=64` become `++train.model_options.width=64`; what takes a setting
    out stays as it is.
    """
    match = re.fullmatch(r"(?:\+\+?)?(\w+)\.(\w+)\.(.*)", word, re.DOTALL)
    is_setting = match and (conf / match[1] / match[2]).is_dir()
    return f"++{match[1]}.{match[2]}{SUFFIX}.{match[3]}" if match and is_setting else word
