"""Conversion of an opened image to pixels: 8 bits, without transparency, upright."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin

from sightline.imaging import bit_depth

Pixels = npt.NDArray[np.uint8]
"""[height, width, 1 or 3]: grey, or red, green and blue."""

_BAND_PIXELS = 2**17
_SHRUNK_SIDE = 64
_MODES_8 = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr"})
MODES = _MODES_8 | bit_depth.GREY
"""Pixel modes, by Pillow's names, whose black and white are defined; for "I" they are only in a PPM file."""

_BITS_PER_SAMPLE, _PHOTOMETRIC, _ORIENTATION = 258, 262, 274
_LUMA = np.array([[19595, 38470, 7471, 2**15]], np.float32) / 2**16  # Pillow's weights; the last is added for rounding
_FLIPS = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}  # OpenCV's codes, by orientation: 1 left and right, 0 top and bottom


def stored_pixels(image: Image.Image, channels: int, background: Sequence[int], shift: int | None = None) -> Pixels:
    """Returns a loaded image as stored, in 8 bits, with transparent pixels blended onto `background`.

    Args:
        image: The image.
        channels: 1 or 3.
        background: (red, green, blue), 0..255.
        shift: Number of bits by which 16-bit grey samples are shifted to the right; None: as the file says.

    Raises:
        Exception: Any exception that Pillow raises.
    """
    mode = "L" if channels == 1 else "RGB"
    declared, white_is_zero = _depth(image)
    depth = (declared if shift is None else shift, white_is_zero)
    width, height = image.size
    # In bands, so that memory holds at most two copies of the image, however many conversions its mode needs.
    out = np.empty((height, width, channels), np.uint8)
    rows = max(1, _BAND_PIXELS // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        band = image if bottom - top == height else image.crop((0, top, width, bottom))
        plain = _flatten(band, depth, background)
        if plain.mode != mode:
            plain = plain.convert(mode)
        out[top:bottom] = np.asarray(plain).reshape(bottom - top, width, channels)
    return out


def in_channels(array: Pixels, channels: int) -> Pixels:
    """Converts decoded pixels to 1 or 3 channels, as `_flatten` would; the result is contiguous, a copy if need be."""
    if array.shape[2] == channels:
        return np.ascontiguousarray(array)
    if channels == 3:
        return np.repeat(array, 3, axis=2)
    return _grey(array)


def _grey(array: Pixels) -> Pixels:
    """Returns Pillow's luma of [height, width, 3] uint8, as [height, width, 1]: the same numbers, faster.

    Its weights are multiples of 2^-16, so every product and every sum up to 255.5 fits into the 24-bit significand of
    float32: exact in any order, and truncated to integers as Pillow does it.
    """
    import cv2

    height, width = array.shape[:2]
    out = np.empty((height, width, 1), np.uint8)
    rows = max(1, _BAND_PIXELS // width)
    for top in range(0, height, rows):
        band = array[top : top + rows].astype(np.float32)
        out[top : top + rows, :, 0] = cv2.transform(band, _LUMA)
    return out


def _depth(image: Image.Image) -> tuple[int, bool]:
    """Returns the right shift for samples of more than 8 bits, and whether their white is 0."""
    if isinstance(image, TiffImagePlugin.TiffImageFile) and image.mode in bit_depth.GREY:
        bits = int(image.tag_v2.get(_BITS_PER_SAMPLE, (16,))[0])
        return bits - 8, image.tag_v2.get(_PHOTOMETRIC) == 0
    return 8, False


def _flatten(image: Image.Image, depth: tuple[int, bool], background: Sequence[int]) -> Image.Image:
    """Returns an image of mode L or RGB, without transparency."""
    paper = (background[0], background[1], background[2])
    if image.mode in bit_depth.GREY or image.mode == "I":
        shift, white_is_zero = depth
        levels = np.asarray(image)
        grey = bit_depth.eight_bits(levels, shift)
        flat = Image.fromarray(255 - grey if white_is_zero else grey)
        key = image.info.get("transparency")
        if not isinstance(key, int):
            return flat
        opaque = Image.fromarray(np.where(levels == key, np.uint8(0), np.uint8(255)))
        under = Image.new("RGB", image.size, paper)
        under.paste(flat.convert("RGB"), mask=opaque)
        return under
    if image.has_transparency_data:
        over = image.convert("RGBA")
        under = Image.new("RGB", image.size, paper)
        under.paste(over, mask=over)
        return under
    if image.mode in ("L", "RGB"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def orientation(image: Image.Image) -> int:
    """Returns the EXIF orientation, 1..8; 1 if there is none, or the EXIF block (not part of the pixels) is broken."""
    try:
        turn = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a parser of untrusted bytes may raise anything
        return 1
    return turn if turn in range(1, 9) else 1


def upright(image: Pixels, turn: int) -> Pixels:
    """Turns an image upright by its EXIF orientation, 1..8 (the table of EXIF 2.32 section 4.6.4)."""
    if turn == 1:
        return image
    import cv2  # imported here because few images need it; several times faster than NumPy on large ones

    turned = cv2.transpose(image) if turn >= 5 else image
    if turn in _FLIPS:
        turned = cv2.flip(turned, _FLIPS[turn], None if turned is image else turned)
    return np.asarray(turned, np.uint8).reshape(*turned.shape[:2], image.shape[2])


def shrunk(grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Averages blocks of pixels (squares except in very thin images) so that the longer side gets 64 to 127 pixels.

    Args:
        grey: [height, width] uint8; returned unchanged if its longer side is below 128 pixels.
    """
    import cv2

    height, width = grey.shape
    factor = max(height, width) // _SHRUNK_SIDE
    if factor <= 1:
        return grey
    down, across = min(factor, height), min(factor, width)
    size = (width // across, height // down)
    whole = grey[: size[1] * down, : size[0] * across]
    return np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA), np.uint8)
