"""`sift_svm`: SIFT descriptors as a bag of visual words, and a support vector machine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from sightline.core.seeds import derive
from sightline.datasets.stratified_sample import stratified_sample
from sightline.metrics.base import Floats, Labels
from sightline.models.tuned_estimator import Settings, TunedEstimator
from sightline.stages.baseline.features import BATCH, Features, grey
from sightline.stages.baseline.method import METHODS, BaselineMethod

if TYPE_CHECKING:
    import cv2
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.svm import SVC

    from sightline.datasets.processed_set import Images
    from sightline.stages.baseline.config import BaselineConfig

GRID = [{"C": c, "gamma": gamma} for c in (1.0, 10.0) for gamma in (1.0, 2.0, 4.0)]
"""Settings of the SVM to choose from. The histograms have length 1, so gamma needs no scaling."""

GRID_STEPS = 8
"""Points along the shorter side of the dense grid that replaces keypoints in an image without any."""


@METHODS.register("sift_svm")
class SiftSvmBaseline(BaselineMethod):
    """Assigns keypoint descriptors to the nearest words of a vocabulary, and classifies histograms of words.

    Csurka et al. (2004), "Visual categorization with bags of keypoints"; descriptors and histograms are compared by
    their square roots (Arandjelovic and Zisserman (2012), "Three things everyone should know to improve object
    retrieval"); the SVM has a Gaussian kernel.
    """

    title: ClassVar[str] = "SIFT, bag of words, SVM"

    def __init__(self, config: BaselineConfig, num_classes: int) -> None:
        super().__init__(config, num_classes)
        self._words = np.zeros((0, 128), np.float32)
        self._assign: MiniBatchKMeans | None = None
        self._model = TunedEstimator(_fit, GRID, config, num_classes)
        self.notes = self._model.notes

    def fit(self, images: Images, labels: Labels) -> None:
        from sklearn.cluster import MiniBatchKMeans
        from threadpoolctl import threadpool_limits

        config = self.config
        rows = stratified_sample(labels, config.kernel_images, config.seed, "kernel")
        if len(rows) < len(labels):
            self.notes.append(f"fitted on {len(rows):,} of {len(labels):,} training images (kernel_images)")
        images, labels = images[rows], labels[rows]
        some = stratified_sample(labels, config.vocabulary_images, config.seed, "vocabulary")
        of_images = [descriptors(image, config.sift_side) for image in images[some]]
        found, numbers = np.concatenate(of_images), [len(each) for each in of_images]
        del of_images
        # Threads add their parts of a mean in the order in which they finish, which varies from run to run.
        with threadpool_limits(1, "openmp"):
            self._assign = MiniBatchKMeans(
                min(config.words, len(found)),
                batch_size=4096,
                max_iter=20,
                n_init=1,
                random_state=derive(config.seed, "words") % 2**32,
            ).fit(found)
        features = np.empty((len(images), self._assign.n_clusters), np.float32)
        features[some] = histograms(self._assign.predict(found), numbers, self._assign.n_clusters)
        rest = np.setdiff1d(np.arange(len(images)), some)
        if len(rest):
            features[rest] = self._features(images[rest])
        self._model.fit(features, labels)

    def predict_proba(self, images: Images) -> Floats:
        return self._model.predict_proba(self._features(images))

    def parameters(self) -> dict[str, Any]:
        return {"words": 0 if self._assign is None else self._assign.n_clusters, **self._model.parameters()}

    def arrays(self) -> Iterable[npt.NDArray[Any]]:
        words = [] if self._assign is None else [self._assign.cluster_centers_]
        return [*words, *self._model.arrays("support_vectors_", "dual_coef_", "intercept_")]

    def _features(self, images: Images) -> Features:
        if self._assign is None:
            raise RuntimeError("not fitted")
        parts = []
        with ThreadPoolExecutor(self.config.threads) as pool:
            for start in range(0, len(images), BATCH):
                of_images = list(pool.map(self._descriptors, images[start : start + BATCH]))
                words = self._assign.predict(np.concatenate(of_images))
                parts.append(histograms(words, [len(found) for found in of_images], self._assign.n_clusters))
        return np.concatenate(parts)

    def _descriptors(self, image: npt.NDArray[np.uint8]) -> Features:
        return descriptors(image, self.config.sift_side)


def _fit(features: Features, labels: Labels, settings: Settings) -> SVC:
    from sklearn.svm import SVC

    return SVC(C=settings["C"], gamma=settings["gamma"]).fit(features, labels)


def histograms(words: npt.NDArray[np.int32], numbers: Sequence[int], count: int) -> Features:
    """Returns the square roots of each image's shares of words, [n, count] float32; each row has length 1.

    Args:
        words: The word of each descriptor, in order of the images.
        numbers: Number of descriptors of each image, at least one.
        count: Number of words.
    """
    row = np.repeat(np.arange(len(numbers)), numbers)
    counts = np.bincount(row * count + words, minlength=len(numbers) * count).reshape(-1, count)
    roots: Features = np.sqrt(counts / np.array(numbers)[:, None]).astype(np.float32)
    return roots


def descriptors(image: npt.NDArray[np.uint8], side: int) -> Features:
    """Returns the square roots of an image's SIFT descriptors, [keypoints, 128] float32, each of length 1 or 0.

    There is at least one keypoint.

    Args:
        image: [h, w, c] uint8.
        side: Minimum shorter side in px, to which smaller images are enlarged: SIFT needs 16 x 16 samples around each
            keypoint, more than a small image has.
    """
    import cv2

    brightness = grey(image)
    factor = side / min(brightness.shape)
    if factor > 1:
        brightness = np.asarray(
            cv2.resize(brightness, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC), np.uint8
        )
    sift = cv2.SIFT.create()
    keypoints, found = sift.detectAndCompute(brightness, None)
    if not len(keypoints):
        _, found = sift.compute(brightness, grid(*brightness.shape))
    sums = found.sum(axis=1, keepdims=True)
    roots: Features = np.sqrt(found / np.maximum(sums, 1)).astype(np.float32)
    return roots


def grid(height: int, width: int) -> list[cv2.KeyPoint]:
    """Returns evenly spaced keypoints, `GRID_STEPS` along the shorter side, each with a diameter of two steps."""
    import cv2

    step = min(height, width) / GRID_STEPS
    rows, columns = (np.arange(step / 2, length, step) for length in (height, width))
    return [cv2.KeyPoint(float(x), float(y), 2 * step) for y in rows for x in columns]
