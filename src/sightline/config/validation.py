"""Validation of a composed section against its schema: names, types, options, ranges."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sightline.config import option_settings, params
from sightline.config.messages import no_option, one_line, unknown_key
from sightline.config.params import PARAMS
from sightline.config.schema import Option
from sightline.core.errors import ConfigError

T = TypeVar("T")


def typed(schema: type[T], node: DictConfig, path: str) -> T:
    """Checks a section against its schema and returns it as the schema's dataclass.

    Args:
        schema: A dataclass; fields made with `choice` hold an option.
        node: The section, as composed.
        path: The section's key, for messages.

    Raises:
        ConfigError: For a missing or unknown key, or a value of the wrong type or outside its range.
    """
    choices = {f.name: f.metadata["options"] for f in dataclasses.fields(cast(Any, schema)) if "options" in f.metadata}
    try:
        content = cast(dict[str, Any], OmegaConf.to_container(node, resolve=True))
        texts = params.texts(node)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{path}: {one_line(error)}") from None
    content = _declared(schema, content, texts, path)
    given = {name: content.pop(name, None) for name in choices}
    # The section's own values first: an option may read one of them, and the message should name where it was set.
    config = _merge(schema, content, path)
    faults: dict[str, ConfigError] = {}
    for name, options in choices.items():
        option = given[name]
        option_name = option.get("name") if isinstance(option, dict) else option
        if not isinstance(option, dict) or option_name not in options:
            raise no_option(f"{path}.{name}", option_name, sorted(options))
        below = f"{path}.{name}"
        try:
            chosen = options[option["name"]]
            _require_own(option, options, below)
            config[name] = _object(_merge(chosen, _declared(chosen, option, texts[name], below), below), below)
        except ConfigError as error:
            faults[name] = error
    if faults:
        # The section's own ranges before those of its options, for the same reason; placeholders replace bad options.
        _require_ranges(schema, config, {name: Option(given[name]["name"]) for name in faults}, path)
        raise next(iter(faults.values()))
    section = cast(T, _object(config, path))
    params.settle(node, dataclasses.asdict(cast(Any, section)))  # for readers without a schema, such as MLflow's runs
    return section


def _require_ranges(schema: type, config: DictConfig, options: Mapping[str, Option], path: str) -> None:
    """Checks a section's own ranges, with `options` in place of the options that are invalid."""
    _require_values(OmegaConf.missing_keys(config) - options.keys(), path)
    nodes = {str(name): config[name] for name in config if name not in options}
    values = {name: OmegaConf.to_object(node) if OmegaConf.is_config(node) else node for name, node in nodes.items()}
    try:
        schema(**values, **options)
    except ValueError as error:
        raise ConfigError(f"{path}.{one_line(error)}") from None


def _require_values(missing: set[str], path: str) -> None:
    if missing:
        raise ConfigError(f"{path}.{min(missing)}: has no value; set it in {PARAMS} or on the command line")


def _require_own(option: Mapping[str, Any], options: Mapping[str, type[Option]], path: str) -> None:
    """Refuses a setting that belongs to another option of the choice, as it would have no effect."""
    fields = {name: {field.name for field in dataclasses.fields(schema)} for name, schema in options.items()}
    for key in option.keys() - fields[option["name"]]:
        if owners := [name for name, known in fields.items() if key in known]:
            raise ConfigError(
                f"{path}.{key}: not a setting of {option['name']!r} but of {', '.join(owners)}: choose one of these, "
                f"or remove it (~{path}{option_settings.SUFFIX}.{key})"
            )


def _declared(schema: type, content: dict[str, Any], texts: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Returns a section in which fields declared as text hold the text of `params.yaml` instead of the parsed value."""
    hints = get_type_hints(schema)
    return {k: _as_written(hints[k], v, texts[k], f"{path}.{k}") if k in hints else v for k, v in content.items()}


def _as_written(declared: Any, value: Any, text: Any, key: str) -> Any:
    if isinstance(declared, types.UnionType):
        declared = next((member for member in get_args(declared) if member is not type(None)), None)
    inner = get_args(declared)
    if get_origin(declared) is list and isinstance(value, list):
        return [_as_written(inner[0], v, t, key) for v, t in zip(value, text, strict=True)]
    if get_origin(declared) is dict and isinstance(value, dict):
        return {k: _as_written(inner[1], v, text[k], key) for k, v in value.items()}
    if declared is not str:
        return value
    if text is None or isinstance(text, str):
        return text
    if isinstance(value, bool):  # from conf/, where it may have been written `no`, or from the command line
        raise ConfigError(f"{key}: {value!r} is not text; put quotes around text")
    return value


def _merge(schema: type, content: dict[str, Any], path: str) -> DictConfig:
    """Checks names and types."""
    known = [f.name for f in dataclasses.fields(schema)]
    if unknown := [key for key in content if key not in known]:
        raise unknown_key(f"{path}.{unknown[0]}", known)
    try:
        return cast(DictConfig, OmegaConf.merge(OmegaConf.structured(schema), content))
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None)
        raise ConfigError(f"{path}.{key}: {one_line(error)}" if key else f"{path}: {one_line(error)}") from None


def _object(config: DictConfig, path: str) -> Any:
    """Checks that no value is missing, and the ranges, which schemas check in `__post_init__`."""
    _require_values(OmegaConf.missing_keys(config), path)
    try:
        return OmegaConf.to_object(config)
    except ValueError as error:
        raise ConfigError(f"{path}.{one_line(error)}") from None
