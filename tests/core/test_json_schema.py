"""Schemas and validation from one declaration: where one refuses a value, so does the other."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired, TypedDict

import pytest

from sightline.core.json_schema import Keywords, Schema, invalid, json_schema_of


class Item(TypedDict):
    name: NotRequired[str]
    data: Annotated[str, "The content.", Keywords(contentEncoding="base64")]


class Body(TypedDict):
    items: list[str | Item]


def test_the_schema_has_fields_descriptions_and_what_is_required() -> None:
    components: dict[str, Schema] = {}
    assert json_schema_of(Body, components) == {"$ref": "#/components/schemas/Body"}
    assert components["Item"] == {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "data": {"type": "string", "description": "The content.", "contentEncoding": "base64"},
        },
        "required": ["data"],
    }
    assert components["Body"]["properties"]["items"]["items"] == {
        "anyOf": [{"type": "string"}, {"$ref": "#/components/schemas/Item"}]
    }


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"items": ["a", {"data": "b"}, {"data": "c", "name": "d"}], "more": 1}, None),
        ({"items": []}, None),
        ({}, "items: missing"),
        ([], ": must be an object"),
        ({"items": "a"}, "items: must be a list"),
        ({"items": ["a", 3]}, "items[1]: must be text or an object"),
        ({"items": [None]}, "items[0]: must be text or an object"),
        ({"items": [{"name": "x"}]}, "items[0].data: missing"),
        ({"items": [{"name": 1, "data": "x"}]}, "items[0].name: must be text"),
    ],
)
def test_validation_names_the_place_and_agrees_with_the_schema(value: Any, problem: str | None) -> None:
    assert invalid(value, Body, "") == problem
    jsonschema = pytest.importorskip("jsonschema")
    components: dict[str, Schema] = {}
    schema = {**json_schema_of(Body, components), "components": {"schemas": components}}
    assert jsonschema.Draft202012Validator(schema).is_valid(value) is (problem is None)
