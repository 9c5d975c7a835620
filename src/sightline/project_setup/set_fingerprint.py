"""The fingerprint of a set of images: everything that the rules use, from a sample of bounded size."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from sightline.datasets.raw_set import NEAR, ImageRecord, RawImage, raw_shards, read_near
from sightline.imaging.decode import decode
from sightline.imaging.transform.denoise.nonlocal_means import estimate_noise
from sightline.project_setup.census import Census, count, text_like
from sightline.project_setup.mirror import accuracy_kept
from sightline.project_setup.transfer import ProbeTrial, probe_trial
from sightline.sources import open_source
from sightline.stages.ingest.config import IngestConfig
from sightline.stages.ingest.demands import require_trainable
from sightline.stages.ingest.stage import ingest

LOOK = 2000
"""Pictures that are decoded."""
CLOSER = 500
"""Of them, pictures that are measured: colour, noise, edges, mirror images."""
FEW = 16
"""Images below which a balanced split may get none: in 2 of 100 cases of two classes of five or six images each."""

_THUMB = 16  # px: side of what the mirror test compares
_COLOUR = 6.0  # grey levels that the channels differ by, on the mean of a picture, before it has a colour
_TELLS_NOISE = 48  # px: the finest details of smaller pictures are what they show
_PLAIN = 8.0  # grey levels: standard deviation along the edges of a plain background


@dataclass(frozen=True)
class Fingerprint:
    """The properties of a set of images.

    Attributes:
        images: Images counted.
        complete: Whether every input was counted.
        classes: Number of images of each class, by name.
        splits: Images of each split that the source itself gives, by name.
        groups: Groups that the source itself gives.
        prefixes: Groups that the file names tell of.
        text_like: Whether the classes are named like digits, letters or directions.
        seen: Pictures that were decoded.
        rejected: Of the inputs looked at, those that are no usable image.
        first_rejected: The first of them with the reason; None where there is none.
        side: Median of the shorter sides, in pixels.
        largest: Largest side, in pixels.
        aspect: Median of width / height.
        shapes: Share of the pictures whose width / height differs from the median by more than a tenth.
        grey: Whether the pictures have no colour, by what they show and not by their files' mode.
        bits: Bits of the largest sample of 16-bit files that use few; None where there are no such files.
        dark: Share of dark pictures, as ingestion flags them.
        blurred: Share of blurred ones.
        noise: Median standard deviation of the noise, in grey levels; None where the pictures are too small to tell.
        background: Median grey level along the edges.
        plain: Share of the pictures whose edges are of nearly one level.
        near_duplicates: Groups of near duplicates among the pictures seen.
        mirrored: Share of the nearest-neighbour accuracy left when pictures are mirrored; None where it says nothing.
        trial: Comparison of pretrained features with histograms of gradients; None if it was not made.
    """

    images: int
    complete: bool
    classes: dict[str, int]
    splits: dict[str, int]
    groups: int
    prefixes: int
    text_like: bool
    seen: int
    rejected: int
    first_rejected: str | None
    side: int
    largest: int
    aspect: float
    shapes: float
    grey: bool
    bits: int | None
    dark: float
    blurred: float
    noise: float | None
    background: int
    plain: float
    near_duplicates: int
    mirrored: float | None
    trial: ProbeTrial | None

    @property
    def rarest(self) -> int:
        """Images of the rarest class."""
        return min(self.classes.values())

    @property
    def imbalance(self) -> float:
        """Images of the most frequent class for each of the rarest."""
        return max(self.classes.values()) / self.rarest

    def lines(self) -> list[str]:
        """Returns it as a person reads it."""
        names = ", ".join(itertools.islice(self.classes, 6)) + (" ..." if len(self.classes) > 6 else "")
        more = "" if self.complete else " or more"
        few = "" if self.splits or self.images >= FEW else "; a split may get none: use about 10 per class or more"
        first = f" (the first: {self.first_rejected})" if self.first_rejected else ""
        refused = f"{self.rejected:,} of {self.seen + self.rejected:,} inspected were rejected{first}"
        bits = f"; 16-bit files that use {self.bits} bits" if self.bits else ""
        noise = "too small to tell" if self.noise is None else f"{self.noise:.1f} grey levels"
        kept = self.mirrored
        mirrored = "not measurable" if kept is None else f"the nearest neighbour keeps {kept:.0%} of its accuracy"
        facts = {
            "images": f"{self.images:,}{more}; {refused}{few}",
            "classes": f"{len(self.classes)} ({names}); {_range(self.rarest, max(self.classes.values()))} images each",
            "named like": "digits, letters or directions" if self.text_like else "things",
            "splits given": ", ".join(f"{name} {number:,}" for name, number in self.splits.items()) or "none",
            "groups": f"{self.groups or 'none'} given, {self.prefixes or 'none'} evident from file names",
            "near duplicates": f"{self.near_duplicates} groups found",
            "sides": f"{self.side} px median shorter side, {self.largest} px longest side",
            "shape": f"width / height {self.aspect:.2f} (median), {self.shapes:.0%} have another",
            "colour": f"{'grey' if self.grey else 'colour'}{bits}",
            "noise": noise,
            "light": f"{self.dark:.0%} dark, {self.blurred:.0%} blurred",
            "edges": f"grey level {self.background} (median), even in {self.plain:.0%}",
            "mirrored": mirrored,
        }
        if self.trial:
            facts["probe"] = f"accuracy {self.trial.probe:.2f} on pretrained features, {self.trial.hog:.2f} on HOG"
        return [f"{name:<16} {fact}" for name, fact in facts.items()]


def examine_source(config: IngestConfig, raw: Path) -> Fingerprint:
    """Inspects a source: reads and checks a sample of its images as ingestion does, and counts all of them.

    Args:
        config: The ingest section that reads it, without a limit.
        raw: An empty folder: gets the raw set of the sample.

    Raises:
        UserError: If the source cannot be read, or nothing can be trained on it.
    """
    # What people decided on the images of the project that this folder may be is not for another's.
    sampled = dataclasses.replace(config, limit=LOOK, corrections=None, additions=None, unknown=None)
    summary = ingest(open_source(sampled), sampled, raw)
    whole = summary["inputs"] < LOOK
    # What a sample has few of, the set may have more of; one class alone is no chance.
    require_trainable(summary, config if whole or len(summary["classes"]) < 2 else sampled)
    images = [image for shard in raw_shards(raw) for image in shard.images()]
    if whole:
        census = count(images)
    else:
        census = count(record for record in open_source(config).records() if isinstance(record, ImageRecord))
    if config.source.name not in ("folder", "archive", "table"):  # no file names
        census = dataclasses.replace(census, prefixes=0)
    return combine(census, images, summary, len(set(read_near(raw / NEAR).values())))


def combine(census: Census, images: list[RawImage], summary: dict[str, Any], near: int) -> Fingerprint:
    """Combines the counts with the measurements of the sample.

    Args:
        census: Of the whole set.
        images: The sample's.
        summary: The summary that ingestion writes of the sample.
        near: Its groups of near duplicates.
    """
    closer = images[:: -(-len(images) // CLOSER)]
    pictures = [_measured(image) for image in closer]
    widths = np.array([(image.width, image.height) for image in images], np.float64)
    aspects, audit = widths[:, 0] / widths[:, 1], summary["audit"]
    aspect, side = float(np.median(aspects)), int(np.median(widths.min(axis=1)))
    noises = [m.noise for m in pictures]
    thumbnails = np.stack([m.thumbnail for m in pictures])
    grey = float(np.mean([m.colour > _COLOUR for m in pictures])) < 0.05
    return Fingerprint(
        images=sum(census.classes.values()),
        complete=census.complete,
        classes=census.classes,
        splits=census.splits,
        groups=census.groups,
        prefixes=census.prefixes,
        text_like=text_like(census.classes),
        seen=len(images),
        rejected=sum(summary["rejected"].values()),
        first_rejected=summary["first_rejected"],
        side=side,
        largest=int(widths.max()),
        aspect=aspect,
        shapes=float(np.mean(np.abs(aspects / aspect - 1) > 0.1)),
        grey=grey,
        bits=audit["few_bits"]["bits"],
        dark=audit["dark"]["images"] / len(images),
        blurred=audit["blurred"]["images"] / len(images),
        noise=float(np.median(noises)) if side >= _TELLS_NOISE else None,
        background=int(np.median([m.edge for m in pictures])),
        plain=float(np.mean([m.plain for m in pictures])),
        near_duplicates=near,
        mirrored=accuracy_kept(thumbnails, [image.label for image in closer]),
        trial=None if grey or side < _TELLS_NOISE else probe_trial(images),
    )


@dataclass(frozen=True)
class _Measurements:
    """The measurements of one picture: its colour, noise and edge level, in grey levels; a thumbnail, grey."""

    colour: float
    noise: float
    edge: float
    plain: bool
    thumbnail: npt.NDArray[np.float32]


def _measured(image: RawImage) -> _Measurements:
    pixels = decode(image.data)
    grey = pixels.mean(axis=2, dtype=np.float32)
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    thumbnail = cv2.resize(grey, (_THUMB, _THUMB), interpolation=cv2.INTER_AREA).astype(np.float32)
    colour = float(np.mean(pixels.max(axis=2).astype(np.float32) - pixels.min(axis=2)))
    return _Measurements(colour, estimate_noise(pixels), float(np.median(edge)), bool(edge.std() < _PLAIN), thumbnail)


def _range(least: int, most: int) -> str:
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"
