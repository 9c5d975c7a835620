"""JSON schemas, and validation of JSON values, both derived from type annotations.

A TypedDict is a named object. `Annotated` adds a description (a string) and keywords of JSON Schema (`Keywords`):
`Annotated[float, "Of the class.", Keywords(minimum=0)]`.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

_SIMPLE: dict[Any, str] = {str: "string", bytes: "string", int: "integer", float: "number", bool: "boolean"}
_WORDS = {str: "text", list: "a list", dict: "an object", int: "a whole number", float: "a number"}

Schema = dict[str, Any]


class Keywords:
    """Keywords of JSON Schema for an annotation: a hashable dictionary, because annotations must be hashable."""

    def __init__(self, **values: Any) -> None:
        self.values = values


def json_schema_of(hint: Any, components: dict[str, Schema]) -> Schema:
    """Returns the JSON schema of a type.

    Args:
        hint: A simple type, a list, a union, a dictionary, a TypedDict, or one of these in Annotated.
        components: Schemas of TypedDicts, by name; new ones are added here and referred to by `$ref`.

    >>> schema_of(Annotated[float | None, "A share.", Keywords(maximum=1)], {})
    {'type': ['number', 'null'], 'description': 'A share.', 'maximum': 1}
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        schema = dict(json_schema_of(arguments[0], components))
        for extra in arguments[1:]:
            schema |= {"description": extra} if isinstance(extra, str) else extra.values
        return schema
    if origin is NotRequired:
        return json_schema_of(arguments[0], components)
    if origin in (Union, types.UnionType):
        return _union(arguments, components)
    if origin is list:
        return {"type": "array", "items": json_schema_of(arguments[0], components)}
    if origin in (dict, Mapping):
        return {"type": "object"}
    if is_typeddict(hint):
        return _reference(hint, components)
    return {"type": _SIMPLE[hint]}


def _union(members: tuple[Any, ...], components: dict[str, Schema]) -> Schema:
    some = [json_schema_of(member, components) for member in members if member is not types.NoneType]
    null = len(some) < len(members)
    if null and len(some) == 1 and "type" in some[0]:
        return {**some[0], "type": [some[0]["type"], "null"]}
    return {"anyOf": [*some, {"type": "null"}] if null else some}


def _reference(kind: type, components: dict[str, Schema]) -> Schema:
    if kind.__name__ not in components:
        components[kind.__name__] = {}  # before its fields, which may refer to it
        fields = _fields(kind)
        components[kind.__name__] = {
            "type": "object",
            "properties": {name: json_schema_of(hint, components) for name, hint in fields.items()},
            "required": [name for name, hint in fields.items() if get_origin(hint) is not NotRequired],
        }
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


@cache
def _fields(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def invalid(value: Any, hint: Any, path: str) -> str | None:
    """Returns what is wrong with a JSON value of an expected type, in one line; None if nothing is.

    Only the types that requests use are supported: strings, lists, TypedDicts and unions of them.

    >>> invalid([1], list[str], "images")
    'images[0]: must be text'
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Annotated, NotRequired):
        return invalid(value, arguments[0], path)
    if origin in (Union, types.UnionType):
        fitting = [member for member in arguments if isinstance(value, _json_type(member))]
        if fitting:
            return invalid(value, fitting[0], path)
        return f"{path}: must be {' or '.join(_WORDS[_json_type(member)] for member in arguments)}"
    kind: Any = _json_type(hint)
    if not isinstance(value, kind):
        return f"{path}: must be {_WORDS[kind]}"
    if kind is list:
        problems = (invalid(one, arguments[0], f"{path}[{place}]") for place, one in enumerate(value))
        return next(filter(None, problems), None)
    return _invalid_fields(value, hint, path) if is_typeddict(hint) else None


def _invalid_fields(value: dict[str, Any], kind: type, parent: str) -> str | None:
    for name, hint in _fields(kind).items():
        path = f"{parent}.{name}" if parent else name
        if name in value:
            if problem := invalid(value[name], hint, path):
                return problem
        elif get_origin(hint) is not NotRequired:
            return f"{path}: missing"
    return None


def _json_type(hint: Any) -> type:
    """Returns the Python type of a JSON value described by a type annotation."""
    while get_origin(hint) in (Annotated, NotRequired):
        hint = get_args(hint)[0]
    if is_typeddict(hint):
        return dict
    kind: type = get_origin(hint) or hint
    return kind
