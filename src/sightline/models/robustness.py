"""Accuracy of any classifier on corrupted images: raw images are corrupted, then preprocessed like any other.

All classifiers that are compared get the same images, corrupted with the same random numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sightline.core import files, seeds
from sightline.core.progress import track
from sightline.core.rejection import RejectionError
from sightline.datasets.processed_set import Images, ProcessedSet, Split
from sightline.datasets.raw_lookup import raw_images
from sightline.imaging import corruptions
from sightline.imaging.convert import Pixels
from sightline.imaging.image_file import ANY_SIZE
from sightline.imaging.transform.pipeline import Transform
from sightline.metrics.base import Bools, Floats, Labels

Predict = Callable[[Images], Floats]
"""[n, height, width, channels] uint8 -> [n, K] probabilities."""

_BATCH = 16
"""Raw images per batch; each becomes 51 prepared images."""


@dataclass(frozen=True)
class CorruptionResult:
    """Correct predictions on corrupted images.

    Attributes:
        labels: [n] true classes.
        clean: [n] correct predictions without corruption.
        correct: [n, corruptions, severities] correct predictions, in the order of `corruptions.NAMES`.
        sample: The number and the digest of the ids of the corrupted images, and the seed; two classifiers' results
            are comparable if these are equal.
    """

    labels: Labels
    clean: Bools
    correct: Bools
    sample: Mapping[str, Any]

    def error_rates(self) -> dict[str, list[float]]:
        """Returns the error rate by corruption at severities 1 to 5."""
        return {name: (~self.correct[:, i]).mean(axis=0).tolist() for i, name in enumerate(corruptions.NAMES)}


def evaluate_corruptions(
    predict: Predict, data: ProcessedSet, split: Split, raw: Path, *, images: int, seed: int, batch_size: int
) -> CorruptionResult:
    """Corrupts raw images of a split, preprocesses and classifies them.

    Args:
        predict: The classifier: images [n, height, width, channels] uint8 -> probabilities [n, K].
        data: The processed set, whose transform prepares the images.
        split: The split to take images from, at evenly spaced rows, since ids often sort by class.
        raw: Folder written by the ingest stage.
        images: Maximum number of images, at least 1.
        seed: Seed of the corruptions, whose random numbers also depend on each image's id.
        batch_size: Prepared images per call of the classifier.

    Raises:
        UserError: If raw images are missing.
    """
    count = min(images, len(split))
    chosen = np.linspace(0, len(split) - 1, count).round().astype(int)
    labels = {split.ids[at]: int(split.labels[at]) for at in chosen}
    transform = Transform.load(data.transform)
    found: dict[str, Bools] = {}
    batch: dict[str, Pixels] = {}
    for image in track(raw_images(raw, labels), "corrupted images", count):
        batch[image.id] = corruptions.shrink(transform.open(image.data, ANY_SIZE))
        if len(batch) == _BATCH or len(found) + len(batch) == count:
            found |= _answers(predict, transform, batch, labels, seed, batch_size)
            batch = {}
    correct = np.stack([found[identity] for identity in labels])
    shape = (count, len(corruptions.NAMES), corruptions.SEVERITIES)
    ids = files.sha256(files.canonical_json(list(labels)).encode())
    sample = {"images": count, "seed": seed, "ids_sha256": ids}
    return CorruptionResult(np.array(list(labels.values())), correct[:, 0], correct[:, 1:].reshape(shape), sample)


def _answers(
    predict: Predict,
    transform: Transform,
    batch: Mapping[str, Pixels],
    labels: Mapping[str, int],
    seed: int,
    batch_size: int,
) -> dict[str, Bools]:
    """Returns for each image whether the classifier is correct on it and on each corrupted variant, [51].

    A corrupted variant that the preprocessing rejects (such as a blank image) counts as incorrect.
    """
    prepared: list[Images] = []
    places: list[tuple[str, int]] = []
    for identity, pixels in batch.items():
        for column, variant in enumerate(_variants(pixels, identity, seed)):
            try:
                prepared.append(transform(variant))
            except RejectionError:
                continue
            places.append((identity, column))
    correct = {identity: np.zeros(1 + len(corruptions.NAMES) * corruptions.SEVERITIES, np.bool_) for identity in batch}
    for start in range(0, len(prepared), batch_size):
        here = slice(start, start + batch_size)
        predicted = predict(np.stack(prepared[here])).argmax(axis=1)
        for (identity, column), answer in zip(places[here], predicted, strict=True):
            correct[identity][column] = answer == labels[identity]
    return correct


def _variants(pixels: Pixels, identity: str, seed: int) -> Iterator[Pixels]:
    """Yields the image itself, then its corrupted variants."""
    yield pixels
    for name in corruptions.NAMES:
        drawn = seeds.derive(seed, "corruption", name, identity)
        for severity in range(1, corruptions.SEVERITIES + 1):
            yield corruptions.corrupt(pixels, name, severity, drawn)
