"""Comparison of incoming images with a bundle's reference: one test per statistic, corrected for multiple testing."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sightline.core.errors import UserError
from sightline.core.lookahead import map_ahead
from sightline.core.rejection import RejectionError
from sightline.drift import two_sample
from sightline.drift.image_statistics import NAMES, pixel_statistics
from sightline.drift.reference import Reference
from sightline.imaging import convert, decode
from sightline.predict import python_inputs
from sightline.predict.bundle import Bundle
from sightline.predict.inputs import Database, Input
from sightline.predict.manifest import BATCH_SIZE, REFERENCE
from sightline.predict.python_inputs import ImageInput

CLASSES = "classes"
"""The name of the statistic of predicted classes."""
NOVEL = "novel"
"""The name of the statistic for the share of images unlike all classes."""
FEWEST = 10
"""Minimum number of incoming images for a test."""


@dataclass(frozen=True)
class StatisticDrift:
    """The test of one statistic.

    Attributes:
        name: One of `image_statistics.NAMES`, `classes`, or `novel`.
        size: Effect size, 0 to 1: the Kolmogorov-Smirnov statistic; for the classes, the total variation distance; for
            the share of novel images, the difference.
        p: The test's p-value, corrected for the number of tests.
        before: Mean of the reference; for novel images, their share; None for the classes.
        after: The same for the incoming images; None for the classes.
        drifted: Whether p is below alpha.
    """

    name: str
    size: float
    p: float
    before: float | None
    after: float | None
    drifted: bool


@dataclass(frozen=True)
class IncomingImages:
    """Statistics of incoming images.

    Attributes:
        items: [n] the images.
        reference: Their statistics and predicted classes.
        rejected: Number of further images that could not be read.
    """

    items: list[Input]
    reference: Reference
    rejected: int


@dataclass(frozen=True)
class Drift:
    """The comparison.

    Attributes:
        statistics: The tests, in the order of `image_statistics.NAMES`, then the classes, and the share of novel images
            if the model detects them.
        images: Number of incoming images.
        reference: Number of images in the reference.
        rejected: Number of incoming images that could not be read.
        alpha: The allowed false alarm rate.
    """

    statistics: list[StatisticDrift]
    images: int
    reference: int
    rejected: int
    alpha: float

    @property
    def drifted(self) -> bool:
        """Whether any statistic has drifted."""
        return any(statistic.drifted for statistic in self.statistics)


def reference_of(bundle: Bundle) -> Reference:
    """Returns a bundle's reference.

    Raises:
        UserError: If it has none: the bundle is from an older version, or is an extended one.
    """
    if bundle.reference is None:
        raise UserError(bundle.lacking(REFERENCE))
    return Reference.from_bytes(bundle.reference)


def measure_incoming(
    bundle: Bundle, images: ImageInput | Sequence[ImageInput], database: Database | None, max_bytes: int
) -> IncomingImages:
    """Measures incoming images; memory holds a few batches of them.

    Args:
        bundle: The bundle, whose predictions are measured as well.
        images: As for `Bundle.predict`.
        database: As for `Bundle.predict`.
        max_bytes: Largest file that is read.
    """
    inputs: list[Input] = []
    rows: list[npt.NDArray[np.float32]] = []
    classes: list[int] = []
    novelty: list[float] = []
    rejected = 0
    workers = os.cpu_count() or 1
    items = python_inputs.python_images(images, max_bytes, database)
    with contextlib.closing(map_ahead(functools.partial(_look_at, bundle), items, workers, 4 * workers)) as looked:
        while batch := list(itertools.islice(looked, BATCH_SIZE)):
            read = [one for one in batch if one is not None]
            rejected += len(batch) - len(read)
            if not read:
                continue
            answers = bundle.answers(np.stack([prepared for *_, prepared in read]))
            inputs += [item for item, *_ in read]
            for (_, pixels, _), answer in zip(read, answers, strict=True):
                rows.append(np.append(pixels, answer.probabilities.max()))
                classes.append(int(answer.probabilities.argmax()))
                if answer.novelty is not None:
                    novelty.append(answer.novelty)
    statistics = np.stack(rows) if rows else np.zeros((0, len(NAMES)), np.float32)
    scores = np.array(novelty, np.float32) if bundle.tells_novelty else None
    return IncomingImages(inputs, Reference(statistics, np.array(classes, np.int64), scores), rejected)


def _look_at(bundle: Bundle, item: Input) -> tuple[Input, npt.NDArray[np.float32], npt.NDArray[np.uint8]] | None:
    """Returns an image, its pixel statistics and the network's input; None if it cannot be read."""
    try:
        data = item.read()
        pixels = decode.decode(data) if isinstance(data, bytes) else convert.in_channels(data, 3)
        return item, pixel_statistics(pixels), bundle.prepare(data)
    except RejectionError:
        return None


def compare_samples(reference: Reference, incoming: IncomingImages, num_classes: int, alpha: float = 0.05) -> Drift:
    """Compares incoming images with a reference.

    Args:
        reference: The bundle's reference.
        incoming: The incoming images.
        num_classes: K.
        alpha: The allowed false alarm rate over all tests together, 0 to 1.

    Raises:
        UserError: If there are too few images for a test.
    """
    seen = incoming.reference
    if len(seen.classes) < FEWEST:
        left = f", {incoming.rejected:,} could not (sightline predict says why)" if incoming.rejected else ""
        raise UserError(f"{len(seen.classes)} images could be read{left}: drift needs at least {FEWEST}")
    tests = [
        two_sample.kolmogorov_smirnov(a, b) for a, b in zip(reference.statistics.T, seen.statistics.T, strict=True)
    ]
    tests.append(two_sample.class_shift(reference.classes, seen.classes, num_classes))
    means = [*zip(reference.statistics.mean(axis=0), seen.statistics.mean(axis=0), strict=True), (None, None)]
    names = [*NAMES, CLASSES]
    if reference.novelty is not None and seen.novelty is not None:
        flags = [(sample > 1).astype(np.int64) for sample in (reference.novelty, seen.novelty)]
        tests.append(two_sample.class_shift(flags[0], flags[1], 2))
        means.append((flags[0].mean(), flags[1].mean()))
        names.append(NOVEL)
    corrected = two_sample.holm([p for _, p in tests])
    statistics = [
        StatisticDrift(
            name, size, p, None if before is None else float(before), None if after is None else float(after), p < alpha
        )
        for name, (size, _), p, (before, after) in zip(names, tests, corrected, means, strict=True)
    ]
    return Drift(statistics, len(seen.classes), len(reference.classes), incoming.rejected, alpha)


def telling(reference: Reference, incoming: IncomingImages, statistic: str, count: int) -> list[int]:
    """Returns the positions of the incoming images with the strongest evidence of drift, strongest first.

    These are the images with the most extreme values in the direction in which the mean moved; for predicted classes,
    those of the class whose share has grown most, most confident first; for novel images, the most novel.
    """
    seen = incoming.reference
    if statistic == NOVEL and seen.novelty is not None:
        return [int(i) for i in np.argsort(-seen.novelty, kind="stable")[:count]]
    if statistic == CLASSES:
        k = 1 + int(max(reference.classes.max(), seen.classes.max()))
        grown = np.bincount(seen.classes, minlength=k) / len(seen.classes)
        label = int((grown - np.bincount(reference.classes, minlength=k) / len(reference.classes)).argmax())
        confidence = np.where(seen.classes == label, seen.statistics[:, NAMES.index("confidence")], -1)
        return [int(i) for i in np.argsort(-confidence, kind="stable")[:count] if confidence[i] >= 0]
    column = NAMES.index(statistic)
    values = seen.statistics[:, column]
    upwards = values.mean() >= reference.statistics[:, column].mean()
    return [int(i) for i in np.argsort(-values if upwards else values, kind="stable")[:count]]


def drift_lines(drift: Drift) -> Iterator[str]:
    """Yields the lines for the terminal: a row per statistic, and the verdict."""
    yield f"{'statistic':<11} {'reference':>9} {'incoming':>9} {'size':>6} {'p':>7}"
    for s in drift.statistics:
        means = f"{_mean(s.before):>9} {_mean(s.after):>9}"
        yield f"{s.name:<11} {means} {s.size:>6.3f} {s.p:>7.4f}{'  drift' if s.drifted else ''}"
    yield verdict(drift)


def verdict(drift: Drift) -> str:
    """Returns the result in a sentence."""
    names = [s.name for s in drift.statistics if s.drifted]
    lead = f"drift in {', '.join(names)}" if names else "no drift"
    rejected = f"; {drift.rejected:,} more could not be read" if drift.rejected else ""
    return f"{lead}: {drift.images:,} images compared with {drift.reference:,} of the reference{rejected}"


def _mean(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
