"""Slices: accuracy on groups of images that share a property."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from scipy.stats import hypergeom

from sightline.core.errors import UserError
from sightline.core.progress import track
from sightline.datasets.raw_lookup import raw_images
from sightline.datasets.raw_set import RawImage
from sightline.imaging import decode
from sightline.imaging.bit_depth import ALL_BITS
from sightline.imaging.convert import Pixels, shrunk
from sightline.imaging.image_file import ANY_SIZE
from sightline.imaging.sharpness import sharpness
from sightline.metrics.base import Bools, Labels
from sightline.metrics.intervals import wilson
from sightline.stages.evaluate.results import Slice

MOST_VALUES = 20
"""Number of slices of a categorical property: one for each of its most frequent values; the others share one more."""
FEW_NUMBERS = 4
"""A numeric property with at most so many distinct values has a slice for each; others are divided into quartiles."""
OTHER, NONE = "(other)", "(none)"


def brightness(grey: Pixels) -> float:
    """Returns the mean level of [height, width, 1] uint8, 0 to 1."""
    return float(grey.mean()) / 255


def blur(grey: Pixels) -> float:
    """Returns the sharpness of [height, width, 1] uint8; larger images are shrunk first to be comparable."""
    return sharpness(shrunk(grey[:, :, 0]))


def _size(image: RawImage) -> float:
    return math.sqrt(image.width * image.height)


def _aspect(image: RawImage) -> float:
    return round(image.width / image.height, 3)


def _source(image: RawImage) -> str | None:
    return str(PurePosixPath(image.path).parent) if image.path else None


_DERIVED: dict[str, Callable[[RawImage], Any]] = {"size": _size, "aspect": _aspect, "source": _source}
_PIXELS: dict[str, Callable[[Pixels], float]] = {"brightness": brightness, "blur": blur}
_COLUMNS = tuple(name for name in RawImage._fields if name != "data")
_SHOWN = {"size": "{} px", "blur": "sharpness {}"}
PROPERTIES = (*_DERIVED, *_PIXELS, *_COLUMNS)


def properties(
    raw: Path, ids: Sequence[str], wanted: Sequence[str], sample_bits: int = ALL_BITS
) -> dict[str, list[Any]]:
    """Returns the wanted properties of images, each [n] in the order of `ids`.

    Args:
        raw: Folder written by the ingest stage.
        ids: [n] ids.
        wanted: Some of `PROPERTIES`: size (square root of the original's pixels), aspect (width over height),
            brightness, blur (sharpness), source (the image's original folder), and the columns of the raw images:
            format, group, width, ...
        sample_bits: The preprocessing setting.

    Raises:
        UserError: If there is no such property, or an image is missing.
    """
    if unknown := [name for name in wanted if name not in PROPERTIES]:
        raise UserError(f"evaluate.slices: {unknown[0]!r} is not one of {', '.join(PROPERTIES)}")
    place = {identity: i for i, identity in enumerate(ids)}
    found: dict[str, list[Any]] = {name: [None] * len(ids) for name in wanted}
    if not wanted:
        return found
    for image in track(raw_images(raw, ids), "", len(ids)):
        looked_at = set(wanted) & set(_PIXELS)
        grey = decode.decode(image.data, channels=1, limits=ANY_SIZE, sample_bits=sample_bits) if looked_at else None
        for name in wanted:
            if name in _PIXELS and grey is not None:
                value: Any = _PIXELS[name](grey)
            else:
                value = _DERIVED[name](image) if name in _DERIVED else getattr(image, name)
            found[name][place[image.id]] = value
    return found


def groups(values: Sequence[Any]) -> list[tuple[str, Bools]]:
    """Returns the groups into which a property divides images: the shared value, and which images it has, [n].

    Numbers are divided into quartiles, with equal ones kept together, and words by value.
    """
    numeric = all(isinstance(v, int | float) for v in values)
    return _by_number(np.array(values, np.float64)) if numeric else _by_word(values)


def _by_number(values: Any) -> list[tuple[str, Bools]]:
    different = np.unique(values)
    edges = different[1:]
    if len(different) > FEW_NUMBERS:
        edges = np.unique(np.quantile(values, [0.25, 0.5, 0.75], method="higher"))
    group: Labels = np.searchsorted(edges, values, side="right")
    found = []
    for i in np.unique(group):
        here = group == i
        low, high = f"{values[here].min():.4g}", f"{values[here].max():.4g}"
        found.append((low if low == high else f"{low} to {high}", here))
    return found


def _by_word(values: Sequence[Any]) -> list[tuple[str, Bools]]:
    words = [NONE if value is None else str(value) for value in values]
    counted = sorted(Counter(words).items(), key=lambda item: (-item[1], item[0]))
    named = {word for word, _ in counted[:MOST_VALUES]}
    shown = np.array([word if word in named else OTHER for word in words])
    return [(str(word), shown == word) for word in np.unique(shown)]


def slices(found: dict[str, list[Any]], correct: Bools, least_images: int) -> list[Slice]:
    """Returns the slices with at least `least_images` images, in the order of the properties.

    A property with the same value for all images is left out.

    Args:
        found: Properties by name, [n] each.
        correct: [n] whether each prediction is correct.
        least_images: Minimum size of a slice.
    """
    cuts = [
        (by, _SHOWN.get(by, "{}").format(value), here)
        for by, values in found.items()
        if len(parts := groups(values)) > 1
        for value, here in parts
        if here.sum() >= least_images
    ]
    counted = [(by, value, int(here.sum()), int(correct[here].sum())) for by, value, here in cuts]
    # One-sided Fisher's exact test: the probability of so few correct ones, or fewer, in a draw from all images.
    raw_p = [float(hypergeom.cdf(right, len(correct), int(correct.sum()), n)) for _, _, n, right in counted]
    return [
        Slice(by, value, n, right, wilson(right, n), p, here)
        for (by, value, n, right), p, (_, _, here) in zip(counted, _holm(raw_p), cuts, strict=True)
    ]


def _holm(p_values: Sequence[float]) -> Iterator[float]:
    """Returns p-values corrected for their number (Holm (1979), "A simple sequentially rejective test procedure")."""
    order = np.argsort(p_values, kind="stable")
    corrected = np.empty(len(p_values))
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = largest
    return iter(corrected.tolist())


def worst(found: Sequence[Slice]) -> Slice | None:
    """Returns the slice to examine first: the one with the lowest upper bound of the accuracy's interval.

    The lowest accuracy itself would often select a tiny slice by chance. The `p_value` shows whether the slice is
    significantly worse than the rest.
    """
    return min(found, key=lambda s: (s.interval[1], s.p_value, s.by, s.value), default=None)
