"""Decoding: the only place where bytes become pixels, for every stage and for serving.

Pillow defines the pixels of a file: decoders disagree (of 642 files in Pillow's own test corpus that Pillow and OpenCV
both read, 34 differ by more than 20 grey levels), so another decoder would give the model other inputs. For files that
have only one correct decoding, `fast_decode` gives the same result faster.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Sequence
from typing import TypeVar

from PIL import Image, ImageFile

from sightline.core.rejection import RejectionError
from sightline.imaging import bit_depth, convert, fast_decode, png_chunks
from sightline.imaging.convert import Pixels
from sightline.imaging.image_file import Info, Limits, open_image, rejecting

T = TypeVar("T")

_DEFAULT = Limits()
# Pillow scales the samples of these PNG layouts to 8 bits, but leaves the transparent colour as it is in the file.
_PNG_KEY_SCALE = {"L;2": 85.0, "L;4": 17.0, "RGB;16B": 1 / 256}


def decode(
    data: bytes,
    channels: int = 3,
    background: Sequence[int] = (255, 255, 255),
    limits: Limits | None = None,
    sample_bits: int | None = bit_depth.ALL_BITS,
) -> Pixels:
    """Decodes an image strictly: a truncated or damaged file is rejected, never partly decoded.

    The EXIF orientation is applied. Samples of more than 8 bits are reduced to their high 8 bits, never clipped.
    Transparent pixels, from an alpha channel or a palette, are blended onto `background`. Grey is the luma of ITU-R
    BT.601. Embedded colour profiles are ignored: CMYK is converted by the textbook formula. Further images in a
    camera's JPEG (MPO: previews, depth) do not count as frames.

    Args:
        data: The encoded file.
        channels: 1 for grey, 3 for RGB.
        background: (red, green, blue), 0..255.
        limits: Limits on what is accepted.
        sample_bits: Number of bits of white in files of 16-bit samples, 8..16; None: as many as the image uses, if it
            uses 14 or fewer. Files with fewer bits per sample declare them.

    Returns:
        [height, width, channels] uint8, a new array.

    Raises:
        RejectionError: With the reason, for any bytes that cannot be decoded.
    """
    return decode_with_info(data, channels, background, limits, sample_bits)[1]


def decode_with_info(
    data: bytes,
    channels: int = 3,
    background: Sequence[int] = (255, 255, 255),
    limits: Limits | None = None,
    sample_bits: int | None = bit_depth.ALL_BITS,
) -> tuple[Info, Pixels]:
    """Returns the properties of an image, and its pixels as from `decode`."""
    if channels not in (1, 3):
        raise ValueError(f"channels: {channels} is neither 1 nor 3")
    limits = limits or _DEFAULT
    if sample_bits is not None and not bit_depth.FEWEST_BITS <= sample_bits <= bit_depth.ALL_BITS:
        raise ValueError(f"sample_bits: {sample_bits} is not in {bit_depth.FEWEST_BITS}..{bit_depth.ALL_BITS}")
    return _decode_quickly(data, channels, limits) or _decode_by_pillow(data, channels, background, limits, sample_bits)


def _decode_quickly(data: bytes, channels: int, limits: Limits) -> tuple[Info, Pixels] | None:
    """Returns the same as `_decode_by_pillow` for small plain files; None for all others."""
    if len(data) > limits.max_bytes:
        return None
    found = fast_decode.decode(data, limits.formats, limits.max_pixels)
    if found is None:
        return None
    format_, stored, turn = found
    out = convert.upright(convert.in_channels(stored, channels), turn)
    return Info(format_, out.shape[1], out.shape[0], "L" if stored.shape[2] == 1 else "RGB", 1), out


def _decode_by_pillow(
    data: bytes,
    channels: int,
    background: Sequence[int],
    limits: Limits,
    sample_bits: int | None,
) -> tuple[Info, Pixels]:
    info, out, turn = _bearing_metadata(data, lambda data: _stored(data, channels, background, limits, sample_bits))
    out = convert.upright(out, turn)  # after the opened file has been released
    return dataclasses.replace(info, width=out.shape[1], height=out.shape[0]), out


def _stored(
    data: bytes, channels: int, background: Sequence[int], limits: Limits, sample_bits: int | None
) -> tuple[Info, Pixels, int]:
    """Returns the properties of an image as stored, its pixels as stored, and the EXIF orientation."""
    image, info = open_image(data, limits)
    scale = 1.0
    if info.format == "PNG":
        png_chunks.require_sound(data)
        scale = _png_key_scale(image)
    is_16 = bit_depth.has_16_bits(image)
    image.load()
    turn, shift = convert.orientation(image), None
    if is_16:
        deep = bit_depth.in_eight_bits(image, sample_bits, lambda: Image.open(io.BytesIO(data), formats=limits.formats))
        scale = scale if deep.image is image else 1 / 2**deep.shift
        info, image, shift = dataclasses.replace(info, bits=deep.bits), deep.image, deep.shift
    _scale_png_key(image, scale)
    return info, convert.stored_pixels(image, channels, background, shift), turn


def _bearing_metadata(data: bytes, work: Callable[[bytes], T]) -> T:
    """Returns `work` of a file; a PNG whose texts or profile are too large for Pillow is retried without them.

    Raises:
        RejectionError: With the reason, whatever `work` raises.
    """
    with rejecting():
        try:
            return work(data)
        except RejectionError:
            raise
        except ValueError:
            plain = png_chunks.without_metadata(data)
            if plain is None:
                raise
        return work(plain)


def encode_png(image: Pixels) -> bytes:
    """Encodes [height, width, 1 or 3] uint8 as PNG: the same bytes for the same pixels (and zlib version)."""
    stream = io.BytesIO()
    Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(stream, "PNG", compress_level=6)
    return stream.getvalue()


def _png_key_scale(image: Image.Image) -> float:
    layout = image.tile[0].args if isinstance(image, ImageFile.ImageFile) and image.tile else None
    return _PNG_KEY_SCALE.get(layout if isinstance(layout, str) else "", 1.0)


def _scale_png_key(image: Image.Image, scale: float) -> None:
    key = image.info.get("transparency")
    if scale != 1 and isinstance(key, int | tuple):
        scaled = [int(v * scale) for v in (key if isinstance(key, tuple) else (key,))]
        del image.info["transparency"]
        if max(scaled) <= 255:  # otherwise no pixel has that colour
            image.info["transparency"] = tuple(scaled) if isinstance(key, tuple) else scaled[0]
