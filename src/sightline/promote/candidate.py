"""A bundle and its model's predictions on the test split, which are checked for consistency."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline.core import files
from sightline.core.errors import UserError
from sightline.core.json_fields import field, parse_object
from sightline.datasets.predictions import load_predictions as read_predictions
from sightline.metrics.calibration import ece
from sightline.predict import manifest
from sightline.promote.policy import Evidence


@dataclass(frozen=True)
class Candidate:
    """A bundle that could be promoted.

    Attributes:
        digest: The SHA-256 of its manifest, which contains the digests of all its files.
        lineage: Digests of the model, data and predictions that it was made from.
        manifest: The content of its manifest.
        evidence: The numbers that the decision is based on.
    """

    digest: str
    lineage: dict[str, str]
    manifest: dict[str, Any]
    evidence: Evidence


def read_candidate(bundle: Path, predictions: Path) -> Candidate:
    """Reads a bundle and its model's predictions.

    Args:
        bundle: The folder written by the export stage; every file is verified.
        predictions: The file written by the evaluate stage (Parquet: id, label, predicted, probabilities).

    Raises:
        UserError: If one of them is missing or damaged, the bundle was extended, or the predictions are not those that
            it was exported with.
    """
    content = manifest.verify_files(bundle)
    lineage = dict(content["lineage"])
    if content.get("extension"):
        raise UserError(
            f"{bundle} was extended, not trained: its new classes have not been evaluated; train with them "
            "(train.start_from: champion, dvc repro), then promote"
        )
    try:
        digest = files.sha256_file(predictions)
    except FileNotFoundError:
        raise UserError(f"{predictions} is missing: run the evaluate stage") from None
    if digest != lineage.get("predictions_sha256"):
        raise UserError(
            f"{predictions} are not the predictions that {bundle} was exported with: run `dvc repro`, then promote"
        )
    try:
        classes = field(parse_object(manifest.read_verified(bundle, content, manifest.CLASSES)), "classes", list)
        parity = field(content, "proof", dict)  # the file format's name for the parity check
        images = sum(field(parity["images"], split, int) for split in field(parity, "images", dict))
        agreement = field(parity, "agreement", float)
    except ValueError as error:
        raise UserError(f"{bundle} cannot be used by this version of sightline ({error}); export it again") from None
    scored = read_predictions(predictions)
    order = sorted(range(len(scored.ids)), key=scored.ids.__getitem__)
    evidence = Evidence(
        ids=[scored.ids[row] for row in order],
        classes=classes,
        labels=scored.labels[order],
        correct=scored.correct[order],
        ece=ece(scored.probabilities.max(axis=1), scored.correct),
        parity_images=images,
        parity_available=parity.get("available"),
        parity_agreement=agreement,
    )
    return Candidate(files.sha256_file(bundle / manifest.MANIFEST), lineage, content, evidence)
