"""Predictions, and the questions that they answer."""

from __future__ import annotations

from dataclasses import dataclass

from sightline.metrics.base import Floats

NONE_OF_THESE = "none of these"
"""The label of a novel image, which is unlike all classes."""
EXTENDED = "extended, not trained"
"""The detail of a prediction whose class was added to the bundle with a few images."""


@dataclass(frozen=True, slots=True)
class Question:
    """Options of a prediction, created by `Bundle.question`.

    Attributes:
        top_k: Maximum number of classes per prediction.
        threshold: The model abstains if the confidence is lower; None for no threshold.
        refuses_novel: Whether novel images get the label `NONE_OF_THESE`.
        set_thresholds: [K] the least conformity score that puts a class into the set; None where none is asked for.
    """

    top_k: int = 1
    threshold: float | None = None
    refuses_novel: bool = False
    set_thresholds: Floats | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """The prediction for one input.

    Attributes:
        path: Name of the input.
        top: The most probable classes with their probabilities, best first; empty if the input failed.
        error: The reason for the failure, a value of `sightline.core.rejection.RejectionReason`; None without one.
        detail: A human-readable explanation of the error, or `EXTENDED` if the predicted class was added with a few
            images; may be empty.
        abstained: Whether the model abstains, because the confidence is below the threshold or the image is novel.
        novelty: Distance of the image from the training images; above 1 it is unlike all classes. None if the input
            failed, or the bundle has no novelty detector.
        none_of_these: Whether the model abstains because the image is novel.
        class_set: The prediction set, most probable class first, if a coverage was requested.
    """

    path: str
    top: tuple[tuple[str, float], ...] = ()
    error: str | None = None
    detail: str = ""
    abstained: bool = False
    novelty: float | None = None
    none_of_these: bool = False
    class_set: tuple[str, ...] | None = None

    @property
    def label(self) -> str | None:
        """The most probable class; `NONE_OF_THESE` for novel images, and None if the model abstains otherwise."""
        if self.none_of_these:
            return NONE_OF_THESE
        return self.top[0][0] if self.top and not self.abstained else None

    @property
    def probability(self) -> float | None:
        """The most probable class's probability, 0 to 1."""
        return self.top[0][1] if self.top else None
