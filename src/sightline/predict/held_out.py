"""Conformity scores of held-out images, with which a bundle forms prediction sets for any coverage."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sightline.core.errors import UserError
from sightline.metrics import conformal
from sightline.metrics.base import Floats
from sightline.metrics.conformity_scores import CONFORMITY_SCORES, ConformityScore
from sightline.predict.manifest import CONFORMAL

LABELS = "labels"


@dataclass(frozen=True)
class HeldOutImages:
    """Validation images, on which the network was not trained.

    Attributes:
        labels: [n] int64 class indices.
        of_true: [n] float32, the conformity score of the true class of each by the network's probabilities.
        score: The conformity score that it is.
    """

    labels: npt.NDArray[np.int64]
    of_true: npt.NDArray[np.float32]
    score: ConformityScore

    def thresholds(self, coverage: float, num_classes: int) -> Floats:
        """Returns for each class the least score that puts it into an image's set; see `metrics.conformal`."""
        return conformal.class_thresholds(self.labels, self.of_true.astype(np.float64), num_classes, coverage)

    def shortage(self, coverage: float) -> str:
        """Returns why each set has all classes if there are too few images for a coverage; else an empty string."""
        fewest = conformal.images_for(1 - coverage)
        if len(self.labels) >= fewest:
            return ""
        most = math.floor(1000 * len(self.labels) / (len(self.labels) + 1)) / 1000
        return (
            f"--coverage {coverage:g} needs {fewest:,} validation images, but the bundle was exported with "
            f"{len(self.labels):,}, so that each set would contain all classes; up to {most:g} is possible"
        )


def held_out_bytes(labels: npt.NDArray[np.int64], of_true: Mapping[str, npt.NDArray[np.float32]]) -> bytes:
    """Returns the content of the file: NumPy's archive of the labels and, by form of the network, the scores."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **{LABELS: labels.astype(np.int32), **of_true})  # type: ignore[arg-type]
    return stream.getvalue()


def from_bytes(content: bytes, form: str, score: str) -> HeldOutImages:
    """Reads the content of the file.

    Args:
        content: The content.
        form: The form of the network whose scores are wanted.
        score: The name of the conformity score that they are.

    Raises:
        UserError: If it is none, or one of another version.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            labels, of_true = arrays[LABELS], arrays[form]
    except (ValueError, KeyError, OSError, EOFError) as error:
        raise UserError(f"{CONFORMAL} cannot be used by this version of sightline ({error}); export it again") from None
    if (
        labels.shape != of_true.shape
        or labels.ndim != 1
        or of_true.dtype != np.float32
        or score not in CONFORMITY_SCORES
    ):
        raise UserError(f"{CONFORMAL} lacks what this version of sightline uses; export it again")
    return HeldOutImages(labels.astype(np.int64), of_true, CONFORMITY_SCORES[score]())
