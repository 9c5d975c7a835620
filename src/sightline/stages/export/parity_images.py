"""Images for the parity check, both as evaluation saw them and as prediction will see them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sightline.core.errors import UserError
from sightline.core.progress import track
from sightline.core.rejection import RejectionError
from sightline.datasets.processed_set import Images, ProcessedSet
from sightline.datasets.raw_set import RawImage, raw_shards
from sightline.drift.image_statistics import PIXELS, pixel_statistics
from sightline.imaging import decode
from sightline.predict.inference_model import InferenceModel
from sightline.predict.manifest import BATCH_SIZE

SPLITS = ("test", "val")
"""Splits that the images are taken from, in this order; the network was not trained on them."""


@dataclass(frozen=True)
class ParityImages:
    """Images from both ends of the pipeline, in the order of the raw shards.

    Attributes:
        ids: [N] sample ids.
        labels: [N] int64 class indices.
        stored: uint8 [N, H, W, C], the preprocess stage's images, on which the trained model was evaluated.
        prepared: uint8 [N, H, W, C], the same images decoded and transformed by the bundle from their encoded bytes.
        counts: Number of images from each split.
        statistics: float32 [N, 6] pixel statistics of the decoded images (see `drift.image_statistics`).
    """

    ids: list[str]
    labels: npt.NDArray[np.int64]
    stored: Images
    prepared: Images
    counts: dict[str, int]
    statistics: npt.NDArray[np.float32]

    def run(self, network: Callable[[Images], Any], images: Images | None = None) -> Any:
        """Runs a network on `prepared`, or on other images, in batches; returns its outputs, such as [N, K]."""
        images = self.prepared if images is None else images
        return np.concatenate([network(images[i : i + BATCH_SIZE]) for i in range(0, len(images), BATCH_SIZE)])


@dataclass(frozen=True)
class ParitySample:
    """An image of the parity check: its split, and its position there."""

    split: str
    position: int


def choose_images(data: ProcessedSet, count: int) -> dict[str, ParitySample]:
    """Chooses at most `count` images, by id, evenly spaced in their split, since ids often sort by class.

    They are test images, plus validation images if there are too few test images.

    Raises:
        UserError: If there are no such images.
    """
    chosen: dict[str, ParitySample] = {}
    for name in SPLITS:
        split = data.split(name)
        wanted = min(len(split), count - len(chosen))
        for position in np.linspace(0, len(split) - 1, wanted).round().astype(int).tolist():
            chosen[split.ids[position]] = ParitySample(name, position)
    if not chosen:
        raise UserError(f"{data.root} has no test images to check the bundle on: raise preprocess.test_fraction")
    return chosen


def collect(bundle: InferenceModel, raw: Path, data: ProcessedSet, chosen: dict[str, ParitySample]) -> ParityImages:
    """Reads the chosen images both from the processed set and through the bundle from the raw set.

    Raises:
        UserError: If the raw set lacks some of them, or the bundle rejects one.
    """
    splits = {name: data.split(name) for name in SPLITS}
    ids: list[str] = []
    labels: list[int] = []
    stored = np.empty((len(chosen), *data.shape), np.uint8)
    prepared = np.empty_like(stored)
    statistics = np.empty((len(chosen), len(PIXELS)), np.float32)
    for image in track(_wanted(raw, chosen), "", len(chosen)):
        place = chosen[image.id]
        split = splits[place.split]
        stored[len(ids)] = split.images([place.position])[0]
        prepared[len(ids)] = _prepare(bundle, image)
        statistics[len(ids)] = pixel_statistics(decode.decode(image.data))
        ids.append(image.id)
        labels.append(int(split.labels[place.position]))
    if len(ids) != len(chosen):
        raise UserError(
            f"{raw} lacks {len(chosen) - len(ids)} of the preprocessed images: run the preprocess stage again"
        )
    counts = {name: sum(place.split == name for place in chosen.values()) for name in splits}
    counts = {name: count for name, count in counts.items() if count}
    return ParityImages(ids, np.array(labels, np.int64), stored, prepared, counts, statistics)


def _wanted(raw: Path, chosen: dict[str, ParitySample]) -> Iterator[RawImage]:
    for shard in raw_shards(raw):
        yield from (image for image in shard.images() if image.id in chosen)


def _prepare(bundle: InferenceModel, image: RawImage) -> Images:
    try:
        return bundle.prepare(image.data)
    except RejectionError as error:
        raise UserError(f"the bundle rejects {image.id}, which was ingested: {error}; no bundle was written") from None
