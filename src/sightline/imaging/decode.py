"""Decoding: the one place where bytes become pixels, for every stage and for serving.

Pillow decides what a file's pixels are: decoders disagree (of 642 files of Pillow's own test corpus that Pillow and
OpenCV both read, 34 differ by more than 20 grey levels), so that a second opinion would be a second model input.
Where there can be but one, `quick` comes to it sooner. Bytes are not trusted: what can be refused is refused from the
header, and whatever a decoder raises becomes a reason.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import io
import logging
import re
import struct
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import PIL
from PIL import (
    BmpImagePlugin,  # noqa: F401  (each plugin registers its format; Pillow would else import all forty)
    GifImagePlugin,  # noqa: F401
    Image,
    ImageFile,
    JpegImagePlugin,  # noqa: F401
    PngImagePlugin,  # noqa: F401
    PpmImagePlugin,  # noqa: F401
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)

from sightline.core.rejection import RejectionError, RejectionReason
from sightline.imaging import bit_depth, convert, fast_decode, png_chunks, unsupported_formats
from sightline.imaging.convert import Pixels

T = TypeVar("T")

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""The formats that can be allowed, by Pillow's names; PPM stands for the family PBM, PGM and PPM."""

# What Pillow and libtiff find odd in a file is either refused here or of no account: nothing of it goes to standard
# error. Once, at import, since `catch_warnings` changes the process's filters and is not safe in a server's threads.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())
for _folder in ("pillow.libs", "PIL/.dylibs"):  # where Pillow's wheels for Linux and macOS keep theirs
    for _library in (Path(PIL.__file__).parent.parent / _folder).glob("libtiff*"):
        ctypes.CDLL(str(_library)).TIFFSetErrorHandler(None)

MAX_SECONDS = 30.0
"""What one image may take, wherever one is waited for; the slowest of Pillow's hostile files takes 0.2."""

MAX_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 0)
_TRUNCATED = re.compile(r"truncat|unexpected end|premature|end of file|unpack requires|not enough|image file is", re.I)
# Pillow brings the samples of these PNG layouts to 8 bits, but leaves the transparent colour as the file has it.
_PNG_KEY_SCALE = {"L;2": 85.0, "L;4": 17.0, "RGB;16B": 1 / 256}


@dataclass(frozen=True)
class Limits:
    """What is accepted, checked from the header before anything is decoded.

    Attributes:
        max_pixels: Width times height; at most 178,956,970, Pillow's own limit.
        max_bytes: Size of the encoded file.
        max_frames: Frames of an animation or pages of a document.
        first_frame: Takes the first frame where there are more than `max_frames`, instead of refusing.
        formats: Some of `FORMATS`.
    """

    max_pixels: int = 50_000_000
    max_bytes: int = 32 * 2**20
    max_frames: int = 1
    first_frame: bool = False
    formats: tuple[str, ...] = FORMATS

    def __post_init__(self) -> None:
        if not 1 <= self.max_pixels <= MAX_PIXELS:
            raise ValueError(f"max_pixels: {self.max_pixels} is not in 1..{MAX_PIXELS}")
        if self.max_bytes < 1 or self.max_frames < 1:
            raise ValueError("max_bytes and max_frames must be at least 1")
        if not self.formats or set(self.formats) - set(FORMATS):
            raise ValueError(f"formats: {', '.join(self.formats) or 'none'}; allowed: {', '.join(FORMATS)}")


_DEFAULT = Limits()

ANY_SIZE = Limits(max_pixels=MAX_PIXELS, max_bytes=2**40, max_frames=2**20, first_frame=True)
"""For images that ingestion has let in: it has held each against the limits that the user set."""


@dataclass(frozen=True, slots=True)
class Info:
    """What an image is.

    Attributes:
        format: One of `FORMATS`.
        width: In pixels, as seen: with the EXIF orientation applied.
        height: In pixels, as seen.
        mode: Pillow's name for the kind of pixel, as "L", "RGB", "P", "CMYK", "I;16".
        frames: Counted no further than one more than is allowed.
        bits: Of a file whose samples have 16 bits, how many the largest needs, 8..16; None for all others.
    """

    format: str
    width: int
    height: int
    mode: str
    frames: int
    bits: int | None = None


def decode(
    data: bytes,
    channels: int = 3,
    background: Sequence[int] = (255, 255, 255),
    limits: Limits | None = None,
    sample_bits: int | None = bit_depth.ALL_BITS,
) -> Pixels:
    """Decodes an image strictly: a truncated or damaged file is refused, never half decoded.

    The EXIF orientation is applied. Samples of more than 8 bits are scaled, by the high 8 of their bits, never clipped.
    Transparent pixels, of an alpha channel or a palette, are laid over `background`. Grey is the luma of ITU-R BT.601.
    Embedded colour profiles are ignored: CMYK is converted by the textbook formula. The pictures that follow the first
    in a camera's JPEG (MPO: previews, depth) are no frames.

    Args:
        data: The encoded file.
        channels: 1 for grey, 3 for RGB.
        background: (red, green, blue), 0..255.
        limits: What is accepted.
        sample_bits: How many bits white has in files of 16-bit samples, 8..16; None: as many as the image uses, where
            it uses 14 or fewer. Files whose samples have fewer bits say so themselves.

    Returns:
        [height, width, channels] uint8, in memory of its own.

    Raises:
        RejectionError: With the reason, for any bytes that do not become an image.
    """
    return read(data, channels, background, limits, sample_bits)[1]


def read(
    data: bytes,
    channels: int = 3,
    background: Sequence[int] = (255, 255, 255),
    limits: Limits | None = None,
    sample_bits: int | None = bit_depth.ALL_BITS,
) -> tuple[Info, Pixels]:
    """Returns what an image is, and what `decode` returns."""
    if channels not in (1, 3):
        raise ValueError(f"channels: {channels} is neither 1 nor 3")
    limits = limits or _DEFAULT
    if sample_bits is not None and not bit_depth.FEWEST_BITS <= sample_bits <= bit_depth.ALL_BITS:
        raise ValueError(f"sample_bits: {sample_bits} is not in {bit_depth.FEWEST_BITS}..{bit_depth.ALL_BITS}")
    return _read_quickly(data, channels, limits) or _read(data, channels, background, limits, sample_bits)


def _read_quickly(data: bytes, channels: int, limits: Limits) -> tuple[Info, Pixels] | None:
    """Does what `_read` does for small plain files; returns None for all others."""
    if len(data) > limits.max_bytes:
        return None
    found = fast_decode.decode(data, limits.formats, limits.max_pixels)
    if found is None:
        return None
    format_, stored, turn = found
    out = convert.upright(convert.in_channels(stored, channels), turn)
    return Info(format_, out.shape[1], out.shape[0], "L" if stored.shape[2] == 1 else "RGB", 1), out


def _read(
    data: bytes,
    channels: int,
    background: Sequence[int],
    limits: Limits,
    sample_bits: int | None = bit_depth.ALL_BITS,
) -> tuple[Info, Pixels]:
    info, out, turn = _bearing_metadata(data, lambda data: _stored(data, channels, background, limits, sample_bits))
    out = convert.upright(out, turn)  # once the opened file has been let go
    return dataclasses.replace(info, width=out.shape[1], height=out.shape[0]), out


def _stored(
    data: bytes, channels: int, background: Sequence[int], limits: Limits, sample_bits: int | None
) -> tuple[Info, Pixels, int]:
    """Returns what an image is, as stored; the pixels as stored; and the EXIF orientation."""
    image, info = _open(data, limits)
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
    return info, convert.flat(image, channels, background, shift), turn


def _bearing_metadata(data: bytes, work: Callable[[bytes], T]) -> T:
    """Returns `work` of a file; a PNG of which Pillow finds texts or profile too large is taken without them.

    Raises:
        RejectionError: With the reason, whatever `work` raises.
    """
    with _refusing():
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
    """Encodes [height, width, 1 or 3] uint8 as PNG: the same bytes for the same pixels (and version of zlib)."""
    stream = io.BytesIO()
    Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(stream, "PNG", compress_level=6)
    return stream.getvalue()


@contextlib.contextmanager
def _refusing() -> Iterator[None]:
    """Turns what a decoder raises into a reason. Only calls of Pillow and reads of its attributes stand inside."""
    try:
        yield
    except RejectionError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise RejectionError(RejectionReason.TOO_MANY_PIXELS, f"more than {MAX_PIXELS:,} pixels") from None
    except MemoryError:
        raise RejectionError(RejectionReason.OUT_OF_MEMORY, "decoding needs more memory than there is") from None
    except Exception as error:  # decoders raise anything: OSError, SyntaxError, struct.error, IndexError...
        text = " ".join(str(error).split())
        truncated = isinstance(error, EOFError | struct.error) or _TRUNCATED.search(text)
        detail = re.sub(r"[^\x20-\x7e]", "?", f"{type(error).__name__}: {text}")[:160]
        raise RejectionError(RejectionReason.TRUNCATED if truncated else RejectionReason.CORRUPT, detail) from None


def _open(data: bytes, limits: Limits) -> tuple[Image.Image, Info]:
    if not data:
        raise RejectionError(RejectionReason.EMPTY, "0 bytes")
    if len(data) > limits.max_bytes:
        raise RejectionError(RejectionReason.TOO_MANY_BYTES, f"{len(data):,} bytes, allowed {limits.max_bytes:,}")
    try:
        image = Image.open(io.BytesIO(data), formats=limits.formats)
    except Exception as error:  # a text may begin as a picture does, and raises what a damaged one would
        if fault := unsupported_formats.refusal(data):
            raise fault from None
        if isinstance(error, UnidentifiedImageError):
            raise _unidentified(data, limits) from None
        raise
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        unsupported_formats.require_no_preview(data, image.tag_v2)
    width, height = image.size
    if width * height > limits.max_pixels:
        raise RejectionError(
            RejectionReason.TOO_MANY_PIXELS, f"{width} x {height} pixels, allowed {limits.max_pixels:,}"
        )
    if width * height == 0:
        raise RejectionError(RejectionReason.CORRUPT, f"{width} x {height} pixels")
    info = Info(_format(image), width, height, image.mode, _frames(image, limits.max_frames))
    if image.mode not in convert.MODES and (info.format, image.mode) != ("PPM", "I"):
        raise RejectionError(
            RejectionReason.UNSUPPORTED_FORMAT,
            f"{info.format} with pixels of mode {image.mode}, whose black and white are not defined: "
            "save it as grey, RGB or CMYK with 8 or 16 bits",
        )
    if info.frames > limits.max_frames and not limits.first_frame:
        raise RejectionError(RejectionReason.TOO_MANY_FRAMES, f"more than {limits.max_frames}")
    return image, info


def _unidentified(data: bytes, limits: Limits) -> RejectionError:
    """Says why no allowed format reads the file: by its signature alone, no other decoder sees the bytes."""
    Image.init()
    start = data[:16].ljust(16, b"\0")  # plugins unpack numbers from it
    names = [name for name, (_, accept) in Image.OPEN.items() if accept and accept(start) is True]
    if allowed := [name for name in names if name in limits.formats]:
        return RejectionError(RejectionReason.CORRUPT, f"begins as {allowed[0]}, but its header cannot be read")
    if known := [name for name in names if name in FORMATS]:
        return RejectionError(RejectionReason.FORMAT_NOT_ALLOWED, f"{known[0]}; allowed: {', '.join(limits.formats)}")
    if names:
        return unsupported_formats.unsupported(names[0])
    return RejectionError(RejectionReason.NOT_AN_IMAGE, "no signature of an image format")


def _format(image: Image.Image) -> str:
    return "JPEG" if image.format == "MPO" else str(image.format)


def _frames(image: Image.Image, most: int) -> int:
    """Counts frames up to `most` + 1: a GIF's must be walked through, and there may be millions."""
    if image.format == "MPO" or not getattr(image, "is_animated", False):
        return 1
    return 2 if most == 1 else min(int(getattr(image, "n_frames", 1)), most + 1)


def _png_key_scale(image: Image.Image) -> float:
    layout = image.tile[0].args if isinstance(image, ImageFile.ImageFile) and image.tile else None
    return _PNG_KEY_SCALE.get(layout if isinstance(layout, str) else "", 1.0)


def _scale_png_key(image: Image.Image, scale: float) -> None:
    key = image.info.get("transparency")
    if scale != 1 and isinstance(key, int | tuple):
        scaled = [int(v * scale) for v in (key if isinstance(key, tuple) else (key,))]
        del image.info["transparency"]
        if max(scaled) <= 255:  # else no pixel has that colour
            image.info["transparency"] = tuple(scaled) if isinstance(key, tuple) else scaled[0]
