"""Types of the API: queries, request bodies and responses, from which description and validation are derived."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, NotRequired, TypedDict, get_type_hints

from sightline.core.json_schema import Keywords, Schema, json_schema_of
from sightline.predict.manifest import MODELS
from sightline.predict.prediction_row import PredictionRow, Probability

Base64 = Annotated[str, Keywords(contentEncoding="base64")]
Binary = Annotated[bytes, Keywords(format="binary")]
Png = Annotated[str, Keywords(contentEncoding="base64", contentMediaType="image/png")]
Whole = Annotated[int, Keywords(minimum=1)]


@dataclass(frozen=True)
class PredictQuery:
    """The query of `/predict` and `/explain`."""

    top_k: Annotated[int, "How many classes to name for each image.", Keywords(minimum=1)] = 5
    threshold: Annotated[
        float | None, "Abstain if the most probable class is less probable than this.", Keywords(minimum=0, maximum=1)
    ] = None
    abstain: Annotated[
        bool | None,
        "Predict “none of these” for images unlike all classes, and abstain below the model's confidence threshold. "
        "Default: as exported.",
    ] = None
    coverage: Annotated[
        float | None,
        "Also list a set of classes that contains the true one with this probability, above 0 and below 1.",
        Keywords(minimum=0, maximum=1),
    ] = None


class NamedImage(TypedDict):
    """An image in JSON, with a name."""

    name: NotRequired[str]
    data: Base64


class Images(TypedDict):
    """Images in JSON, one or many."""

    images: NotRequired[list[Base64 | NamedImage] | Base64 | NamedImage]
    image: NotRequired[Annotated[list[Base64 | NamedImage] | Base64 | NamedImage, "Another name for `images`."]]


class ImagesForm(TypedDict):
    """Images as files in a form."""

    image: list[Binary]


class ImageForm(TypedDict):
    """An image as a file in a form."""

    image: Binary


class Predictions(TypedDict):
    """The response of `/predict`."""

    model: Annotated[str, "The trained model's SHA-256."]
    predictions: list[PredictionRow]
    error: NotRequired[Annotated[str | None, "Why none of the images could be read: the first one's error."]]
    detail: NotRequired[str]


class Picture(TypedDict):
    """An image for the page."""

    png: Png
    height: Whole
    width: Whole


class Step(Picture):
    """An image after a preprocessing step."""

    name: str


class Occlusion(TypedDict):
    """The parts of an image that a prediction depends on, found by covering them in turn."""

    png: Annotated[Png, "An overlay for the image, transparent where the prediction does not depend on it."]
    falls: Annotated[list[list[float]], "By how much the probability falls where that cell is covered."]
    label: str
    probability: Annotated[Probability, "The class's probability for the whole image."]
    lowest: Annotated[Probability, "The class's probability with the most important patch covered."]
    where: Annotated[str, "The position of that patch, such as `upper left`."]


class Explanation(TypedDict):
    """The response of `/explain`."""

    prediction: PredictionRow
    steps: list[Step]
    input: Picture
    heat: Occlusion


class Limits(TypedDict):
    """The server's limits."""

    max_bytes: Annotated[int, "Of an image."]
    max_pixels: Annotated[int, "Of an image."]
    max_images: Annotated[int, "Of a request."]
    max_body: Annotated[int, "Bytes of a request."]
    seconds: Annotated[float, "For a request's images."]
    formats: list[str]


class Model(TypedDict):
    """The response of `/model`."""

    classes: list[str]
    model: Annotated[str, "The trained model's SHA-256."]
    form: Annotated[str, Keywords(enum=list(MODELS))]
    lineage: dict[str, Any]
    calibration: dict[str, Any]
    threshold: float | None
    tells_novelty: Annotated[bool, "Whether predictions say how novel an image is."]
    abstains: Annotated[bool, "Whether it abstains by default."]
    extended: Annotated[list[str], "Classes that were added from a few images, without training."]
    input: Annotated[list[Whole], "Height, width and channels of a preprocessed image."]
    card: Annotated[str, "The model card, in Markdown."]
    version: str
    limits: Limits


class Health(TypedDict):
    """The response of `/health`."""

    status: str
    version: str


class Failure(TypedDict):
    """An error response."""

    error: str
    detail: str | None


@cache
def query_schemas(kind: type) -> dict[str, Schema]:
    """Returns the JSON schema of each parameter of a query."""
    return {name: json_schema_of(hint, {}) for name, hint in get_type_hints(kind, include_extras=True).items()}


def parse_query(parameters: Mapping[str, str]) -> PredictQuery:
    """Parses a query; unknown parameters are ignored.

    Raises:
        ValueError: If a value has the wrong type or is out of range.
    """
    values = {
        name: _value(name, parameters[name], schema)
        for name, schema in query_schemas(PredictQuery).items()
        if name in parameters
    }
    return PredictQuery(**values)


def _value(name: str, text: str, schema: Schema) -> Any:
    if "boolean" in schema["type"]:
        if text not in ("true", "false"):
            raise ValueError(f"{name}: must be true or false")
        return text == "true"
    return _number_in_range(name, text, schema)


def _number_in_range(name: str, text: str, schema: Schema) -> Any:
    whole = schema["type"] == "integer"
    low, high = schema.get("minimum", float("-inf")), schema.get("maximum", float("inf"))
    try:
        value = int(text) if whole else float(text)
        fits = low <= value <= high  # false for NaN
    except ValueError:
        fits = False
    if not fits:
        bounds = f"from {low} to {high}" if "maximum" in schema else f"of at least {low}"
        raise ValueError(f"{name}: must be a {'whole ' if whole else ''}number {bounds}")
    return value
