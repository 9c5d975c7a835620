"""The options of enhancement: ranges, and what each is good for."""

from __future__ import annotations

from dataclasses import dataclass

from sightline.config.schema import Option
from sightline.imaging.transform.options.checks import between


@dataclass
class AutoContrast(Option):
    """Stretches the luminance to 0..255: for dull images, whose darkest pixels are not black.

    Source: Gonzalez and Woods, Digital Image Processing, section 3.2 (contrast stretching).

    Attributes:
        cutoff: Fraction of the pixels to let go at each end, 0..0.4.
    """

    cutoff: float

    def __post_init__(self) -> None:
        between("cutoff", self.cutoff, 0, 0.4)


@dataclass
class Clahe(Option):
    """Equalises the histogram tile by tile, limited: brings out local contrast under uneven light.

    Source: Zuiderveld, Contrast Limited Adaptive Histogram Equalization, Graphics Gems IV, 1994.

    Attributes:
        clip_limit: Greatest slope of the mapping, as a multiple of the uniform histogram's, 1..40.
        tiles: Tiles along each side, 1..64; fewer where the image has fewer pixels.
    """

    clip_limit: float
    tiles: int

    def __post_init__(self) -> None:
        between("clip_limit", self.clip_limit, 1, 40)
        between("tiles", self.tiles, 1, 64)


@dataclass
class Equalize(Option):
    """Spreads the luminance so that all levels are equally frequent: the most contrast, and the least natural look.

    Source: Gonzalez and Woods, Digital Image Processing, section 3.3.
    """


@dataclass
class Gamma(Option):
    """Raises each channel to a power: brightens (below 1) or darkens (above 1) the middle, black and white stay.

    Source: Gonzalez and Woods, Digital Image Processing, section 3.2 (power-law transformation).

    Attributes:
        gamma: The exponent, 0.1..10.
    """

    gamma: float

    def __post_init__(self) -> None:
        between("gamma", self.gamma, 0.1, 10)


@dataclass
class Unsharp(Option):
    """Adds what a blur takes away: sharpens soft images, and their noise with them.

    Source: Gonzalez and Woods, Digital Image Processing, section 3.6 (unsharp masking).

    Attributes:
        sigma: Of the blur in pixels, 0.1..20: the size of the details to bring out.
        amount: Share of the difference that is added, 0..5.
        threshold: Grey levels, 0..255; smaller differences are left alone, so that noise is not sharpened.
    """

    sigma: float
    amount: float
    threshold: int

    def __post_init__(self) -> None:
        between("sigma", self.sigma, 0.1, 20)
        between("amount", self.amount, 0, 5)
        between("threshold", self.threshold, 0, 255)


@dataclass
class WhiteBalance(Option):
    """Scales the channels to equal means (grey world): removes a colour cast; wrong where one colour fills the image.

    Source: Buchsbaum, A spatial processor model for object colour perception, J. Franklin Institute 310, 1980.

    Attributes:
        max_gain: Greatest factor for a channel, and the inverse of the least, 1..16.
    """

    max_gain: float

    def __post_init__(self) -> None:
        between("max_gain", self.max_gain, 1, 16)
