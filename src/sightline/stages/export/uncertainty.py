"""Novelty thresholds and held-out conformity scores of each form of a network in a bundle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sightline.core import files
from sightline.core.errors import UserError
from sightline.datasets.processed_set import Images, ProcessedSet, Split
from sightline.metrics import conformal
from sightline.metrics.base import Floats, Labels
from sightline.metrics.conformal import NoveltyThresholds
from sightline.metrics.conformity_scores import CONFORMITY_SCORES, DEFAULT
from sightline.models import novelty_detector
from sightline.models.novelty_detector import FittedNovelty
from sightline.predict import held_out, manifest
from sightline.predict.inference_model import InferenceModel, open_session
from sightline.predict.manifest import BATCH_SIZE, INPUT
from sightline.stages.export.novelty_graph import with_novelty
from sightline.stages.export.onnx import EMBEDDING

VALIDATION_IMAGES = 10_000
"""Maximum number of validation images that thresholds are set on."""

NOVELTY_TOLERANCE = 1e-3
"""Maximum difference of novelty between the trained and the exported network, relative to the novelty or to 1."""


class Uncertainty:
    """The novelty detector and the conformity scores of a bundle's networks.

    Args:
        fitted: The detector; None if there is none.
        validation: The validation split.
        shape: (height, width, channels) of an image.
        unknown: Images of none of the classes, half of which are used to set thresholds; None if there are none.
        score: The name of the conformity score for prediction sets.
    """

    def __init__(
        self,
        fitted: FittedNovelty | None,
        validation: Split,
        shape: tuple[int, int, int],
        unknown: ProcessedSet | None = None,
        score: str = DEFAULT,
    ) -> None:
        self.fitted = fitted
        self._validation = validation
        self._places = np.linspace(0, len(validation) - 1, min(len(validation), VALIDATION_IMAGES)).round().astype(int)
        self._shape = shape
        self._score = CONFORMITY_SCORES[score]()
        self._unknown = unknown.split("val") if unknown else None
        self._plain: dict[str, bytes] = {}
        self._thresholds: dict[str, NoveltyThresholds] = {}
        self._of_true: dict[str, npt.NDArray[np.float32]] = {}

    def network(self, form: str, plain: bytes) -> bytes:
        """Returns the network for the bundle, with the output `novelty` instead of `embedding` if there is a detector.

        Args:
            form: The form of the network; "fp32" has the thresholds of the trained network, others their own.
            plain: The network, from `to_onnx` or `to_int8`.
        """
        if self.fitted is None:
            return plain
        thresholds = self.fitted.thresholds if form == "fp32" else self._own_thresholds(plain, self.fitted)
        self._thresholds[form], self._plain[form] = thresholds, plain
        return with_novelty(plain, self.fitted.detector, thresholds.of_class, self._shape)

    def expected(self, form: str, images: Images) -> Floats:
        """Returns the expected novelty of a form of the network, from the detector and the form's own embeddings.

        Args:
            form: A form that was passed to `network`, with a detector.
            images: [n, height, width, channels] uint8, prepared.
        """
        if self.fitted is None:
            raise ValueError(f"{form} has no novelty output")
        session = open_session(self._plain[form], 0)
        parts = [images[start : start + BATCH_SIZE] for start in range(0, len(images), BATCH_SIZE)]
        distances, rows = self._nearest(session, parts, self.fitted)
        return distances / self._thresholds[form].of_class[rows]

    def observe(self, form: str, bundle: InferenceModel) -> None:
        """Records the conformity scores of a form of the network on the validation images."""
        labels = self._validation.labels[self._places]
        parts = [self._score.scores(bundle.probabilities(images)) for images in self._batches()]
        self._of_true[form] = (
            np.concatenate(parts)[np.arange(len(labels)), labels] if parts else np.zeros(0, np.float32)
        )

    def forget(self, form: str) -> None:
        """Discards a form that is not part of the bundle."""
        self._thresholds.pop(form, None)
        self._of_true.pop(form, None)

    def write(self, folder: Path, calibration: dict[str, Any]) -> None:
        """Writes `calibration.json` and, if there are validation images, `conformal.npz` to a bundle."""
        novel = None
        if self.fitted is not None:
            pooled = {form: thresholds.pooled for form, thresholds in self._thresholds.items()}
            novel = {"rate": self.fitted.rate, "images": self.fitted.images, "thresholds": pooled}
        files.write_json(folder / manifest.CALIBRATION, calibration | ({"novelty": novel} if novel else {}))
        if len(self._places):
            labels = self._validation.labels[self._places]
            files.write_bytes(folder / manifest.CONFORMAL, held_out.held_out_bytes(labels, self._of_true))

    def _batches(self) -> Iterator[npt.NDArray[np.uint8]]:
        for start in range(0, len(self._places), BATCH_SIZE):
            yield self._validation.images(self._places[start : start + BATCH_SIZE])

    def _own_thresholds(self, plain: bytes, fitted: FittedNovelty) -> NoveltyThresholds:
        session, unknown = open_session(plain, 0), None
        if self._unknown is not None and len(self._unknown):
            starts = range(0, len(self._unknown), BATCH_SIZE)
            parts = (self._unknown.images(slice(start, start + BATCH_SIZE)) for start in starts)
            unknown = self._nearest(session, parts, fitted)
        known = self._nearest(session, self._batches(), fitted)
        return conformal.novelty_thresholds(*known, len(fitted.detector.means), fitted.rate, unknown)

    @staticmethod
    def _nearest(session: Any, batches: Iterable[Images], fitted: FittedNovelty) -> tuple[Floats, Labels]:
        embedded = ((images, session.run([EMBEDDING], {INPUT: images})[0]) for images in batches)
        return novelty_detector.joined(fitted.detector.nearest(images, embeddings) for images, embeddings in embedded)


def check_novelty(
    ids: list[str], trained: Floats, exported: npt.NDArray[np.float32], name: str = "the exported model"
) -> None:
    """Checks that the exported network's novelty agrees with the trained one's.

    Args:
        ids: Ids of the compared images.
        trained: [n] novelty from the trained network and the detector.
        exported: [n] novelty from the exported network.
        name: The exported network's name, for messages.

    Raises:
        UserError: If they differ by more than `NOVELTY_TOLERANCE`, naming the worst image.
    """
    differences = np.abs(trained - exported) / np.maximum(1, trained)
    worst = int(np.nan_to_num(differences, nan=np.inf).argmax())
    if not differences[worst] <= NOVELTY_TOLERANCE:
        raise UserError(
            f"{name}'s novelty differs from the trained one's: {ids[worst]} has {trained[worst]:.6g}, and "
            f"{exported[worst]:.6g} exported (allowed: {NOVELTY_TOLERANCE:g} of it); no bundle was written"
        )
