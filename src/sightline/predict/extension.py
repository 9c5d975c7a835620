"""Extension of a bundle by new classes with a few images each, without training.

A bundle's novelty detector measures images in a space in which each trained class is spread evenly around its mean.
There a new class is represented by the mean of its images, and linear discriminant analysis separates it from the
others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sightline.core import files
from sightline.core.errors import UserError
from sightline.core.rejection import RejectionError
from sightline.core.text import for_markdown
from sightline.imaging.image_file import Limits
from sightline.predict import extended_graph, inputs, manifest
from sightline.predict.bundle import Bundle
from sightline.predict.inference_model import Images, open_model, open_session
from sightline.predict.manifest import BATCH_SIZE, INPUT, OUTPUT

Floats = npt.NDArray[np.float64]

FEWEST = 2
"""Minimum number of images per class: one image does not show the spread of its class."""

TOLERANCE = 1e-3
"""Largest difference of a probability between the extended network, and the old one's answers put together with the
means by NumPy."""


@dataclass(frozen=True)
class Extension:
    """The result of an extension.

    Attributes:
        pictures: Number of pictures of each new class, by name.
        refused: Pictures that could not be read, with the reason.
        right: Number of the pictures that the means of the others answer rightly.
        largest: The largest difference of a probability that the check found.
    """

    pictures: dict[str, int]
    refused: list[str]
    right: int
    largest: float

    def lines(self) -> list[str]:
        """Returns the human-readable result, one line per entry."""
        total = sum(self.pictures.values())
        names = ", ".join(f"{name} ({count} images)" for name, count in self.pictures.items())
        return [
            *(f"left out: {line}" for line in self.refused),
            f"extended, not trained: {names}",
            (
                f"{self.right} of the {total} images are classified correctly by the means of the others; the old "
                "classes were not evaluated"
            ),
            f"old classes keep their probabilities relative to each other (largest difference: {self.largest:.1e})",
        ]


def extend(bundle: Path, pictures: Path, output: Path) -> Extension:
    """Writes a bundle with further classes.

    Args:
        bundle: The bundle.
        pictures: A folder with a folder of pictures for each new class.
        output: The new bundle's folder; not that of the old one.

    Raises:
        UserError: If the bundle tells no novelty, a class is known already or has too few pictures, or the new bundle
            does not answer as it should.
    """
    if output.exists() and (not (output / manifest.MANIFEST).is_file() or output.samefile(bundle)):
        raise UserError(f"{output} already exists: name a new folder")
    old = Bundle.load(bundle, "fp32")
    prepared, refused = _read_pictures(old, pictures)
    names = list(prepared)
    images = np.concatenate([prepared[name] for name in names])
    labels = np.repeat(np.arange(len(names)), [len(prepared[name]) for name in names])
    with files.atomic_directory(output) as folder:
        files.write_json(folder / manifest.CLASSES, {"classes": [*old.classes, *names]})
        files.write_bytes(folder / manifest.TRANSFORM, manifest.read_verified(bundle, old.manifest, manifest.TRANSFORM))
        # What was measured on images of the old classes alone holds no more.
        calibration = {**old.calibration, "threshold": None, "coverage": 0.0}
        files.write_json(folder / manifest.CALIBRATION, calibration)
        right, largest = 0, 0.0
        for form, name in manifest.MODELS.items():
            if name in old.manifest["files"]:
                network = manifest.read_verified(bundle, old.manifest, name)
                answers, points = _answers(extended_graph.with_point(network, bundle), images)
                means = ClassMeans.of(network, points, labels)
                threshold = old.calibration["novelty"]["thresholds"][form]
                files.write_bytes(folder / name, extended_graph.extended(network, means.new, means.spread, threshold))
                found = np.concatenate([open_model(folder, form).probabilities(part) for part in _batches(images)])
                difference = np.abs(found - means.answers(answers, points)).max()
                if not difference <= TOLERANCE:
                    raise UserError(
                        f"the extended {name} differs from its parts by {difference:.2g} (allowed: {TOLERANCE:g}): no "
                        "bundle was written"
                    )
                largest = max(largest, float(difference))
                right = means.right_by_others(answers, points, labels) if form == "fp32" else right
        result = Extension({name: len(prepared[name]) for name in names}, refused, right, largest)
        files.write_text(folder / manifest.CARD, _card(result, old.card))
        lineage = {key: value for key, value in old.manifest["lineage"].items() if key != "predictions_sha256"}
        lineage["extended_from"] = files.sha256_file(bundle / manifest.MANIFEST)
        proof = {"images": {"new pictures": len(images)}, "max_difference": largest, "tolerance": TOLERANCE}
        record = {"pictures": result.pictures, "right_by_others": right}
        manifest.write_manifest(folder, lineage, old.manifest.get("default", "fp32"), proof, record)
    return result


@dataclass(frozen=True)
class ClassMeans:
    """Means of classes in the novelty detector's space, where trained classes have unit variance.

    Attributes:
        old: [C, R] those of the classes that were trained.
        new: [n, R] those of the new ones.
        spread: Variance of the new classes' pictures, at least 1: what a network has not learnt spreads wider, and
            log odds are divided by it.
    """

    old: Floats
    new: Floats
    spread: float

    @classmethod
    def of(cls, network: bytes, points: Floats, labels: npt.NDArray[np.int64]) -> ClassMeans:
        """Takes the means of new classes from the points [n, R] of their pictures, whose class indices are `labels`."""
        classes = range(labels.max() + 1)
        new = np.stack([points[labels == label].mean(axis=0) for label in classes])
        within = ((points - new[labels]) ** 2).sum() / (len(points) - len(classes)) / points.shape[1]
        return cls(extended_graph.trained_means(network), new, max(1.0, float(within)))

    def answers(self, trained: Floats, points: Floats, new: Floats | None = None) -> Floats:
        """Returns probabilities [N, K + n]: the old classes share among themselves as the network has it.

        Args:
            trained: [N, K] the network's probabilities.
            points: [N, R].
            new: Other means of the new classes than `self.new`.
        """
        means = np.concatenate([self.old, self.new if new is None else new])
        scores = (points @ means.T - (means**2).sum(axis=1) / 2) / self.spread  # LDA: equal covariances, equal priors
        highest = scores.max(axis=1, keepdims=True)
        odds = np.exp(scores - highest)
        old = odds[:, : len(self.old)].sum(axis=1, keepdims=True)
        total = odds.sum(axis=1, keepdims=True)
        return np.concatenate([trained * old / total, odds[:, len(self.old) :] / total], axis=1)

    def right_by_others(self, trained: Floats, points: Floats, labels: npt.NDArray[np.int64]) -> int:
        """Returns how many of the new pictures get their class where their own part in its mean is taken out."""
        right = 0
        for place, label in enumerate(labels):
            count = int((labels == label).sum())
            means = self.new.copy()
            means[label] = (count * means[label] - points[place]) / (count - 1)
            one = slice(place, place + 1)
            right += int(self.answers(trained[one], points[one], means).argmax() == trained.shape[1] + label)
        return right


def _read_pictures(bundle: Bundle, pictures: Path) -> tuple[dict[str, Images], list[str]]:
    """Returns the prepared pictures of each class, by name, and what could not be read."""
    if not pictures.is_dir():
        raise UserError(f"{pictures}: no such folder; it must contain one folder of images for each new class")
    folders = sorted(path for path in pictures.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not folders:
        raise UserError(f"{pictures} contains no folder: put the images of each new class into one, {pictures}/NAME/")
    if known := [path.name for path in folders if path.name in bundle.classes]:
        raise UserError(
            f"{pictures / known[0]}: the bundle knows the class {known[0]!r} already: leave it out, or train with it"
        )
    prepared, refused = {}, []
    for folder in folders:
        arrays = []
        for item in inputs.open_all([folder], Limits().max_bytes):
            try:
                arrays.append(bundle.prepare(item.read()))
            except RejectionError as error:
                refused.append(f"{item.name}: {error}")
        if len(arrays) < FEWEST:
            found = f"{len(arrays)} image{'s' * (len(arrays) != 1)}"
            more = f" ({refused[-1]})" if refused else ""
            raise UserError(f"{folder}: {found} that can be read{more}; a class needs at least {FEWEST}, better 10")
        prepared[folder.name] = np.stack(arrays)
    return prepared, refused


def _batches(images: Images) -> Sequence[Images]:
    return [images[start : start + BATCH_SIZE] for start in range(0, len(images), BATCH_SIZE)]


def _answers(network: bytes, images: Images) -> tuple[Floats, Floats]:
    """Returns the probabilities [N, K] and the points [N, R] of images."""
    session = open_session(network, 0)
    parts: list[Any] = [session.run([OUTPUT, extended_graph.POINT], {INPUT: part}) for part in _batches(images)]
    return np.concatenate([p for p, _ in parts]).astype(float), np.concatenate([x for _, x in parts]).astype(float)


def _card(result: Extension, card: str) -> str:
    """Returns the old card with what it no longer says, at the top of its text."""
    names = ", ".join(f"{for_markdown(name)} ({count} images)" for name, count in result.pictures.items())
    total = sum(result.pictures.values())
    note = f"""
## Extended, not trained

Classes were added without training, by the mean of a few images of each: {names}.
{result.right} of these {total} images are classified correctly by the means of the others; how many images of the old
classes are now taken for new ones has not been measured. All figures below are of the bundle before. Train with the
new classes (`train.start_from: champion`) and export for a model that has been tested.

"""
    head, separator, rest = card.partition("\n## ")
    return f"{head}{note}{separator.lstrip()}{rest}"
