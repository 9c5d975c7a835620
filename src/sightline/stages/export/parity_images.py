"""Images for the parity check: as evaluation saw them, and as prediction will see them."""

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
"""Splits that the images come from, in this order: the network was fitted to none of them."""


@dataclass(frozen=True)
class ParityImages:
    """Images from both ends of the pipeline, in the order of the raw shards.

    Attributes:
        ids: [N] sample ids.
        labels: [N] int64 class indices.
        stored: uint8 [N, H, W, C], as the preprocess stage stored them: what the trained model was scored on.
        prepared: The same images, made from the encoded files by the bundle's own decoding and transform.
        counts: Number of them from each split.
        statistics: float32 [N, 6] of the decoded images' pixels, as `drift.image_statistics` has them.
    """

    ids: list[str]
    labels: npt.NDArray[np.int64]
    stored: Images
    prepared: Images
    counts: dict[str, int]
    statistics: npt.NDArray[np.float32]

    def run(self, network: Callable[[Images], Any], images: Images | None = None) -> Any:
        """Passes `prepared`, or other images, through a network, a batch at a time: its probabilities [N, K]."""
        images = self.prepared if images is None else images
        return np.concatenate([network(images[i : i + BATCH_SIZE]) for i in range(0, len(images), BATCH_SIZE)])


@dataclass(frozen=True)
class ParitySample:
    """An image of the parity check: its split, and its place there."""

    split: str
    position: int


def choose_images(data: ProcessedSet, count: int) -> dict[str, ParitySample]:
    """Chooses at most `count` images, by id; evenly spaced in their split, since ids often sort by class.

    Test images, as the network was fitted to none; where they are too few, all of them, and validation images.

    Raises:
        UserError: If there are none.
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
    """Reads the chosen images from both ends.

    Raises:
        UserError: If the raw set lacks some of them, or the bundle refuses one.
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
