"""Fields of JSON files: values of the expected kind, or a ValueError that names the field.

Code that reads a file which may be damaged, or of another version, catches ValueError around these calls only: a bug
(KeyError, TypeError) is then never reported as a damaged file.
"""

from __future__ import annotations

import json
from typing import Any, TypeVar

T = TypeVar("T")


def parse_object(data: bytes | str) -> dict[str, Any]:
    """Returns the JSON object in `data`.

    Raises:
        ValueError: If it is not JSON, or not an object.

    >>> parse_object('{"a": 1}')
    {'a': 1}
    """
    try:
        content = json.loads(data)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(content, dict):
        raise ValueError("not a JSON object")
    return content


def field(content: Any, name: str, kind: type[T]) -> T:
    """Returns `content[name]`; an integer is accepted where a float is expected.

    Raises:
        ValueError: If `content` is not an object, lacks the field, or has a value of another kind there.

    >>> field({"temperature": 2}, "temperature", float)
    2.0
    >>> field({"classes": "a"}, "classes", list)
    Traceback (most recent call last):
    ValueError: classes: must be a list
    """
    if not isinstance(content, dict) or name not in content:
        raise ValueError(f"{name}: missing")
    value = content[name]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return kind(value)  # type: ignore[call-arg]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{name}: must be {_NAMES[kind]}")
    return value


def optional_field(content: Any, name: str, kind: type[T]) -> T | None:
    """Returns `content[name]` as `field` does, or None if it is null.

    Raises:
        ValueError: As for `field`; the field must be present, even if null.
    """
    if isinstance(content, dict) and name in content and content[name] is None:
        return None
    return field(content, name, kind)


def numbers(content: Any, name: str) -> list[float]:
    """Returns `content[name]`, a list of numbers.

    Raises:
        ValueError: As for `field`, and for anything else in the list.
    """
    return [field({name: value}, name, float) for value in field(content, name, list)]


_NAMES: dict[type, str] = {
    str: "text",
    float: "a number",
    int: "a whole number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}
