"""Composition of one typed configuration from conf/, params.yaml and the command line.

`conf/` holds every choice with its defaults. `params.yaml` holds what this experiment chose: it is a saved command
line, applied to `conf/` as Hydra overrides. The command line is applied last and wins. This way one script serves
`dvc repro`, `dvc exp run -S` and sweeps alike.

A section's schema is a dataclass (a Hydra structured config). A field that is a choice between options names the
options' dataclasses with `choice(...)`: the option file `conf/<stage>/<field>/<name>.yaml` is checked against the
dataclass registered under that name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from sightline.config import option_settings, params, renames
from sightline.config.location import CONF as CONF
from sightline.config.location import conf_folder
from sightline.config.messages import no_option, one_line, options_in, unknown_key
from sightline.config.params import PARAMS, Plain
from sightline.config.removals import is_removal, without
from sightline.config.validation import typed as typed  # re-exported here, like ConfigError
from sightline.core.errors import ConfigError as ConfigError

CONFIG_NAME = "config"


# --- params.yaml as a saved command line ---------------------------------------------------------------------------


def read_params(path: Path = PARAMS) -> dict[str, Any]:
    """Returns the content of `params.yaml`, a mapping from stage to settings."""
    return params.read(path)


def saved_overrides(content: Mapping[str, Any], conf: Path | None = None) -> list[str]:
    r"""Returns the content of `params.yaml` as Hydra overrides.

    A key that is a folder of `conf/` selects an option (`train/model=cnn`), any other key sets a value
    (`train.lr=0.01`), and `model_options: {width: 64}` sets a setting of the option (`++train.model.width=64`). A
    mapping is merged into the existing one, and may add keys: a database's filter has no keys of its own in `conf/`.
    Anywhere else `typed` reports keys that do not belong.

    Text with `${...}` is an interpolation, as in `conf/` itself; `\${...}` stands for the literal text.

    >>> saved_overrides({"train": {"lr": 0.1, "note": "it's"}})
    ['train.lr=0.1', "train.note='it\\'s'"]
    """
    conf = conf or conf_folder()
    renames.refuse_params(content, str(PARAMS))
    overrides = []
    for stage, section in content.items():
        if not isinstance(section, Mapping | None):
            raise ConfigError(f"{stage}: must be a section of {PARAMS}, not the value {section!r}")
        for key, value in (section or {}).items():  # a section is None if all of it is commented out
            path = f"{stage}.{key}"
            folder = path.replace(".", "/")
            options = options_in(conf / folder)
            if "." in str(key):
                raise ConfigError(f"{path}: {_nested(str(key), conf / str(stage))} in {PARAMS}, without dots in a key")
            if choice := option_settings.choice_of(str(key), conf / str(stage)):
                settings = option_settings.checked(path, value)
                overrides += [f"++{stage}.{choice}.{name}={_quote(setting)}" for name, setting in settings.items()]
            elif options and isinstance(value, Mapping):
                raise ConfigError(f"{path}: name an option; its settings go below {path}{option_settings.SUFFIX}")
            elif options and not isinstance(value, str):
                raise no_option(path, value, options)
            elif isinstance(value, Mapping) and (conf / str(stage)).is_dir():
                overrides.append(f"++{path}={_quote(value)}")
            else:
                overrides.append(f"{folder if options else path}={_quote(value)}")
    return overrides


def _nested(key: str, folder: Path) -> str:
    """Returns advice on how to write a dotted key as nested mappings."""
    first, _, rest = key.partition(".")
    return f"write {first}{option_settings.SUFFIX if options_in(folder / first) else ''}: {{{rest}: ...}}"


def _quote(value: Any) -> str:
    """Returns `value` in the grammar of Hydra overrides."""
    if value is None:
        return "null"
    if isinstance(value, Plain):
        return f"'{params.interpolation(value)}'"  # carries the text as written in the file, which has no single quote
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_quote, value))}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{_quote_key(k)}:{_quote(v)}' for k, v in value.items())}}}"
    text = str(value)
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", text) and text.lower() not in ("null", "true", "false", "nan", "inf"):
        return text
    # In Hydra's grammar a backslash escapes only a quote, or backslashes right before one.
    escaped = re.sub(r"(\\*)('|\Z)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), text)
    return f"'{escaped}'"


def _quote_key(key: Any) -> str:
    """Returns a mapping's key in Hydra's grammar, which has no quoted keys, only escapes."""
    return re.sub(r"[\\()\[\]{}:=, \t]", r"\\\g<0>", str(key)) if isinstance(key, str) else _quote(key)


def selecting(word: str) -> str:
    """Converts a command-line override to Hydra's form, under the keys that params.yaml uses.

    `train.model=cnn` becomes the choice of an option, `train/model=cnn`; for the settings of an option see
    `option_settings.composed_word`.
    """
    renames.refuse_word(word)
    conf = conf_folder()
    word = option_settings.composed_word(word, conf)
    key, equals, value = word.partition("=")
    if value.startswith("~/"):  # the shell does not expand it here, and Hydra's grammar allows `~` only in quotes
        return f"{key}={_quote(value)}"
    folder = key.replace(".", "/")
    chooses = equals and "/" in folder and re.fullmatch(r"[\w.]+", key) and (conf / folder).is_dir()
    return f"{folder}={value}" if chooses else word


# --- composing and checking ----------------------------------------------------------------------------------------


def compose(overrides: list[str], conf: Path | None = None) -> DictConfig:
    """Composes `conf/` with overrides.

    Args:
        overrides: Overrides in Hydra's grammar.
        conf: The folder of choices; None for the project's own or, if it has none, the installed one.

    Raises:
        ConfigError: If a key or an option is unknown, naming what is allowed.
    """
    conf = conf or conf_folder()
    if not (conf / f"{CONFIG_NAME}.yaml").is_file():
        raise ConfigError(f"{conf}/{CONFIG_NAME}.yaml is missing: run the command in the project's root folder")
    try:
        with hydra.initialize_config_dir(str(conf.resolve()), version_base="1.3"):
            return hydra.compose(CONFIG_NAME, overrides=overrides)
    except (HydraException, OmegaConfBaseException, ValueError) as error:  # ValueError: null in place of an option
        raise _explain(error, overrides, conf) from None


def compose_with(params_content: Mapping[str, Any], words: Iterable[str]) -> DictConfig:
    """Composes `conf/` with the content of `params.yaml` and command-line overrides, including removals (`~key`).

    Raises:
        ConfigError: If a key or an option is unknown, or a setting to remove does not exist.
    """
    words = list(words)
    left = without(params_content, filter(is_removal, words), conf_folder())
    return compose([*saved_overrides(left), *(selecting(word) for word in words if not is_removal(word))])


def _explain(error: Exception, overrides: list[str], conf: Path) -> ConfigError:
    """Turns Hydra's message about a bad override into one line that names the key and the allowed values."""
    choices, values = [], []
    for override in parse_overrides(overrides):
        options = options_in(conf / override.key_or_group.replace(".", "/"))
        if not options:
            values.append(override)
        elif not override.is_sweep_override():
            if override.value() not in options:
                return no_option(override.key_or_group.replace("/", "."), override.value(), options)
            choices.append(str(override.input_line))
    with hydra.initialize_config_dir(str(conf.resolve()), version_base="1.3"):
        known = hydra.compose(CONFIG_NAME, overrides=choices)
    for override in values:
        key = override.key_or_group.replace("/", ".")
        if override.is_add() or override.is_force_add():
            continue
        unknown = _first_unknown(known, key)
        if unknown and unknown[1]:
            return unknown_key(*unknown)
        if unknown or isinstance(override.value(), dict):
            return ConfigError(f"{key}: to add a new key, write ++{override.input_line}")
    return ConfigError(one_line(error))


def _first_unknown(config: DictConfig, key: str) -> tuple[str, list[str]] | None:
    """Finds the first part of a key that a configuration does not have.

    Returns:
        The key up to and including that part, and its existing siblings; None if the whole key is known.
    """
    node: Any = config
    parts = key.split(".")
    for depth, part in enumerate(parts, 1):
        if not isinstance(node, DictConfig):
            return None
        if part not in node:
            return ".".join(parts[:depth]), sorted(map(str, node))
        node = node._get_node(part)
    return None


def parse_overrides(overrides: list[str]) -> list[Override]:
    """Parses overrides; raises ConfigError for text that is not one."""
    parser = OverridesParser.create()
    parsed = []
    for text in overrides:
        try:
            parsed += parser.parse_overrides([text])
        except HydraException:
            raise ConfigError(f"{text}: not of the form key=value, or special characters are not quoted") from None
    return parsed
