"""The API's description (OpenAPI 3.1), derived from the endpoints and their types. It reveals nothing about models."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from sightline.core.json_schema import Schema, json_schema_of
from sightline.serve.api import Failure, Limits, query_schemas

Handler = Callable[[Request], Awaitable[Response]]

FAILURES = {
    400: "The form, the JSON, the base64 or the query cannot be read.",
    408: "The client took too long to send.",
    413: "Too many bytes, or too many images.",
    415: "Unsupported media type.",
    429: "Too busy: try again after Retry-After seconds.",
}
"""Error statuses of requests with a body."""


@dataclass(frozen=True)
class Endpoint:
    """An endpoint of the API with its handler and description.

    Attributes:
        method: GET or POST.
        path: The path.
        handler: Coroutine function that handles a request.
        summary: Summary, one sentence.
        responses: The response's type (`str` for plain text) and description for each status.
        description: Further sentences.
        query: The dataclass of its query.
        body: The type of the request's body for each media type.
        needs_key: Whether it requires the key, if the server has one.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    responses: Mapping[int, tuple[Any, str]]
    description: str = ""
    query: type | None = None
    body: Mapping[str, Any] = field(default_factory=dict)
    needs_key: bool = True


def describe(endpoints: Sequence[Endpoint], version: str, limits: Limits) -> dict[str, Any]:
    """Returns the OpenAPI document.

    Args:
        endpoints: The endpoints, in display order.
        version: The server's version.
        limits: The server's limits.
    """
    components: dict[str, Schema] = {}
    paths: dict[str, Any] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sightline",
            "version": version,
            "description": (
                f"Image classification. An image may have {limits['max_bytes']:,} bytes and {limits['max_pixels']:,} "
                f"pixels, a request {limits['max_images']} images and {limits['max_body']:,} bytes. Formats: "
                f"{', '.join(limits['formats'])}."
            ),
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
        "security": [{}, {"key": []}, {"bearer": []}],
    }


def _operation(endpoint: Endpoint, components: dict[str, Schema]) -> dict[str, Any]:
    responses = dict(endpoint.responses)
    if endpoint.needs_key:
        responses[401] = (Failure, "No key, or a wrong one.")
    if endpoint.body:
        responses |= {status: (Failure, text) for status, text in FAILURES.items()}
    operation: dict[str, Any] = {
        "summary": endpoint.summary,
        "responses": {str(status): _response(*responses[status], components) for status in sorted(responses)},
    }
    if endpoint.description:
        operation["description"] = endpoint.description
    if endpoint.query:
        operation["parameters"] = _parameters(endpoint.query)
    if endpoint.body:
        content = {media: {"schema": json_schema_of(hint, components)} for media, hint in endpoint.body.items()}
        operation["requestBody"] = {"required": True, "content": content}
    if not endpoint.needs_key:
        operation["security"] = [{}]
    return operation


def _response(hint: Any, description: str, components: dict[str, Schema]) -> dict[str, Any]:
    media = "text/plain" if hint is str else "application/json"
    return {"description": description, "content": {media: {"schema": json_schema_of(hint, components)}}}


def _parameters(query: type) -> list[dict[str, Any]]:
    defaults = {one.name: one.default for one in fields(query) if one.default not in (None, MISSING)}
    described = []
    for name, schema in query_schemas(query).items():
        values = {key: value for key, value in schema.items() if key != "description"}
        values["type"] = values["type"][0] if isinstance(values["type"], list) else values["type"]  # not "null"
        if name in defaults:
            values["default"] = defaults[name]
        described.append({"name": name, "in": "query", "description": schema["description"], "schema": values})
    return described
