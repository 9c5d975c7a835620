"""A bundle and the predictions of its model on the test split, read and held against each other."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sightline import files
from sightline.errors import UserError
from sightline.metrics.calibration import ece
from sightline.predict import manifest
from sightline.promote.policy import Evidence


@dataclass(frozen=True)
class Bundled:
    """A bundle that could be promoted.

    Attributes:
        digest: Stands for all its files: the SHA-256 of its manifest.
        lineage: Digests of what it was made from.
        manifest: The content of its manifest.
        evidence: What is known of it.
    """

    digest: str
    lineage: dict[str, str]
    manifest: dict[str, Any]
    evidence: Evidence


def read(bundle: Path, predictions: Path) -> Bundled:
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
    proof = content["proof"]
    evidence = _score(pq.read_table(predictions), classes, int(sum(proof["images"].values())), proof["agreement"])
    return Bundled(files.sha256_file(bundle / manifest.MANIFEST), lineage, content, evidence)


def _score(table: pa.Table, classes: list[str], images: int, agreement: float) -> Evidence:
    labels, predicted = (table[name].to_numpy().astype(np.int64) for name in ("label", "predicted"))
    probabilities = np.stack(table["probabilities"].to_numpy()).astype(np.float64)
    correct = labels == predicted
    ids = table["id"].to_pylist()
    return Evidence(
        test_set=test_set_digest(ids, [classes[label] for label in labels]),
        classes=classes,
        labels=labels,
        correct=correct,
        ece=ece(probabilities.max(axis=1), correct),
        parity_images=images,
        parity_agreement=float(agreement),
    )


def test_set_digest(ids: list[str], names: list[str]) -> str:
    """Returns a digest that stands for test images, by id, and their true classes, by name."""
    digest = hashlib.sha256()
    for row in sorted(zip(ids, names, strict=True)):
        digest.update(files.canonical_json(row).encode())
    return digest.hexdigest()
