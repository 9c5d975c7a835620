"""Novelty detector: the distance of an image to a network's training images. Needs NumPy only."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sightline.core import files
from sightline.core.errors import UserError
from sightline.core.seeds import derive
from sightline.metrics.base import Floats, Labels
from sightline.metrics.conformal import NoveltyThresholds

SCALES = (1, 2, 4)
"""Sides of the square blocks, in pixels, that images are averaged over; 1 keeps the image."""

SMALLEST_SIDE = 4
"""Minimum length of the shorter side after averaging, in pixels."""

RIDGE = 1e-3
"""Fraction of the mean variance added to each direction's, so that low-variance directions do not dominate."""

FLOOR = 1e-2
"""Lower bound of a feature's deviation, as a fraction of the root mean square deviation of its kind of features."""

FILTERS = np.array(
    [
        [[0, 0, 0], [0, -1, 1], [0, 0, 0]],
        [[0, 0, 0], [0, -1, 0], [0, 1, 0]],
        [[0, 0, 0], [1, -2, 1], [0, 0, 0]],
        [[0, 1, 0], [0, -2, 0], [0, 1, 0]],
        [[0, 0, 0], [0, -1, 0], [0, 0, 1]],
        [[0, 0, 0], [0, -1, 0], [1, 0, 0]],
        [[0, 0, 0], [0, 1, -1], [0, -1, 1]],
    ],
    np.float32,
)
"""[7, 3, 3]: first and second differences across and down; differences along both diagonals, and across and down."""

STRAIGHT = 4
"""Number of the first `FILTERS` whose mean absolute values are used in addition to their root mean squares."""

MOMENTS = (3, 1, 6, 2, 4)
"""Indices of y, x, y², x² and xy in the flattened 3x3 products of powers of y (rows) and x; index 0 is the total."""

FEWEST_DIRECTIONS = 16

FITTED_IMAGES = 10_000
"""Maximum number of training images that a detector is fitted to."""

Images = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class NoveltyDetector:
    """The distance of an image to the nearest class of the training images, in standard deviations (Mahalanobis).

    Lee et al. (2018), "A simple unified framework for detecting out-of-distribution samples": class means and one
    covariance matrix. An image's features are the network's embedding and some statistics of its pixels, which detect
    what the network has learnt to ignore, such as noise. The embedding is projected onto random directions if the
    matrix would otherwise be too large. The statistics are not, since a projection would dilute their signal.

    Attributes:
        center: [D + P] float32, mean of the features: the embedding, then the pixel statistics.
        scale: [D + P] float32, factors of the centred features.
        drawn: [D, E] int8, directions for the standardised embedding: random signs, or the identity.
        projection: [E + P, R] float16, R = E + P uncorrelated directions with unit variance within a class.
        means: [C, R] float32, the means in these directions of the C classes that have training images.
    """

    center: npt.NDArray[np.float32]
    scale: npt.NDArray[np.float32]
    drawn: npt.NDArray[np.int8]
    projection: npt.NDArray[np.float16]
    means: npt.NDArray[np.float32]

    def distances(self, images: Images, embeddings: npt.NDArray[np.float32]) -> Floats:
        """Returns the distance of each image to the nearest class mean, [n]; see `nearest`."""
        return self.nearest(images, embeddings)[0]

    def nearest(self, images: Images, embeddings: npt.NDArray[np.float32]) -> tuple[Floats, Labels]:
        """Returns the distance of each image to the nearest class mean, [n], and that mean's row in `means`, [n].

        Args:
            images: [n, height, width, channels] uint8, prepared.
            embeddings: [n, D] float32 of these images.
        """
        standard = _reduced(_standardised(features(images, embeddings), self.center, self.scale), self.drawn)
        projected = standard @ self.projection.astype(float)
        nearest = _squared_distances(projected, self.means.astype(float)).argmin(axis=1)
        return np.linalg.norm(projected - self.means[nearest], axis=1), nearest


@dataclass(frozen=True)
class FittedNovelty:
    """A detector with its thresholds: what the evaluate stage writes, and the export stage puts into the bundle.

    Attributes:
        detector: The detector.
        thresholds: Distances above which an image is novel; `of_class` has the order of the detector's means.
        rate: The fraction of images of known classes that may be above the threshold, 0 to 1.
        images: Number of validation images that the thresholds were set on.
    """

    detector: NoveltyDetector
    thresholds: NoveltyThresholds
    rate: float
    images: int

    def scores(self, images: Images, embeddings: npt.NDArray[np.float32]) -> Floats:
        """Returns [n] distances in units of the nearest class's threshold: above 1 an image is novel."""
        distances, nearest = self.detector.nearest(images, embeddings)
        return distances / self.thresholds.of_class[nearest]


def joined(parts: Iterable[tuple[Floats, Labels]]) -> tuple[Floats, Labels]:
    """Concatenates the distances and rows that `NoveltyDetector.nearest` returned for batches."""
    distances, rows = [np.zeros(0)], [np.zeros(0, np.int64)]
    for distance, row in parts:
        distances.append(distance)
        rows.append(row)
    return np.concatenate(distances), np.concatenate(rows)


def pixel_features(images: Images) -> Floats:
    """Returns statistics of prepared images [n, height, width, channels], [n, P] float64, in levels, 0..255.

    Mean and standard deviation of each channel; position and extent of the brightness (first and second moments of the
    grey levels + 1, from -1 to 1 along each side); then, at each of `SCALES` that the image's size permits, mean
    absolute values (for the first `STRAIGHT`) and root mean squares of the responses to `FILTERS`. The two differ
    between few sharp edges and many soft ones.
    """
    levels = images.astype(np.float64)
    grey = levels.mean(axis=3)
    down, across = (powers(side) for side in grey.shape[1:])
    moments = (down.T @ ((grey + 1) @ across)).reshape(-1, 9)
    columns = [levels.mean(axis=(1, 2)), levels.std(axis=(1, 2)), moments[:, MOMENTS] / moments[:, :1]]
    for scale in scales(images.shape[1:3]):
        height, width = (side // scale for side in grey.shape[1:])
        cropped = grey[:, : height * scale, : width * scale]
        small = cropped.reshape(-1, height, scale, width, scale).mean(axis=(2, 4))
        rows, length = small.shape[1] - 2, small.shape[2] - 2
        places = [(y, x) for y in range(3) for x in range(3)]
        changes = [
            sum(float(taps[y, x]) * small[:, y : y + rows, x : x + length] for y, x in places if taps[y, x])
            for taps in FILTERS
        ]
        columns += [np.abs(change).mean(axis=(1, 2))[:, None] for change in changes[:STRAIGHT]]
        columns += [np.sqrt((change**2).mean(axis=(1, 2)))[:, None] for change in changes]
    return np.concatenate(columns, axis=1)


def powers(side: int) -> Floats:
    """Returns the powers 0, 1 and 2 of the pixels' positions along a side, from -1 to 1, [side, 3]."""
    return np.linspace(-1, 1, side)[:, None] ** np.arange(3)


def scales(size: tuple[int, ...]) -> list[int]:
    """Returns those of `SCALES` that are used for images of this height and width."""
    return [scale for scale in SCALES if min(size) // scale >= SMALLEST_SIDE]


def features(images: Images, embeddings: npt.NDArray[np.float32]) -> Floats:
    """Returns the features [n, F] float64 for the distances: embeddings, then pixel statistics."""
    return np.concatenate([embeddings.astype(np.float64), pixel_features(images)], axis=1)


def fit(values: Floats, labels: Labels, pixel_count: int, directions: int) -> NoveltyDetector:
    """Fits a detector to training images.

    Args:
        values: [n, F] the images' `features`, n >= 1.
        labels: [n] class indices.
        pixel_count: Number of pixel statistics, which are the last features.
        directions: Maximum E; a shorter embedding is not projected.
    """
    present, places = np.unique(labels, return_inverse=True)
    counts = np.bincount(places)
    count = values.shape[1]

    def class_means(of: Floats) -> Floats:
        sums = np.zeros((len(present), of.shape[1]))
        np.add.at(sums, places, of)
        return sums / counts[:, None]

    deviations = np.sqrt(((values - class_means(values)[places]) ** 2).mean(axis=0))
    for kind in (slice(0, count - pixel_count), slice(count - pixel_count, count)):
        root_mean_square = float(np.sqrt((deviations[kind] ** 2).mean())) if deviations[kind].size else 0.0
        deviations[kind] = deviations[kind].clip(FLOOR * root_mean_square or 1.0)
    center, scale = values.mean(axis=0).astype(np.float32), (1 / deviations).astype(np.float32)
    standard = _standardised(values, center, scale)
    width = count - pixel_count
    drawn = np.eye(width, dtype=np.int8)
    if directions < width:
        signs = np.random.default_rng(derive(0, "novelty directions")).integers(0, 2, (width, directions))
        drawn = (2 * signs - 1).astype(np.int8)
    projected = _reduced(standard, drawn)
    # Otherwise sums over many signs would dominate the covariance's trace, which determines the ridge.
    unit = np.append(np.full(drawn.shape[1], 1 / np.sqrt(width) if directions < width else 1.0), np.ones(pixel_count))
    projected *= unit
    within = projected - class_means(projected)[places]
    covariance = within.T @ within / len(within)
    ridge = RIDGE * np.trace(covariance) / len(covariance) or 1.0
    whitening = np.linalg.inv(np.linalg.cholesky(covariance + ridge * np.eye(len(covariance)))).T
    projection = (unit[:, None] * whitening).astype(np.float16)
    means = class_means(_reduced(standard, drawn) @ projection.astype(np.float64)).astype(np.float32)
    return NoveltyDetector(center, scale, drawn, projection, means)


def directions_for(weights_bytes: int, width: int, pixel_count: int, num_classes: int, share: float = 0.035) -> int:
    """Returns the largest number of directions for which the detector adds at most a fraction to a network's size.

    It is at least `FEWEST_DIRECTIONS`.

    Args:
        weights_bytes: Size of the network's weights.
        width: Length of the embedding, D.
        pixel_count: Number of pixel statistics, P.
        num_classes: Number of classes, K.
        share: The fraction.
    """
    count = FEWEST_DIRECTIONS
    while count < width:
        total = count + 1 + pixel_count
        size = 8 * (width + pixel_count) + width * (count + 1) + 2 * total**2 + 4 * num_classes * total
        if size > share * weights_bytes:
            break
        count += 1
    return count


def detector_bytes(fitted: FittedNovelty | None) -> bytes:
    """Returns the content of the file, an archive of NumPy, which is empty if there is no detector."""
    arrays: dict[str, npt.ArrayLike] = {}
    if fitted is not None:
        arrays = vars(fitted.detector) | {
            **{name: np.asarray(value) for name, value in vars(fitted.thresholds).items()},
            "rate": np.float64(fitted.rate),
            "images": np.int64(fitted.images),
        }
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


def save_detector(fitted: FittedNovelty | None, path: Path) -> None:
    """Writes a detector's file."""
    files.write_bytes(path, detector_bytes(fitted))


def load_detector(path: Path) -> FittedNovelty | None:
    """Reads a detector's file; None if it contains no detector.

    Raises:
        UserError: If it is missing or damaged.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            if not arrays.files:
                return None
            names = ("center", "scale", "drawn", "projection", "means")
            detector = NoveltyDetector(*(arrays[name] for name in names))
            thresholds = NoveltyThresholds(
                float(arrays["pooled"]), arrays["of_class"], int(arrays["sharing"]), bool(arrays["enough"])
            )
            return FittedNovelty(detector, thresholds, float(arrays["rate"]), int(arrays["images"]))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run the evaluate stage") from None
    except (ValueError, KeyError, OSError, EOFError) as error:
        raise UserError(f"{path} is damaged ({error}): run the evaluate stage again") from None


def _standardised(values: Floats, center: npt.NDArray[np.float32], scale: npt.NDArray[np.float32]) -> Floats:
    standard: Floats = (values - center) * scale
    return standard


def _reduced(standard: Floats, drawn: npt.NDArray[np.int8]) -> Floats:
    """Projects the embedding part of standardised features [n, D + P] onto its directions: [n, E + P]."""
    width = len(drawn)
    return np.concatenate([standard[:, :width] @ drawn.astype(float), standard[:, width:]], axis=1)


def _squared_distances(points: Floats, means: Floats) -> Floats:
    squares: Floats = (points**2).sum(axis=1)[:, None] - 2 * points @ means.T + (means**2).sum(axis=1)
    return squares
