"""A prediction as JSON values, in files and in the server's responses."""

from __future__ import annotations

from typing import Annotated, TypedDict

from sightline.core.json_schema import Keywords
from sightline.core.rejection import RejectionReason
from sightline.core.text import readable
from sightline.predict.prediction import Prediction

Probability = Annotated[float, Keywords(minimum=0, maximum=1)]


class RankedClass(TypedDict):
    """A class and its probability."""

    label: str
    probability: Probability


class PredictionRow(TypedDict):
    """A prediction as JSON values."""

    path: Annotated[str, "The image, as the client named it."]
    label: Annotated[str | None, "The most probable class; null if there is no prediction."]
    probability: Annotated[float | None, Keywords(minimum=0, maximum=1)]
    top: Annotated[list[RankedClass], "The most probable classes, best first."]
    error: Annotated[str | None, Keywords(enum=[*map(str, RejectionReason), None])]
    detail: Annotated[
        str, "Details of an error; or a note that the class was added from a few images, without training."
    ]
    abstained: Annotated[bool, "Whether the model abstains: too uncertain, or none of these."]
    novelty: Annotated[
        float | None, "Above 1, the image is unlike all classes; null if the model has no novelty detector."
    ]
    class_set: Annotated[
        list[str] | None,
        "The classes that the image may belong to, most probable first; null unless a coverage was requested.",
    ]


def as_row(p: Prediction) -> PredictionRow:
    """Returns a prediction as JSON values."""
    return {
        "path": readable(p.path),
        "label": p.label,
        "probability": shortest_decimal(p.probability) if p.probability is not None else None,
        "top": [{"label": label, "probability": shortest_decimal(share)} for label, share in p.top],
        "error": p.error,
        "detail": p.detail,
        "abstained": p.abstained,
        "novelty": None if p.novelty is None else shortest_decimal(p.novelty),
        "class_set": None if p.class_set is None else list(p.class_set),
    }


def shortest_decimal(probability: float) -> float:
    """Rounds to 9 significant digits, which identify a float32: 0.1, not 0.10000000149011612."""
    return float(f"{probability:.9g}")
