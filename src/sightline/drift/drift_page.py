"""Drift page: the tests, and the images with the strongest evidence of drift, as one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sightline.core.rejection import RejectionError
from sightline.drift.image_statistics import NAMES, TITLES
from sightline.drift.reference import Reference
from sightline.drift.sample_comparison import CLASSES, NOVEL, Drift, IncomingImages, telling, verdict
from sightline.imaging import convert, decode
from sightline.reporting.plots.overlay import PIXELATED_MAX_SIDE, encode_picture
from sightline.reporting.render import render

TEMPLATE = "drift.html.j2"
MOST_SHOWN = 12


@dataclass(frozen=True)
class DriftImage:
    """An image on the page: PNG or JPEG, whether to show its pixels as squares, its name, its value or class."""

    image: bytes
    pixelated: bool
    name: str
    value: str


def render_page(drift: Drift, reference: Reference, incoming: IncomingImages, classes: Sequence[str]) -> str:
    """Returns the page.

    Args:
        drift: The comparison.
        reference: The bundle's reference.
        incoming: The incoming images; those shown are read again.
        classes: The class names.
    """
    titles = {**TITLES, CLASSES: "predicted classes", NOVEL: "share of images unlike all classes"}
    galleries = [(titles[s.name], _images(reference, incoming, s.name, classes)) for s in drift.statistics if s.drifted]
    return render(
        Path(__file__).parent, TEMPLATE, drift=drift, verdict=verdict(drift), titles=titles, galleries=galleries
    )


def _images(reference: Reference, incoming: IncomingImages, statistic: str, classes: Sequence[str]) -> list[DriftImage]:
    shown = []
    for place in telling(reference, incoming, statistic, MOST_SHOWN):
        item, seen = incoming.items[place], incoming.reference
        try:
            data = item.read()
            pixels = decode.decode(data) if isinstance(data, bytes) else convert.in_channels(data, 3)
        except RejectionError:  # deleted or changed since then
            continue
        label = classes[int(seen.classes[place])]
        if statistic == NOVEL and seen.novelty is not None:
            value = f"novelty {seen.novelty[place]:.3g}, {label}"
        else:
            value = label if statistic == CLASSES else f"{seen.statistics[place, NAMES.index(statistic)]:.4g}, {label}"
        shown.append(DriftImage(encode_picture(pixels), max(pixels.shape[:2]) <= PIXELATED_MAX_SIDE, item.name, value))
    return shown
