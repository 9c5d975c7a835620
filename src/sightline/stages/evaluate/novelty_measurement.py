"""Measurement of novelty detection: fits a detector, sets its threshold on validation images, and tests it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from sightline.core import progress
from sightline.datasets.processed_set import Images, ProcessedSet, Split
from sightline.datasets.stratified_sample import stratified_sample
from sightline.metrics import conformal
from sightline.metrics.base import Bools, Floats, Labels
from sightline.models import novelty_detector
from sightline.models.novelty_detector import FittedNovelty

if TYPE_CHECKING:
    from sightline.models.inference import Predictor


@dataclass(frozen=True)
class Embedder:
    """A network's embeddings.

    Attributes:
        embed: Maps images [n, height, width, channels] uint8 to embeddings [n, D] float32.
        weights_bytes: Size of the network's weights, which limits the size of the detector.
    """

    embed: Callable[[Images], npt.NDArray[np.float32]]
    weights_bytes: int

    @classmethod
    def of(cls, predictor: Predictor) -> Embedder:
        """Returns the embedder of a stored model."""
        from sightline.models.embeddings import embed  # imports PyTorch, which scoring does not need

        tensors = predictor.classifier.state_dict().values()
        return cls(
            functools.partial(embed, predictor), sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        )


@dataclass(frozen=True)
class UnknownResult:
    """Scores of images of none of the classes, for those that were not used to set the threshold.

    Attributes:
        setting: Number of such images that were used to set the threshold.
        judged: [m] scores of the others.
    """

    setting: int
    judged: Floats

    @property
    def refused(self) -> int:
        """The number of these images that are correctly detected as novel."""
        return int((self.judged > 1).sum())

    def auroc(self, test: Floats) -> float:
        """Returns the AUROC against test images with scores [n]: the probability that an unknown one scores higher."""
        ranks = rankdata(np.concatenate([self.judged, test]))[: len(self.judged)]
        count = len(self.judged)
        return float((ranks.sum() - count * (count + 1) / 2) / (count * len(test)))


@dataclass(frozen=True)
class NoveltyResult:
    """The detector and its scores on held-out images.

    Attributes:
        fitted: Detector and thresholds; None if they could not be determined.
        test: [n] scores of the test images, of which those above 1 are novel; empty without a detector.
        note: A remark on a problem; empty if there is none.
        unknown: The result on images of none of the classes; None if there are none.
    """

    fitted: FittedNovelty | None
    test: Floats
    note: str = ""
    unknown: UnknownResult | None = None

    @property
    def flagged(self) -> Bools:
        """[n] whether each test image counts as novel."""
        above: Bools = self.test > 1
        return above


def measure_novelty(embedder: Embedder, data: ProcessedSet, rate: float, batch_size: int, test: Split) -> NoveltyResult:
    """Fits a detector and scores a split with it.

    If there are images of none of the classes, one half is used with the validation images to set the thresholds, and
    the other half to test them.

    Args:
        embedder: The network.
        data: The processed set.
        rate: The fraction of images of known classes that may count as novel.
        batch_size: Images per batch.
        test: The split to score.
    """
    validation, unknown, nothing = data.split("val"), data.unknown, np.zeros(0)
    if not len(validation):
        return NoveltyResult(None, nothing, "there is no validation image to set its threshold on")
    train, originals = data.split("train"), data.originals("train")
    chosen = originals[stratified_sample(train.labels[originals], novelty_detector.FITTED_IMAGES, 0, "novelty")]
    parts = [
        novelty_detector.features(images, embedder.embed(images))
        for images in _batches(train, chosen, batch_size, "training images")
    ]
    values = np.concatenate(parts)
    pixel_count = novelty_detector.pixel_features(np.zeros((1, *data.shape), np.uint8)).shape[1]
    width = values.shape[1] - pixel_count
    directions = novelty_detector.directions_for(embedder.weights_bytes, width, pixel_count, len(data.classes))
    detector = novelty_detector.fit(values, train.labels[chosen], pixel_count, directions)

    def nearest(split: Split, name: str) -> tuple[Floats, Labels]:
        batches = _batches(split, np.arange(len(split)), batch_size, name)
        return novelty_detector.joined(detector.nearest(images, embedder.embed(images)) for images in batches)

    held_out, at = nearest(validation, "validation images")
    setting = nearest(unknown.split("val"), "unknown images") if unknown else None
    thresholds = conformal.novelty_thresholds(held_out, at, len(detector.means), rate, setting)
    note = ""
    if not thresholds.enough:
        note = (
            f"{len(held_out)} validation images are too few for a rate of {rate:g}, which needs "
            f"{conformal.images_for(rate)}: the largest distance among them is the threshold"
        )
    if not 0 < thresholds.pooled < np.inf:
        return NoveltyResult(None, nothing, "the network gives all validation images the same embedding")
    fitted = FittedNovelty(detector, thresholds, rate, len(held_out))

    def scores(split: Split, name: str) -> Floats:
        distances, rows = nearest(split, name)
        return distances / thresholds.of_class[rows]

    judged = None
    if unknown and setting is not None:
        judged = UnknownResult(len(setting[0]), scores(unknown.split("test"), "unknown images"))
    return NoveltyResult(fitted, scores(test, "test images"), note, judged)


def _batches(split: Split, places: npt.NDArray[np.int64], size: int, name: str) -> Iterator[Images]:
    for start in progress.track(range(0, len(places), size), name, len(places), each=size):
        yield split.images(places[start : start + size])
