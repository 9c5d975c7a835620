"""A prediction as JSON values: those of files, and of the server's answers."""

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
    label: Annotated[str | None, "The likeliest class; null where there is no answer."]
    probability: Annotated[float | None, Keywords(minimum=0, maximum=1)]
    top: Annotated[list[RankedClass], "The likeliest classes, best first."]
    error: Annotated[str | None, Keywords(enum=[*map(str, RejectionReason), None])]
    detail: Annotated[str, "More of an error; of an answer, that its class was added by a few pictures alone."]
    abstained: Annotated[bool, "Whether there is no answer: too uncertain, or none of these."]
    novelty: Annotated[
        float | None, "Above 1 the image is like none of the classes; null where the model does not tell."
    ]
    class_set: Annotated[
        list[str] | None, "The classes that it may be of, likeliest first; null where no coverage was asked for."
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
    """Returns the shortest decimal that is the same float32: 0.1, not 0.10000000149011612."""
    return float(f"{probability:.9g}")
