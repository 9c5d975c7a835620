"""Cleaning: the transform's first step, and the colour space of the result."""

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

_BLOCK_PIXELS = 2**16  # examined at a time: most borders end within that


# Presets of the same step: each is named after its purpose, and any value can be changed.
@CLEAN.register("standard", "trim", "grey", "hsv", "lab")
@dataclass
class Clean(Step):
    """Trims borders, drops blank images, limits the size, and sets the colour space of the result.

    Transparency needs no option: decoding blends every image onto the background.

    Source: Gonzalez and Woods, Digital Image Processing, section 6.2 (HSV); CIE 15:2004 (L*a*b*); ITU-R BT.601 (grey).

    Attributes:
        trim_borders: Whether to cut away each side's rows or columns that are all of that side's colour, such as frames
            and letterboxes; an image that would vanish stays whole.
        trim_tolerance: Largest distance of a pixel from its side's colour, in levels of each channel, 0..127.
        drop_blank: Whether to reject images of a single colour, with the reason "blank".
        blank_tolerance: Largest spread of the levels of a channel in a blank image, 0..127.
        max_side: In pixels, 16..16384; larger images are first shrunk to it (area averaging, same aspect ratio), which
            limits the cost of later steps; 0 for no limit.
        color: Colour space of the result: "keep" (grey or RGB as decoded), "grey", "hsv" (hue over 0..255), "lab", or
            one channel of these. Earlier steps work in RGB, and the conversion comes last: averaging hues of 0 and 255,
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
        """Returns the cleaned image, [h, w, c] uint8, still in its original colours.

        Raises:
            RejectionError: With RejectionReason.BLANK, if blank images are to be dropped and this is one.
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
    """Cuts each side's rows or columns whose pixels are all within `tolerance` of that side's median colour.

    Rows first, then columns of the rest, so that letterboxes, pillarboxes and frames are all found. An image that would
    vanish is returned whole.
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
    """Counts the rows from the top that are all of the first row's colour; single-pixel rows are inconclusive."""
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
