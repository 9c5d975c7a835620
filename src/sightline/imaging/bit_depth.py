"""Samples of 16 bits: the number of bits that a picture uses, and the 8 of them that become its pixels.

Cameras and scanners write 10, 12 or 14 bits into files of 16, and no file says so: of 12 bits, the high 8 of 16 are 16
grey levels. Pillow hands over 16-bit grey as it is, but of 16-bit colour the high bytes alone. The low ones are had by
opening the file a second time and telling Pillow that its bytes are the other way round.
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
"""A picture that needs no more bits than these was hardly made for 16."""

GREY = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})
_BITS_PER_SAMPLE = 258
_NATIVE = "L" if sys.byteorder == "little" else "B"
_OTHER = {"B": "L", "L": "B"}
_NO_COLOUR = ("A", "a", "X")  # bands
_SWAPPED = ("RGB", "RGBA", "RGBa", "RGBX", "CMYK")  # of which Pillow reads both orders of bytes


def has_16_bits(image: Image.Image) -> bool:
    """Returns whether a file that is opened, but not loaded, says that its samples have 16 bits and nothing nearer."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return int(image.tag_v2.get(_BITS_PER_SAMPLE, (1,))[0]) == ALL_BITS
    if not isinstance(image, ImageFile.ImageFile) or not image.tile:
        return False
    args = image.tile[0].args
    if image.format == "PPM":  # of another maximum, Pillow has scaled them
        return args == "I;16B" or (isinstance(args, tuple) and args[-1] == 2**ALL_BITS - 1)
    return ";16" in str(args)


@dataclass(frozen=True)
class EightBitImage:
    """The 8 bits of an image's samples that become its pixels.

    Attributes:
        image: The image: in grey as it was, in colour already in these bits.
        bits: Number of bits of the largest sample, transparency left out, 8..16.
        shift: Number of bits by which samples are shifted to the right.
    """

    image: Image.Image
    bits: int
    shift: int


def in_eight_bits(image: Image.Image, sample_bits: int | None, again: Callable[[], Image.Image]) -> EightBitImage:
    """Chooses the bits of a loaded image whose file says that its samples have 16.

    Args:
        image: As Pillow loads it; in colour that is the high 8 bits.
        sample_bits: Number of bits of white, 8..16; None: as many as the image uses, where these are few.
        again: Opens the file once more.

    Raises:
        RejectionError: If the image has samples beyond white, or is of a kind of which Pillow gives no low bits.
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
    """Returns samples of `shift` + 8 bits in 8."""
    return (samples >> shift).astype(np.uint8)


def _used_bits(image: Image.Image, in_grey: bool) -> int:
    if in_grey:
        return max(FEWEST_BITS, int(np.asarray(image).max()).bit_length())
    colours = [band for band in image.getbands() if band not in _NO_COLOUR]
    largest = max(int(np.asarray(image.getchannel(band)).max()) for band in colours)
    return FEWEST_BITS + largest.bit_length()


def _combined(high: Image.Image, low: Image.Image, shift: int) -> Image.Image:
    """Returns an image of 8 bits from two that hold the samples' high and low bytes; transparency keeps the high."""
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
    """Has an opened image load its samples' low bytes; None where Pillow knows one order of bytes only."""
    if not isinstance(image, ImageFile.ImageFile) or not all(_swap(image, place) for place in range(len(image.tile))):
        return None
    return image


def _swap(image: ImageFile.ImageFile, place: int) -> bool:
    """Turns the order of bytes of a part of an opened image; says whether Pillow knows the other."""
    tile = image.tile[place]
    args = tile.args if isinstance(tile.args, tuple) else (tile.args,)
    mode, _, kind = str(args[0]).partition(";16")
    order = _NATIVE if kind == "N" else kind
    if mode not in _SWAPPED or order not in _OTHER:
        return False
    swapped = (f"{mode};16{_OTHER[order]}", *args[1:])
    image.tile[place] = tile._replace(args=swapped if isinstance(tile.args, tuple) else swapped[0])
    return True
