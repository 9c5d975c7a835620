"""Changes of params.yaml that preserve its comments, quotes and order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import QuotedString
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.constructor import RoundTripConstructor
from ruamel.yaml.representer import RoundTripRepresenter

from sightline.config import option_settings
from sightline.config.compose import parse_overrides, selecting
from sightline.config.location import conf_folder
from sightline.config.messages import options_in
from sightline.config.option_settings import SUFFIX
from sightline.core.errors import ConfigError


class _Null(str):
    """A null with its spelling in the file: `null`, or empty, as DVC writes it."""


class _NullConstructor(RoundTripConstructor):
    """Keeps the spelling of a null."""


class _NullRepresenter(RoundTripRepresenter):
    """Writes a null with its previous spelling, and a new one as `null`."""


_NULL = "tag:yaml.org,2002:null"
_NullConstructor.add_constructor(_NULL, lambda _, node: _Null(node.value))
_NullRepresenter.add_representer(type(None), lambda self, _: self.represent_scalar(_NULL, "null"))
_NullRepresenter.add_representer(_Null, lambda self, text: self.represent_scalar(_NULL, str(text)))


def changed(text: str, words: Sequence[str]) -> str:
    """Returns the text of params.yaml with changes.

    If another option is chosen, the settings of the previous one are removed, since the new one does not have them.

    Args:
        text: The file's text.
        words: Changes in command-line form, such as `train/model=cnn` or `++train.model.width=64`.
    """
    return _edited(text, _changes(words, conf_folder()))


def with_values(text: str, values: Mapping[str, Any]) -> str:
    """Returns the text of params.yaml with values.

    Args:
        text: The file's text.
        values: Values by key in params.yaml, such as `train.model` or `train.model_options.width`; choices first.
    """
    return _edited(text, ((key, value, False) for key, value in values.items()))


def _changes(words: Sequence[str], conf: Path) -> Iterator[tuple[str, Any, bool]]:
    """Yields (key in params.yaml, value, whether to remove it)."""
    overrides = parse_overrides([selecting(word) for word in words])
    # Choices first: in `train/model=dense ++train.model.width=64`, the width belongs to the new option in any order.
    for override in sorted(overrides, key=lambda o: not options_in(conf / o.key_or_group.replace(".", "/"))):
        sign_less = str(override.input_line).lstrip("+~")
        key = option_settings.written_word(sign_less, conf).lstrip("+").partition("=")[0].replace("/", ".")
        if "." not in key:
            raise ConfigError(f"{override.input_line}: a whole section cannot be set")
        yield key, None if override.is_delete() else _plain(override.value()), override.is_delete()


def _edited(text: str, changes: Iterable[tuple[str, Any, bool]]) -> str:
    conf = conf_folder()
    editor: Any = YAML()
    editor.Constructor, editor.Representer = _NullConstructor, _NullRepresenter
    editor.preserve_quotes = True
    editor.width = 4096
    content = editor.load(text) or CommentedMap()
    for key, value, taken_out in changes:
        section, *path = key.split(".")
        node = _child(content, section)
        for part in path[:-1]:
            node = _child(node, part)
        if taken_out:
            node.pop(path[-1], None)
            continue
        if len(path) == 1 and (conf / section / path[0]).is_dir() and node.get(path[0]) != value:
            node.pop(f"{path[0]}{SUFFIX}", None)
        if value is not None or not isinstance(node.get(path[-1]), _Null):
            node[path[-1]] = value
    written = StringIO()
    editor.dump(content, written)
    return written.getvalue()


def _child(node: Any, key: str) -> Any:
    if node.get(key) is None or isinstance(node[key], _Null):
        node[key] = CommentedMap()
    return node[key]


def _plain(value: Any) -> Any:
    """Converts a value of Hydra's grammar to a plain Python value."""
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    return value
