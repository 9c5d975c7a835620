"""Novelty detector: how far an image is from all that a network was trained on. NumPy alone."""

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
"""The image is looked at as it is, and averaged over squares of so many pixels a side."""

SMALLEST_SIDE = 4
"""Pixels that a scale must leave of the shorter side."""

RIDGE = 1e-3
"""Share of the mean variance that is added to each direction's: what training images hardly vary in is no certainty."""

FLOOR = 1e-2
"""Share of the root mean square deviation of the features of one kind below which no feature's deviation counts."""

FEWEST_DIRECTIONS = 16

FITTED_IMAGES = 10_000
"""Training images that a detector is fitted to, at most."""

Images = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class NoveltyDetector:
    """The distance of an image to the nearest class of the training images, in standard deviations (Mahalanobis).

    Lee et al. (2018), "A simple unified framework for detecting out-of-distribution samples": class means and one
    covariance matrix. An image's features are the network's embedding, and a dozen statistics of its pixels: what the
    network has learnt to ignore, as noise, is seen by these. They are projected on random directions where the matrix
    would be too large.

    Attributes:
        center: [F] float32, mean of the features.
        scale: [F] float32, what the centred features are multiplied by.
        projection: [F, R] float16, directions in which the features of a class have unit variance, uncorrelated.
        means: [C, R] float32, the classes' means in these directions; of those classes that have training images.
    """

    center: npt.NDArray[np.float32]
    scale: npt.NDArray[np.float32]
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
        projected = _standardised(features(images, embeddings), self.center, self.scale) @ self.projection.astype(float)
        nearest = _squared_distances(projected, self.means.astype(float)).argmin(axis=1)
        return np.linalg.norm(projected - self.means[nearest], axis=1), nearest


@dataclass(frozen=True)
class FittedNovelty:
    """A detector with its thresholds: what the evaluate stage writes, and the export stage puts into the bundle.

    Attributes:
        detector: The detector.
        thresholds: Distances above which an image is novel; `of_class` by the rows of the detector's means.
        rate: The share of images of the known classes that may be above it, 0 to 1.
        images: Validation images that the thresholds were set on.
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
    """Returns the distances and rows that `NoveltyDetector.nearest` gave for batches, as of one."""
    distances, rows = [np.zeros(0)], [np.zeros(0, np.int64)]
    for distance, row in parts:
        distances.append(distance)
        rows.append(row)
    return np.concatenate(distances), np.concatenate(rows)


def pixel_features(images: Images) -> Floats:
    """Returns statistics of prepared images [n, height, width, channels], [n, P] float64, in levels, 0..255.

    Mean and standard deviation of each channel; then, at each of `SCALES` that the image's size allows, the mean
    absolute first and second differences of the grey levels, across and down.
    """
    levels = images.astype(np.float64)
    grey = levels.mean(axis=3)
    columns = [levels.mean(axis=(1, 2)), levels.std(axis=(1, 2))]
    for scale in scales(images.shape[1:3]):
        height, width = (side // scale for side in grey.shape[1:])
        cropped = grey[:, : height * scale, : width * scale]
        small = cropped.reshape(-1, height, scale, width, scale).mean(axis=(2, 4))
        middle, right, left = small[:, 1:-1, 1:-1], small[:, 1:-1, 2:], small[:, 1:-1, :-2]
        below, above = small[:, 2:, 1:-1], small[:, :-2, 1:-1]
        changes = [right - middle, below - middle, left - 2 * middle + right, above - 2 * middle + below]
        columns += [np.abs(change).mean(axis=(1, 2))[:, None] for change in changes]
    return np.concatenate(columns, axis=1)


def scales(size: tuple[int, ...]) -> list[int]:
    """Returns those of `SCALES` at which images of this height and width are looked at."""
    return [scale for scale in SCALES if min(size) // scale >= SMALLEST_SIDE]


def features(images: Images, embeddings: npt.NDArray[np.float32]) -> Floats:
    """Returns the features that distances are measured in, [n, F] float64: embeddings, then statistics of pixels."""
    return np.concatenate([embeddings.astype(np.float64), pixel_features(images)], axis=1)


def fit(values: Floats, labels: Labels, pixel_count: int, directions: int) -> NoveltyDetector:
    """Fits a detector to training images.

    Args:
        values: [n, F] their `features`, n >= 1.
        labels: [n] class indices.
        pixel_count: Number of the features, the last, that are statistics of pixels.
        directions: R, at most; fewer where there are fewer features.
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
    drawn = np.eye(count)
    if directions < count:
        signs = np.random.default_rng(derive(0, "novelty directions")).integers(0, 2, (count, directions))
        drawn = (2.0 * signs - 1) / np.sqrt(count)
    projected = standard @ drawn
    within = projected - class_means(projected)[places]
    covariance = within.T @ within / len(within)
    ridge = RIDGE * np.trace(covariance) / len(covariance) or 1.0
    whitening = np.linalg.inv(np.linalg.cholesky(covariance + ridge * np.eye(len(covariance)))).T
    projection = (drawn @ whitening).astype(np.float16)
    means = class_means(standard @ projection.astype(np.float64)).astype(np.float32)
    return NoveltyDetector(center, scale, projection, means)


def directions_for(weights_bytes: int, feature_count: int, num_classes: int, share: float = 0.035) -> int:
    """Returns how many directions a detector may have, so that it adds no more than a share to a network's size.

    Args:
        weights_bytes: Size of the network's weights.
        feature_count: F.
        num_classes: K.
        share: The share.
    """
    left = share * weights_bytes - 8 * feature_count
    return max(FEWEST_DIRECTIONS, int(left // (2 * feature_count + 4 * num_classes)))


def detector_bytes(fitted: FittedNovelty | None) -> bytes:
    """Returns the content of the file: NumPy's archive; without a detector an empty one."""
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
    """Writes the file."""
    files.write_bytes(path, detector_bytes(fitted))


def load_detector(path: Path) -> FittedNovelty | None:
    """Reads the file; None where it holds no detector.

    Raises:
        UserError: If it is missing or damaged.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            if not arrays.files:
                return None
            detector = NoveltyDetector(*(arrays[name] for name in ("center", "scale", "projection", "means")))
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


def _squared_distances(points: Floats, means: Floats) -> Floats:
    squares: Floats = (points**2).sum(axis=1)[:, None] - 2 * points @ means.T + (means**2).sum(axis=1)
    return squares
