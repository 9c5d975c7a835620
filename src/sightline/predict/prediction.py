"""The answer to an image, and what may be asked beside its class."""

from __future__ import annotations

from dataclasses import dataclass

from sightline.metrics.base import Floats

NONE_OF_THESE = "none of these"
"""The label of an image that the model abstains from because it is like none of its classes."""
EXTENDED = "extended, not trained"
"""The detail of an answer whose class was added to a bundle by a few pictures."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question about images, beside their class; made by `Bundle.question`.

    Attributes:
        top_k: Largest number of classes that a prediction names.
        threshold: The model abstains where the likeliest class is less probable; None where it does not.
        refuses_novel: Whether an image that is novel gets the label `NONE_OF_THESE`.
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
        path: The input, as it was named.
        top: The likeliest classes with their probabilities, best first; empty if the input failed.
        error: The reason of failure, a word of `sightline.core.rejection.RejectionReason`; None without one.
        detail: A human-readable explanation of the error; of an answer, `EXTENDED` where its class was added by a few
            pictures; may be empty.
        abstained: Whether there is no answer: the likeliest class is less probable than was asked for, or the image is
            none of these.
        novelty: Distance of the image from all that the model was trained on: above 1 it is like none of its classes.
            None if the input failed, or the bundle is of an older version.
        none_of_these: Whether the model abstains because the image is novel.
        class_set: The classes that it may be of, likeliest first, where a coverage was asked for.
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
        """The likeliest class; None where the model abstains, or `NONE_OF_THESE`, where it is for that."""
        if self.none_of_these:
            return NONE_OF_THESE
        return self.top[0][0] if self.top and not self.abstained else None

    @property
    def probability(self) -> float | None:
        """The likeliest class's probability, 0 to 1."""
        return self.top[0][1] if self.top else None
