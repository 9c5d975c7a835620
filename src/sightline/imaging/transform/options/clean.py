"""The options of cleaning: ranges, and what each is good for."""

from __future__ import annotations

from dataclasses import dataclass

from sightline.config.schema import Option, require_one_of
from sightline.imaging.transform.options.checks import between

COLORS = ("keep", "grey", "hsv", "lab", "hue", "saturation", "value", "lightness", "a", "b")


@dataclass
class Clean(Option):
    """Trims borders, drops blank images, bounds the size, and says in which colours the result is given.

    Transparency needs no option: decoding lays every image over the background.

    Source: Gonzalez and Woods, Digital Image Processing, section 6.2 (HSV); CIE 15:2004 (L*a*b*); ITU-R BT.601 (grey).

    Attributes:
        trim_borders: Cuts away each side's rows or columns that are all of that side's colour, as frames and
            letterboxes are; an image that would vanish stays whole.
        trim_tolerance: How far a pixel may be from its side's colour, in levels of each channel, 0..127.
        drop_blank: Refuses images of one colour, with the reason "blank".
        blank_tolerance: How far the levels of a channel may lie apart in a blank image, 0..127.
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
