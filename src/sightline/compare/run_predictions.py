"""A run's predictions for the images of a split, read from a file, and the check that two runs are comparable."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from sightline.core.errors import UserError
from sightline.datasets import predictions
from sightline.metrics import base
from sightline.metrics.base import Bools, Floats, Labels


@dataclass(frozen=True)
class RunPredictions:
    """Predictions of one run on a split.

    Attributes:
        name: The model's display name.
        ids: [n], sorted.
        labels: [n] true classes.
        probabilities: [n, K].
        classes: K names; indices if the file has no names.
        about: (name, value) of known facts about the run.
        named: Whether the file has class names.
    """

    name: str
    ids: list[str]
    labels: Labels
    probabilities: Floats
    classes: list[str]
    about: list[tuple[str, str]]
    named: bool = True

    @property
    def predicted(self) -> Labels:
        """The most probable class of each image, [n]."""
        return base.predicted_classes(self.probabilities)

    @property
    def correct(self) -> Bools:
        """Whether each answer is right, [n]."""
        right: Bools = self.predicted == self.labels
        return right


def read_run(path: Path, name: str, about: list[tuple[str, str]]) -> RunPredictions:
    """Reads a file of predictions.

    Raises:
        UserError: If it is not one.
    """
    try:
        stored = predictions.load_predictions(path)
        order = sorted(range(len(stored.ids)), key=stored.ids.__getitem__)
        ids, labels = [stored.ids[i] for i in order], stored.labels[order]
        # They are stored in single precision, so rows are normalized to sum to 1 again.
        probabilities = stored.probabilities[order] / stored.probabilities[order].sum(axis=1, keepdims=True)
        base.require_probabilities(labels, probabilities)
        classes = stored.classes or [str(i) for i in range(probabilities.shape[1])]
        if len(classes) != probabilities.shape[1] or len(set(ids)) != len(ids):
            raise ValueError("classes or ids that do not fit")
    except (OSError, pa.ArrowException, ValueError) as error:
        raise UserError(f"{name}: {path.name} is not a file of predictions ({_line(error)})") from None
    return RunPredictions(name, ids, labels, probabilities, classes, about, bool(stored.classes))


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def require_same(a: RunPredictions, b: RunPredictions) -> None:
    """Checks that two runs predicted the same images.

    Raises:
        UserError: If images, labels or classes differ, saying how many.
    """
    only_a, only_b = set(a.ids) - set(b.ids), set(b.ids) - set(a.ids)
    if only_a or only_b:
        examples = ", ".join(f"{min(ids)}" for ids in (only_a, only_b) if ids)
        raise UserError(
            f"{a.name} and {b.name} scored different images: {len(only_a):,} ids only in the first, {len(only_b):,} "
            f"only in the second (such as {examples}), {len(set(a.ids) & set(b.ids)):,} in both"
        )
    if a.classes != b.classes and (len(a.classes) != len(b.classes) or (a.named and b.named)):
        raise UserError(
            f"{a.name} and {b.name} have different classes: {', '.join(a.classes[:10])} and {', '.join(b.classes[:10])}"
        )
    if other := int((a.labels != b.labels).sum()):
        raise UserError(f"{a.name} and {b.name} scored different images: {other:,} of {len(a.ids):,} labels differ")
