"""Image files opened with Pillow: limits, checks of the header, and the reasons for rejecting a file.

Bytes are not trusted: whatever can be rejected from the header is, and any exception of a decoder becomes a reason.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import logging
import re
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import PIL
from PIL import (
    BmpImagePlugin,  # noqa: F401  (each plugin registers its format; Pillow would otherwise import all forty)
    GifImagePlugin,  # noqa: F401
    Image,
    JpegImagePlugin,  # noqa: F401
    PngImagePlugin,  # noqa: F401
    PpmImagePlugin,  # noqa: F401
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)

from sightline.core.rejection import RejectionError, RejectionReason
from sightline.imaging import convert, unsupported_formats

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""The formats that can be allowed, by Pillow's names; PPM stands for the family of PBM, PGM and PPM."""

# Anything odd that Pillow and libtiff report about a file is either rejected here or harmless, so their messages are
# silenced. At import, because `catch_warnings` changes process-wide filters, which is not safe in a server's threads.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())
for _folder in ("pillow.libs", "PIL/.dylibs"):  # the libraries in Pillow's wheels for Linux and macOS
    for _library in (Path(PIL.__file__).parent.parent / _folder).glob("libtiff*"):
        ctypes.CDLL(str(_library)).TIFFSetErrorHandler(None)

MAX_SECONDS = 30.0
"""Maximum seconds to wait for one image; the slowest of Pillow's hostile test files takes 0.2."""

MAX_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 0)
_TRUNCATED = re.compile(r"truncat|unexpected end|premature|end of file|unpack requires|not enough|image file is", re.I)


@dataclass(frozen=True)
class Limits:
    """Limits on what is accepted, checked from the header before anything is decoded.

    Attributes:
        max_pixels: Width times height; at most 178,956,970, Pillow's own limit.
        max_bytes: Size of the encoded file.
        max_frames: Frames of an animation or pages of a document.
        first_frame: Whether to use the first frame if there are more than `max_frames`, instead of rejecting the file.
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


ANY_SIZE = Limits(max_pixels=MAX_PIXELS, max_bytes=2**40, max_frames=2**20, first_frame=True)
"""For images that ingestion has accepted: it has already applied the user's limits."""


@dataclass(frozen=True, slots=True)
class Info:
    """The properties of an image, from its header and its pixels.

    Attributes:
        format: One of `FORMATS`.
        width: In pixels, as displayed: with the EXIF orientation applied.
        height: In pixels, as displayed.
        mode: Pillow's name for the pixel mode, such as "L", "RGB", "P", "CMYK", "I;16".
        frames: Number of frames; counting stops at one more than is allowed.
        bits: For 16-bit samples, the number of bits that the largest one needs, 8..16; None for all other files.
    """

    format: str
    width: int
    height: int
    mode: str
    frames: int
    bits: int | None = None


@contextlib.contextmanager
def rejecting() -> Iterator[None]:
    """Turns a decoder's exceptions into rejections. The block must only call Pillow and read its attributes."""
    try:
        yield
    except RejectionError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise RejectionError(RejectionReason.TOO_MANY_PIXELS, f"more than {MAX_PIXELS:,} pixels") from None
    except MemoryError:
        raise RejectionError(RejectionReason.OUT_OF_MEMORY, "decoding needs more memory than is available") from None
    except Exception as error:  # decoders raise anything: OSError, SyntaxError, struct.error, IndexError...
        text = " ".join(str(error).split())
        truncated = isinstance(error, EOFError | struct.error) or _TRUNCATED.search(text)
        if truncated:
            raise RejectionError(RejectionReason.TRUNCATED, "the file ends before the image does") from None
        cause = re.sub(r"[^\x20-\x7e]", "?", text or type(error).__name__)[:160]
        raise RejectionError(RejectionReason.CORRUPT, f"the image data are damaged ({cause})") from None


def open_image(data: bytes, limits: Limits) -> tuple[Image.Image, Info]:
    """Opens an image file and checks its header; no pixels are decoded yet.

    Raises:
        RejectionError: If it is not accepted. Pillow's own exceptions must be turned into one by `rejecting`.
    """
    if not data:
        raise RejectionError(RejectionReason.EMPTY, "0 bytes")
    if len(data) > limits.max_bytes:
        raise RejectionError(
            RejectionReason.TOO_MANY_BYTES, f"{len(data):,} bytes, at most {limits.max_bytes:,} are allowed"
        )
    try:
        image = Image.open(io.BytesIO(data), formats=limits.formats)
    except Exception as error:  # text may begin like an image, and then raises the same error as a damaged image
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
            RejectionReason.TOO_MANY_PIXELS, f"{width} x {height} pixels, at most {limits.max_pixels:,} are allowed"
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
    """Returns why no allowed format can read the file, from its signature: no other decoder gets to see the bytes."""
    Image.init()
    start = data[:16].ljust(16, b"\0")  # plugins unpack numbers from it
    names = [name for name, (_, accept) in Image.OPEN.items() if accept and accept(start) is True]
    if allowed := [name for name in names if name in limits.formats]:
        return RejectionError(RejectionReason.CORRUPT, f"begins like {allowed[0]}, but its header cannot be read")
    if known := [name for name in names if name in FORMATS]:
        return RejectionError(RejectionReason.FORMAT_NOT_ALLOWED, f"{known[0]}; allowed: {', '.join(limits.formats)}")
    if names:
        return unsupported_formats.unsupported(names[0])
    return RejectionError(RejectionReason.NOT_AN_IMAGE, "no signature of an image format")


def _format(image: Image.Image) -> str:
    return "JPEG" if image.format == "MPO" else str(image.format)


def _frames(image: Image.Image, most: int) -> int:
    """Counts frames up to `most` + 1: a GIF has to be read to count them, and there may be millions."""
    if image.format == "MPO" or not getattr(image, "is_animated", False):
        return 1
    return 2 if most == 1 else min(int(getattr(image, "n_frames", 1)), most + 1)
