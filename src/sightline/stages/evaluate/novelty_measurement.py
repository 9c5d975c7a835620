"""Novelty of images: a detector fitted to training images, its threshold from validation images, its test."""

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
        weights_bytes: Size of the network's weights, which the detector's is held against.
    """

    embed: Callable[[Images], npt.NDArray[np.float32]]
    weights_bytes: int

    @classmethod
    def of(cls, predictor: Predictor) -> Embedder:
        """Returns that of a stored model."""
        from sightline.models.embeddings import embed  # PyTorch: scoring goes without

        tensors = predictor.classifier.state_dict().values()
        return cls(
            functools.partial(embed, predictor), sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        )


@dataclass(frozen=True)
class UnknownResult:
    """Scores of pictures of none of the classes, those that the threshold was not set on.

    Attributes:
        setting: Number of others, which the threshold was set on.
        judged: [m] scores.
    """

    setting: int
    judged: Floats

    @property
    def refused(self) -> int:
        """The number of them that count as novel, as they should."""
        return int((self.judged > 1).sum())

    def auroc(self, test: Floats) -> float:
        """Returns the probability that such a picture has a higher score than a test image, by their scores [n]."""
        ranks = rankdata(np.concatenate([self.judged, test]))[: len(self.judged)]
        count = len(self.judged)
        return float((ranks.sum() - count * (count + 1) / 2) / (count * len(test)))


@dataclass(frozen=True)
class NoveltyResult:
    """The detector, and what it says of held-out images.

    Attributes:
        fitted: Detector and threshold; None where there is no validation image to set it on.
        test: [n] scores of the images that were scored, above 1 those that count as novel; empty without a detector.
        note: The fault of it; empty where there is none.
        unknown: The result on pictures of none of the classes; None where there are none.
    """

    fitted: FittedNovelty | None
    test: Floats
    note: str = ""
    unknown: UnknownResult | None = None

    @property
    def flagged(self) -> Bools:
        """[n] which of the test images count as novel."""
        above: Bools = self.test > 1
        return above


def measure_novelty(embedder: Embedder, data: ProcessedSet, rate: float, batch_size: int, test: Split) -> NoveltyResult:
    """Fits a detector and scores a split with it.

    Of pictures of none of the classes, where there are some, one half sets the threshold with the validation images,
    and the other judges it.

    Args:
        embedder: The network.
        data: The processed set.
        rate: The share of images of the known classes that may count as novel.
        batch_size: Images at a time.
        test: The split that is scored.
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
