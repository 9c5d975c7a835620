"""The API's description (OpenAPI 3.1), with the server's limits; it says nothing of the model, which may need a key."""

from __future__ import annotations

from typing import Any

from sightline.core.rejection import RejectionReason

_TEXT, _NUMBER = {"type": "string"}, {"type": "number"}
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}


def describe(version: str, limits: dict[str, Any]) -> dict[str, Any]:
    """Returns the document.

    Args:
        version: The server's.
        limits: What `GET /model` answers as its limits.
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sightline",
            "version": version,
            "description": (
                f"Says what is on images. An image may have {limits['max_bytes']:,} bytes and {limits['max_pixels']:,} "
                f"pixels, a request {limits['max_images']} images and {limits['max_body']:,} bytes. Formats: "
                f"{', '.join(limits['formats'])}."
            ),
        },
        "paths": {
            "/predict": {"post": _predict(limits)},
            "/explain": {"post": _explain()},
            "/model": {
                "get": _get("The model: classes, digest, calibration, model card; the server's limits.", "Model")
            },
            "/health": {"get": _get("Whether the server answers. Needs no key.", "Health", needs_key=False)},
            "/metrics": {
                "get": {
                    "summary": "Counters in Prometheus' text format.",
                    "responses": {"200": {"description": "Counters", "content": {"text/plain": {"schema": _TEXT}}}},
                }
            },
        },
        "components": {
            "schemas": _schemas(limits["max_images"]),
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
        "security": [{}, {"key": []}, {"bearer": []}],
    }


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(name: str, description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": _ref(name)}}}


def _get(summary: str, name: str, needs_key: bool = True) -> dict[str, Any]:
    described: dict[str, Any] = {"summary": summary, "responses": {"200": _json(name, name)}}
    if not needs_key:
        described["security"] = [{}]
    return described


def _parameters() -> list[dict[str, Any]]:
    return [
        {
            "name": "top_k",
            "in": "query",
            "description": "How many classes to name for each image.",
            "schema": {"type": "integer", "minimum": 1, "default": 5},
        },
        {
            "name": "threshold",
            "in": "query",
            "description": "Abstain where the likeliest class is less probable.",
            "schema": _SHARE,
        },
    ]


def _body(several: bool) -> dict[str, Any]:
    binary = {"type": "string", "format": "binary"}
    content: dict[str, Any] = {
        "image/*": {"schema": binary},
        "application/octet-stream": {"schema": binary},
    }
    form = {"type": "array", "items": binary} if several else binary
    content["multipart/form-data"] = {"schema": {"type": "object", "properties": {"image": form}}}
    content["application/json"] = {"schema": _ref("Images")}
    return {"required": True, "content": content}


def _failures() -> dict[str, Any]:
    failures = {
        "400": "The form, the JSON, the base64 or the query cannot be read.",
        "401": "No key, or a wrong one.",
        "408": "The client took too long to send.",
        "413": "Too many bytes, or too many images.",
        "415": "A media type that is none of these.",
        "429": "Too busy: come back after Retry-After seconds.",
    }
    return {status: _json("Failure", description) for status, description in failures.items()}


def _predict(limits: dict[str, Any]) -> dict[str, Any]:
    return {
        "summary": "Predict one or many images.",
        "description": (
            "One image as the raw body; up to "
            f"{limits['max_images']} as the files of a form, or as base64 in JSON. One row an image, in order; one "
            "that cannot be read has a row with `error`, and where none can the status is 422."
        ),
        "parameters": _parameters(),
        "requestBody": _body(several=True),
        "responses": {
            "200": _json("Predictions", "A row an image."),
            "422": _json("Predictions", "None of the images could be read."),
            **_failures(),
        },
    }


def _explain() -> dict[str, Any]:
    return {
        "summary": "Predict one image, and show what preprocessing made of it and what the network looked at.",
        "description": (
            "A patch covers parts of the image in turn: where the class's probability falls, the network had looked "
            "(occlusion sensitivity). 49 runs of the network, one image at a time."
        ),
        "parameters": _parameters(),
        "requestBody": _body(several=False),
        "responses": {
            "200": _json("Explanation", "The explanation."),
            "422": _json("Failure", "No image."),
            **_failures(),
        },
    }


def _schemas(max_images: int) -> dict[str, Any]:
    png = {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/png"}
    whole = {"type": "integer", "minimum": 1}
    picture = _object({"png": png, "height": whole, "width": whole})
    ranked = _object({"label": _TEXT, "probability": _SHARE})
    named = _object({"name": _TEXT, "data": {"type": "string", "contentEncoding": "base64"}}, required=["data"])
    one = {"anyOf": [{"type": "string", "contentEncoding": "base64"}, named]}
    maybe_text = {"type": ["string", "null"]}
    heat = {
        "png": {**png, "description": "To lay over the image: transparent where the network did not look."},
        "falls": {"type": "array", "items": {"type": "array", "items": _NUMBER}},
        "label": _TEXT,
        "probability": {**_SHARE, "description": "Of the class, for the whole image."},
        "lowest": {**_SHARE, "description": "Of the class, with the worst patch covered."},
        "where": {**_TEXT, "description": "That patch's place, as `upper left`."},
    }
    return {
        "Images": _object({"images": {"type": "array", "items": one, "maxItems": max_images}}),
        "Prediction": _object(
            {
                "path": {**_TEXT, "description": "The image, as the client named it."},
                "label": {**maybe_text, "description": "One of the classes that `GET /model` lists."},
                "probability": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
                "top": {"type": "array", "items": ranked},
                "error": {"type": ["string", "null"], "enum": [*(str(reason) for reason in RejectionReason), None]},
                "detail": _TEXT,
                "abstained": {"type": "boolean"},
            }
        ),
        "Predictions": _object(
            {
                "model": {**_TEXT, "description": "The trained model's SHA-256."},
                "predictions": {"type": "array", "items": _ref("Prediction")},
                "error": _TEXT,
                "detail": _TEXT,
            },
            required=["model", "predictions"],
        ),
        "Explanation": _object(
            {
                "prediction": _ref("Prediction"),
                "steps": {"type": "array", "items": _object({"name": _TEXT, **picture["properties"]})},
                "input": picture,
                "heat": _object(heat),
            }
        ),
        "Model": _object(
            {
                "classes": {"type": "array", "items": _TEXT},
                "model": _TEXT,
                "form": {"type": "string", "enum": ["fp32", "int8"]},
                "lineage": {"type": "object"},
                "calibration": {"type": "object"},
                "threshold": {"type": ["number", "null"]},
                "input": {"type": "array", "items": whole},
                "card": {**_TEXT, "description": "The model card, in Markdown."},
                "version": _TEXT,
                "limits": {"type": "object"},
            }
        ),
        "Health": _object({"status": _TEXT, "version": _TEXT}),
        "Failure": _object({"error": _TEXT, "detail": maybe_text}),
    }


def _object(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required or list(properties)}
