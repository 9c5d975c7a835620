"""The parity check: the trained and the exported model must agree on real images, starting from encoded bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sightline.core.errors import UserError

Probabilities = npt.NDArray[np.floating[Any]]

SHOWN = 5
"""Number of worst images that the message of a failed check names."""


@dataclass(frozen=True)
class Difference:
    """The difference between the two models on one image: their classes, and the largest difference in probability."""

    id: str
    trained: int
    exported: int
    largest: float


@dataclass(frozen=True)
class ParityResult:
    """The outcome of a comparison.

    Attributes:
        images: Number of images that were compared.
        disagreements: Number of images for which the two models predict different classes.
        max_difference: The largest difference of any probability; NaN if either model returned NaN.
        worst: The worst images, disagreements first.
    """

    images: int
    disagreements: int
    max_difference: float
    worst: tuple[Difference, ...]

    @property
    def agreement(self) -> float:
        """Share of images for which both models predict the same class, 0 to 1."""
        return 1 - self.disagreements / self.images

    def passes(self, tolerance: float) -> bool:
        """Returns whether all classes are the same and no probability differs by more than `tolerance`."""
        return self.disagreements == 0 and self.max_difference <= tolerance  # false for NaN


def compare_probabilities(ids: Sequence[str], trained: Probabilities, exported: Probabilities) -> ParityResult:
    """Compares two models' probabilities [N, K] on the same N > 0 images.

    >>> a = np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)
    >>> b = np.array([[0.9, 0.1], [0.6, 0.4]], np.float32)
    >>> parity = compare_probabilities(["x", "y"], a, b)
    >>> parity.agreement, round(parity.max_difference, 3), parity.worst[0].id
    (0.5, 0.4, 'y')
    """
    if not len(ids) == len(trained) == len(exported) > 0:
        raise ValueError(f"{len(ids)} ids, {len(trained)} and {len(exported)} rows: must be as many, and some")
    largest = np.abs(trained.astype(np.float64) - exported).max(axis=1)
    first, second = trained.argmax(axis=1), exported.argmax(axis=1)
    differ = first != second
    # NaN counts as the largest difference.
    order = np.lexsort((-np.nan_to_num(largest, nan=np.inf), ~differ))[:SHOWN]
    worst = tuple(Difference(ids[i], int(first[i]), int(second[i]), float(largest[i])) for i in order)
    return ParityResult(len(ids), int(differ.sum()), float(largest.max()), worst)


def accuracy_loss(labels: npt.NDArray[np.int64], reference: Probabilities, other: Probabilities) -> float:
    """Returns how much less accurate `other` is than `reference`, in percentage points; negative if it is better.

    >>> both = np.array([[0.9, 0.1], [0.2, 0.8]])
    >>> accuracy_loss(np.array([0, 1]), both, np.array([[0.9, 0.1], [0.6, 0.4]]))
    50.0
    """
    right, kept = ((p.argmax(axis=1) == labels) for p in (reference, other))
    return 100 * (int(right.sum()) - int(kept.sum())) / len(labels)


def gate(parity: ParityResult, tolerance: float, classes: Sequence[str], exported: str = "the exported model") -> None:
    """Raises unless the exported model passes; `exported` names it in the message.

    Raises:
        UserError: If the models disagree, naming the worst images.
    """
    if parity.passes(tolerance):
        return
    worst = ", ".join(
        f"{d.id} ({classes[d.trained]!r} -> {classes[d.exported]!r}, {d.largest:.2g})" for d in parity.worst
    )
    raise UserError(
        f"{exported} differs from the trained one: another class for {parity.disagreements} of {parity.images} "
        f"images, probabilities up to {parity.max_difference:.2g} apart (allowed: {tolerance:g}); worst: {worst}; "
        "no bundle was written"
    )
