"""Cleaning: the transform's first step, and the colours in which the result is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.config.schema import Registry, require_one_of
from sightline.core.rejection import RejectionError, RejectionReason
from sightline.imaging.transform.color import COLORS
from sightline.imaging.transform.step import Nothing, Step, between

if TYPE_CHECKING:
    from sightline.imaging.transform.ops import Pixels

CLEAN: Registry[Step] = Registry("preprocess/clean")
CLEAN.register("none")(Nothing)

_BLOCK_PIXELS = 2**16  # looked at together: most borders end within


# Presets of the same step: each is named after its purpose, and any of its values can be set.
@CLEAN.register("standard", "trim", "grey", "hsv", "lab")
@dataclass
class Clean(Step):
    """Trims borders, drops blank images, bounds the size, and says in which colours the result is given.

    Transparency needs no option: decoding lays every image over the background.

    Source: Gonzalez and Woods, Digital Image Processing, section 6.2 (HSV); CIE 15:2004 (L*a*b*); ITU-R BT.601 (grey).

    Attributes:
        trim_borders: Cuts away each side's rows or columns that are all of that side's colour, as frames and
            letterboxes are; an image that would vanish stays whole.
        trim_tolerance: Largest distance of a pixel from its side's colour, in levels of each channel, 0..127.
        drop_blank: Refuses images of one colour, with the reason "blank".
        blank_tolerance: Largest spread of the levels of a channel in a blank image, 0..127.
        max_side: In pixels, 16..16384; larger images are first shrunk to it (areas, shape kept), which bounds what the
            later steps cost; 0 for no bound.
        color: Of the result: "keep" (grey or RGB as decoded), "grey", "hsv" (hue over 0..255), "lab", or one channel
            of these. The steps before it work in RGB, and the conversion comes last: to average hues of 0 and 255,
            both red, would give green.
    """

    trim_borders: bool
    trim_tolerance: int
    drop_blank: bool
    blank_tolerance: int
    max_side: int
    color: str

    def __post_init__(self) -> None:
        between("trim_tolerance", self.trim_tolerance, 0, 127)
        between("blank_tolerance", self.blank_tolerance, 0, 127)
        if self.max_side != 0:
            between("max_side", self.max_side, 16, 16384)
        require_one_of("color", self.color, COLORS)

    def __call__(self, image: Pixels) -> Pixels:
        """Returns the cleaned image, [h, w, c] uint8; its colours as they were.

        Raises:
            RejectionError: With RejectionReason.BLANK, where blank images are to be dropped.
        """
        import numpy as np

        from sightline.imaging.transform.ops import shrink_to

        if self.drop_blank:
            spread = int(np.max(np.ptp(image, axis=(0, 1))))
            if spread <= self.blank_tolerance:
                detail = f"all levels lie within {spread}, tolerance {self.blank_tolerance}"
                raise RejectionError(RejectionReason.BLANK, detail)
        if self.trim_borders:
            image = trim(image, self.trim_tolerance)
        return shrink_to(image, self.max_side) if self.max_side else image


def trim(image: Pixels, tolerance: int) -> Pixels:
    """Cuts each side's rows or columns that lie, all their pixels, within `tolerance` of that side's median colour.

    Rows first, then columns of what is left, so that letterboxes, pillarboxes and frames are all seen. An image that
    would vanish is returned whole.
    """
    import numpy as np

    kept = image
    for _ in range(2):  # rows, then columns
        kept = kept[_same(kept, tolerance) :]
        kept = kept[: len(kept) - _same(kept[::-1], tolerance)].transpose(1, 0, 2)
        if kept.size == 0:
            return image
    return np.ascontiguousarray(kept)


def _same(image: Pixels, tolerance: int) -> int:
    """Counts the rows from the top that are all of the first row's colour; a row of one pixel tells nothing."""
    import numpy as np

    if len(image) == 0 or image.shape[1] < 2:
        return 0
    color = np.median(image[0], axis=0).astype(np.int16)
    rows = max(1, _BLOCK_PIXELS // image.shape[1])
    for start in range(0, len(image), rows):
        block = image[start : start + rows].astype(np.int16)
        others = np.flatnonzero((np.abs(block - color) > tolerance).any(axis=(1, 2)))
        if others.size:
            return start + int(others[0])
    return len(image)
