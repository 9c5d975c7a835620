"""The options of segmentation: ranges, and what each is good for."""

from __future__ import annotations

from dataclasses import dataclass

from sightline.config.schema import Option, require_one_of
from sightline.imaging.transform.options.checks import between, odd

USES = ("mask", "crop", "channel")
FOREGROUNDS = ("auto", "bright", "dark")


@dataclass
class Segment(Option):
    """Base of the segmentations: which pixels are foreground, and what is done with it.

    Where the mask is empty or full the image stays as it is, and that is counted.

    Attributes:
        use: "mask" replaces the background by the transform's, "crop" cuts to the foreground's box, "channel" adds the
            mask as a last channel (0 or 255).
        margin: Added on each side of the box, as a fraction of its longer side, 0..1; for "crop" alone.
    """

    use: str
    margin: float

    def __post_init__(self) -> None:
        require_one_of("use", self.use, USES)
        between("margin", self.margin, 0, 1)


@dataclass
class Threshold(Segment):
    """Divides the luminance at one level: for an object on an evenly lit, plain background.

    Source: Otsu, A threshold selection method from gray-level histograms, 1979; Zack, Rogers and Latt, Automatic
    measurement of sister chromatid exchange frequency, 1977 (triangle).

    Attributes:
        method: "otsu" for two peaks in the histogram, "triangle" for one peak and a tail, "fixed" for `level`.
        level: Grey level, 0..254; brighter pixels are on the bright side; for "fixed" alone.
        foreground: Which side is foreground: "bright", "dark", or "auto": the side that is rarer on the border.
    """

    method: str
    level: int
    foreground: str

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of("method", self.method, ("fixed", "otsu", "triangle"))
        between("level", self.level, 0, 254)
        require_one_of("foreground", self.foreground, FOREGROUNDS)


@dataclass
class Adaptive(Segment):
    """Compares each pixel with the weighted mean around it: text and line art under uneven light.

    Source: Gonzalez and Woods, Digital Image Processing, section 10.3 (variable thresholding).

    Attributes:
        block_size: Side of the surroundings in pixels, odd, 3..255; wider than a stroke.
        offset: Grey levels below the mean at which a pixel is still bright, -100..100.
        foreground: See `Threshold`.
    """

    block_size: int
    offset: int
    foreground: str

    def __post_init__(self) -> None:
        super().__post_init__()
        odd("block_size", self.block_size, 3, 255)
        between("offset", self.offset, -100, 100)
        require_one_of("foreground", self.foreground, FOREGROUNDS)


@dataclass
class KMeans(Segment):
    """Clusters the colours; those commoner on the border than in the image are background: objects of several colours.

    Source: Lloyd, Least squares quantization in PCM, IEEE Trans. Information Theory 28, 1982; colours in CIE L*a*b*.

    Attributes:
        clusters: 2..8.
        max_side: In pixels, 32..1024; the mask of a larger image is found on a copy of this size.
    """

    clusters: int
    max_side: int

    def __post_init__(self) -> None:
        super().__post_init__()
        between("clusters", self.clusters, 2, 8)
        between("max_side", self.max_side, 32, 1024)


@dataclass
class GrabCut(Segment):
    """Learns the colours of border and middle and cuts where they part: photographs of one object; slow.

    Source: Rother, Kolmogorov and Blake, GrabCut, ACM Trans. Graphics 23, 2004.

    Attributes:
        border: Width of the frame that is surely background, as a fraction of the shorter side, 0.01..0.4.
        iterations: Of learning and cutting, 1..10.
        max_side: See `KMeans`.
    """

    border: float
    iterations: int
    max_side: int

    def __post_init__(self) -> None:
        super().__post_init__()
        between("border", self.border, 0.01, 0.4)
        between("iterations", self.iterations, 1, 10)
        between("max_side", self.max_side, 32, 1024)


@dataclass
class Watershed(Segment):
    """Floods from the cores of an Otsu mask up to the edges: outlines that a threshold alone leaves ragged.

    Source: Meyer, Color image segmentation, 1992; Beucher and Meyer, The morphological approach to segmentation, 1993.

    Attributes:
        core: What is surely foreground: deeper inside than this fraction of the greatest depth, 0.05..0.95.
        foreground: See `Threshold`.
        max_side: See `KMeans`.
    """

    core: float
    foreground: str
    max_side: int

    def __post_init__(self) -> None:
        super().__post_init__()
        between("core", self.core, 0.05, 0.95)
        require_one_of("foreground", self.foreground, FOREGROUNDS)
        between("max_side", self.max_side, 32, 1024)
