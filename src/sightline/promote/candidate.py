"""A bundle and the predictions of its model on the test split, read and checked against each other."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline.core import files
from sightline.core.errors import UserError
from sightline.datasets.predictions import Predictions
from sightline.datasets.predictions import read as read_predictions
from sightline.metrics.calibration import ece
from sightline.predict import manifest
from sightline.promote.policy import Evidence


@dataclass(frozen=True)
class Candidate:
    """A bundle that could be promoted.

    Attributes:
        digest: Stands for all its files: the SHA-256 of its manifest.
        lineage: Digests of what it was made from.
        manifest: The content of its manifest.
        evidence: The numbers that the decision rests on.
    """

    digest: str
    lineage: dict[str, str]
    manifest: dict[str, Any]
    evidence: Evidence


def read_candidate(bundle: Path, predictions: Path) -> Candidate:
    """Reads a bundle and its model's predictions.

    Args:
        bundle: As the export stage wrote it; every file is checked.
        predictions: As the evaluate stage wrote them (Parquet: id, label, predicted, probabilities).

    Raises:
        UserError: If one of them is damaged, or the predictions are not those that the bundle was exported with.
    """
    content = manifest.verify(bundle)
    classes = list(json.loads(manifest.read(bundle, content, manifest.CLASSES))["classes"])
    lineage = dict(content["lineage"])
    try:
        digest = files.sha256_file(predictions)
    except FileNotFoundError:
        raise UserError(f"{predictions} is missing: run the evaluate stage") from None
    if digest != lineage.get("predictions_sha256"):
        raise UserError(
            f"{predictions} are not the predictions that {bundle} was exported with: run `dvc repro`, then promote"
        )
    parity = content["proof"]  # the file format's name for the parity check
    evidence = _score(read_predictions(predictions), classes, parity)
    return Candidate(files.sha256_file(bundle / manifest.MANIFEST), lineage, content, evidence)


def _score(predictions: Predictions, classes: list[str], parity: dict[str, Any]) -> Evidence:
    return Evidence(
        test_set=test_set_digest(predictions.ids, [classes[label] for label in predictions.labels]),
        classes=classes,
        labels=predictions.labels,
        correct=predictions.correct,
        ece=ece(predictions.probabilities.max(axis=1), predictions.correct),
        parity_images=int(sum(parity["images"].values())),
        parity_available=parity.get("available"),
        parity_agreement=float(parity["agreement"]),
    )


def test_set_digest(ids: list[str], names: list[str]) -> str:
    """Returns a digest that stands for test images, by id, and their true classes, by name."""
    digest = hashlib.sha256()
    for row in sorted(zip(ids, names, strict=True)):
        digest.update(files.canonical_json(row).encode())
    return digest.hexdigest()
