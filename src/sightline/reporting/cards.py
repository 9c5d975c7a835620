"""Cards of examples: the image as the model sees it and, if explained, heat maps of the evidence for a class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sightline.datasets.processed_set import Images, Split
from sightline.metrics.base import Floats, Labels
from sightline.reporting.examples import Example
from sightline.reporting.plots.gallery import Tile
from sightline.reporting.plots.overlay import PIXELATED_MAX_SIDE, encode_picture, overlay
from sightline.reporting.plots.style import class_label

Maps = Callable[[Images, Labels], Floats]
"""Maps images [n, height, width, channels] and a class for each, [n], to heat maps [n, height, width] in 0..1."""


@dataclass(frozen=True)
class View:
    """One picture of a card: PNG or JPEG, alternative text, a title, and whether to scale it without smoothing."""

    image: bytes
    alt: str
    title: str = ""
    pixelated: bool = False


@dataclass(frozen=True)
class Card:
    """An example with its views: the image, then heat maps for the predicted class and, for errors, the true class.

    Attributes:
        example: The prediction.
        views: The views that the page shows.
        image: [height, width, channels] uint8.
        heats: The heat maps as pixels, [height', width', 3] uint8 each.
    """

    example: Example
    views: tuple[View, ...]
    image: Images
    heats: tuple[Images, ...] = ()


def cards(examples: Sequence[Example], split: Split, classes: Sequence[str], maps: Maps | None = None) -> list[Card]:
    """Returns the examples' cards, with heat maps if `maps` is given."""
    images = split.images(np.array([example.position for example in examples], np.int64))
    predicted = np.array([example.predicted for example in examples], np.int64)
    true = np.array([example.label for example in examples], np.int64)
    made = []
    heats: list[tuple[Images, ...]] = [()] * len(examples)
    if maps is not None and len(examples):
        wrong = np.flatnonzero(predicted != true)
        of_true = dict(zip(wrong.tolist(), maps(images[wrong], true[wrong]), strict=True))
        heats = [
            (overlay(image, heat), *([overlay(image, of_true[i])] if i in of_true else []))
            for i, (image, heat) in enumerate(zip(images, maps(images, predicted), strict=True))
        ]
    for example, image, laid in zip(examples, images, heats, strict=True):
        title = f"Image {example.id}: {classes[example.label]}"
        taken = f"{title}, predicted as {classes[example.predicted]}" if example.wrong else title
        views = [View(encode_picture(image), taken, pixelated=max(image.shape[:2]) <= PIXELATED_MAX_SIDE)]
        for heat, label in zip(laid, (example.predicted, example.label), strict=False):
            speaks = f"Evidence for {classes[label]}"
            views.append(View(encode_picture(heat), f"{speaks} in image {example.id}", speaks))
        made.append(Card(example, tuple(views), image, laid))
    return made


def tiles(cards: Sequence[Card], classes: Sequence[str], heats: bool = False) -> list[Tile]:
    """Returns cards as tiles of a gallery: the image alone, or each image followed by its heat maps."""
    out = []
    for card in cards:
        e = card.example
        title = f"{class_label(classes[e.predicted], e.predicted, 16)}  {100 * e.probability:.0f} %"
        true = class_label(classes[e.label], e.label, 16)
        out.append(Tile(card.image, title, f"is {true}", e.wrong))
        if heats:
            names = (class_label(classes[e.predicted], e.predicted, 16), true)
            out += [Tile(heat, "", f"evidence for {n}", e.wrong) for heat, n in zip(card.heats, names, strict=False)]
    return out
