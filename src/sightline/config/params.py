"""`params.yaml` as DVC reads it: YAML 1.2, in which `1e-3` is a number and `no` is text.

DVC reads and writes the file with ruamel.yaml, and so does this module, so both see the same values. (PyYAML follows
YAML 1.1 and would read `1e-3` and DVC's own `3e-05` as text, and `no` as false.) A plain scalar that would not be
written back the same way keeps its original text, because a setting that expects text needs it: in a list of class
names, `007` is not the number 7.
"""

from __future__ import annotations

from contextvars import ContextVar
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from sightline.core.errors import ConfigError

PARAMS = Path("params.yaml")
_TAG = "tag:yaml.org,2002:"


class PlainInt(int):
    """An integer written differently from how Python would write it, such as `007`."""

    text: str


class PlainFloat(float):
    """A float written differently from how Python would write it, such as `1e-3`."""

    text: str


class PlainBool(int):
    """`true` or `false`; a separate type, because Python's `bool` cannot be subclassed to keep the text."""

    text: str


Plain = PlainInt | PlainFloat | PlainBool


def read(path: Path = PARAMS) -> dict[str, Any]:
    """Returns the content of `params.yaml`, a mapping from stage to settings.

    Booleans, and numbers in an unusual notation, are `Plain`: they compare and compute like their values.

    Raises:
        ConfigError: If the file is missing, is not YAML, or does not contain a mapping.
    """
    try:
        content = parse_yaml(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing: run the command in the project's root folder") from None
    except (YAMLError, ValueError) as error:  # ValueError: invalid UTF-8, or a scalar that no type can hold
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())[:300]}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must contain one section per stage, not {type(content).__name__}")
    return content


def parse_yaml(text: str) -> Any:
    """Returns YAML 1.2 as Python's values.

    >>> parse_yaml("{lr: 1e-3, names: [no, 'yes', 07], more: null}")
    {'lr': 0.001, 'names': ['no', 'yes', 7], 'more': None}
    """
    reader: Any = YAML(typ="safe")
    node = reader.compose(text)
    return None if node is None else _value(node, reader.constructor, set())


def _value(node: Node, constructor: Any, within: set[int]) -> Any:
    if id(node) in within:
        raise YAMLError(f"line {node.start_mark.line + 1}: an alias that contains itself")
    inside = within | {id(node)}
    if not isinstance(node, ScalarNode) and str(node.tag) not in (f"{_TAG}seq", f"{_TAG}map"):
        raise YAMLError(f"line {node.start_mark.line + 1}: the tag {node.tag} has no meaning here")
    if isinstance(node, SequenceNode):
        return [_value(child, constructor, inside) for child in node.value]
    if isinstance(node, MappingNode):
        own = {id(key) for key, _ in node.value}
        constructor.flatten_mapping(node)  # `<<: *other`: merged keys come first, and the mapping's own keys win
        pairs: dict[Any, tuple[Node, Node]] = {}
        for key, child in node.value:
            name = _value(key, constructor, inside)
            if isinstance(name, dict | list):
                raise YAMLError(f"line {key.start_mark.line + 1}: a key must be text")
            if name in pairs and id(pairs[name][0]) in own:
                raise YAMLError(f"line {key.start_mark.line + 1}: the key {name!r} appears twice")
            pairs[name] = key, child
        node.value = list(pairs.values())  # flattened once: an alias may visit this node again
        return {name: _value(child, constructor, inside) for name, (_, child) in pairs.items()}
    return _scalar(node, constructor)


def _scalar(node: Node, constructor: Any) -> Any:
    text, tag = node.value, str(node.tag)
    if tag == f"{_TAG}timestamp":  # no setting is a date
        return text
    value = constructor.construct_object(node)
    if isinstance(value, bool):
        plain: Plain = PlainBool(value)
    elif isinstance(value, int) and text != str(value):
        plain = PlainInt(value)
    elif isinstance(value, float) and text != repr(value):
        plain = PlainFloat(value)
    else:
        return value
    plain.text = text
    return plain


# --- a plain scalar on its way through the configuration ---------------------------------------------------------

_as_text: ContextVar[bool] = ContextVar("as_text", default=False)


def interpolation(scalar: Plain | bool) -> str:
    """Returns a scalar as an interpolation that resolves to its value or, within `texts`, to its original text.

    >>> interpolation(parse("007"))
    '${plain:"007"}'
    """
    text = scalar.text if isinstance(scalar, Plain) else str(scalar).lower()
    return f'${{plain:"{text}"}}'


def _resolve(text: str) -> Any:
    if _as_text.get():
        return text
    value = parse_yaml(text)
    return bool(value) if isinstance(value, PlainBool) else float(value) if isinstance(value, float) else int(value)


OmegaConf.register_new_resolver("plain", _resolve, replace=True)


def texts(node: Any) -> Any:
    """Returns a configuration's content with scalars of `params.yaml` replaced by their original text."""
    token = _as_text.set(True)
    try:
        return OmegaConf.to_container(node, resolve=True)
    finally:
        _as_text.reset(token)


def settle(node: Any, content: Any) -> None:
    """Writes back the values that a schema produced (`1e-3` as a number, `007` as text) over the composed ones.

    Args:
        node: A configuration, or a part of it; other interpolations are left alone, so secrets stay in the environment.
        content: The new content: mappings and lists of the same shape.
    """
    for key in list(node) if isinstance(node, DictConfig) else range(len(node)):
        child = node._get_node(key)
        if isinstance(child, DictConfig | ListConfig):
            if not (child._is_none() or child._is_missing() or child._is_interpolation()):
                settle(child, content[key])
        elif child is not None and (str(child._value()).startswith("${plain:") or not child._is_interpolation()):
            node[key] = content[key]
