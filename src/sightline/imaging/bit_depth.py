"""16-bit samples: the number of bits that an image uses, and the choice of the 8 bits that become its pixels.

Cameras and scanners write 10, 12 or 14 bits into 16-bit files, and no file says so: of 12 bits, the high 8 of 16 are
just 16 grey levels. Pillow returns 16-bit grey unchanged, but only the high bytes of 16-bit colour. To get the low
bytes, the file is opened a second time and Pillow is told the opposite byte order.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, TiffImagePlugin

from sightline.core.rejection import RejectionError, RejectionReason

ALL_BITS, FEWEST_BITS = 16, 8
FEW_BITS = 14
"""An image that needs no more bits than this was probably not made for 16."""

GREY = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})
_BITS_PER_SAMPLE = 258
_NATIVE = "L" if sys.byteorder == "little" else "B"
_OTHER = {"B": "L", "L": "B"}
_NO_COLOUR = ("A", "a", "X")  # bands
_SWAPPED = ("RGB", "RGBA", "RGBa", "RGBX", "CMYK")  # modes that Pillow reads in both byte orders


def has_16_bits(image: Image.Image) -> bool:
    """Returns whether an opened, not yet loaded file declares 16-bit samples, and no smaller maximum."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return int(image.tag_v2.get(_BITS_PER_SAMPLE, (1,))[0]) == ALL_BITS
    if not isinstance(image, ImageFile.ImageFile) or not image.tile:
        return False
    args = image.tile[0].args
    if image.format == "PPM":  # Pillow has already scaled samples with any other maximum
        return args == "I;16B" or (isinstance(args, tuple) and args[-1] == 2**ALL_BITS - 1)
    return ";16" in str(args)


@dataclass(frozen=True)
class EightBitImage:
    """An image reduced to the 8 bits of its samples that become its pixels.

    Attributes:
        image: The image: in grey as it was, in colour already reduced to these bits.
        bits: Number of bits of the largest sample, ignoring transparency, 8..16.
        shift: Number of bits by which samples are shifted to the right.
    """

    image: Image.Image
    bits: int
    shift: int


def in_eight_bits(image: Image.Image, sample_bits: int | None, again: Callable[[], Image.Image]) -> EightBitImage:
    """Chooses the bits of a loaded image whose file declares 16-bit samples.

    Args:
        image: The image as Pillow loads it; in colour that is the high 8 bits.
        sample_bits: Number of bits of white, 8..16; None: as many as the image uses, if that is `FEW_BITS` or fewer.
        again: Opens the file once more.

    Raises:
        RejectionError: If the image has samples beyond white, or is of a kind for which Pillow gives no low bits.
    """
    in_grey = image.mode in GREY or image.mode == "I"
    low = None if in_grey or sample_bits == ALL_BITS else _with_low_bytes(again())
    if low is None and not in_grey and sample_bits not in (None, ALL_BITS):
        raise RejectionError(
            RejectionReason.UNSUPPORTED_FORMAT,
            f"{image.format} with 16-bit samples of mode {image.mode}, whose low bits cannot be read as "
            "preprocess.sample_bits asks: save it as PNG or TIFF, in grey, RGB or RGBA",
        )
    used = _used_bits(image, in_grey)
    if sample_bits is None:
        sample_bits = used if used <= FEW_BITS else ALL_BITS
    if used > sample_bits:
        raise RejectionError(
            RejectionReason.TOO_MANY_BITS, f"samples of {used} bits, preprocess.sample_bits is {sample_bits}"
        )
    shift = sample_bits - FEWEST_BITS
    if low is not None and shift < FEWEST_BITS:
        return EightBitImage(_combined(image, low, shift), used, shift)
    return EightBitImage(image, used, shift)


def eight_bits(samples: npt.NDArray[np.integer], shift: int) -> npt.NDArray[np.uint8]:
    """Reduces samples of `shift` + 8 bits to 8 bits."""
    return (samples >> shift).astype(np.uint8)


def _used_bits(image: Image.Image, in_grey: bool) -> int:
    if in_grey:
        return max(FEWEST_BITS, int(np.asarray(image).max()).bit_length())
    colours = [band for band in image.getbands() if band not in _NO_COLOUR]
    largest = max(int(np.asarray(image.getchannel(band)).max()) for band in colours)
    return FEWEST_BITS + largest.bit_length()


def _combined(high: Image.Image, low: Image.Image, shift: int) -> Image.Image:
    """Combines the samples' high and low bytes into an 8-bit image; transparency keeps its high bytes."""
    low.load()
    bands = []
    for band in high.getbands():
        top = high.getchannel(band)
        if band not in _NO_COLOUR:
            whole = np.asarray(top).astype(np.uint16) << 8 | np.asarray(low.getchannel(band))
            top = Image.fromarray(eight_bits(whole, shift))
        bands.append(top)
    result = Image.merge(high.mode, bands)
    result.info = high.info
    return result


def _with_low_bytes(image: Image.Image) -> Image.Image | None:
    """Makes an opened image load its samples' low bytes; None if Pillow supports only one byte order."""
    if not isinstance(image, ImageFile.ImageFile) or not all(_swap(image, place) for place in range(len(image.tile))):
        return None
    return image


def _swap(image: ImageFile.ImageFile, place: int) -> bool:
    """Swaps the byte order of a tile of an opened image; returns whether Pillow supports the other order."""
    tile = image.tile[place]
    args = tile.args if isinstance(tile.args, tuple) else (tile.args,)
    mode, _, kind = str(args[0]).partition(";16")
    order = _NATIVE if kind == "N" else kind
    if mode not in _SWAPPED or order not in _OTHER:
        return False
    swapped = (f"{mode};16{_OTHER[order]}", *args[1:])
    image.tile[place] = tile._replace(args=swapped if isinstance(tile.args, tuple) else swapped[0])
    return True
