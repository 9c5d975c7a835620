"""The result of checking an image, in its own module so that the stage can read results without loading a decoder."""

from __future__ import annotations

from typing import NamedTuple

from sightline.core.rejection import RejectionReason


class CheckedImage(NamedTuple):
    """An image that was decoded completely. A tuple, because it passes through a pipe faster than a data class.

    Attributes:
        sha256: Of the encoded bytes.
        format: Pillow's name.
        width: In pixels, as seen.
        height: In pixels, as seen.
        mode: Pillow's name for the kind of pixel.
        bits: Number of bits that the largest sample needs, for files with 16-bit samples; None for all others.
        flags: Quality flags (a subset of `image_quality.FLAGS`).
        phash: Perceptual hash (`image_quality.phash`).
    """

    sha256: str
    format: str
    width: int
    height: int
    mode: str
    bits: int | None
    flags: tuple[str, ...]
    phash: bytes


class CheckFailure(NamedTuple):
    """Bytes that are not an acceptable image: the reason, and a human-readable line of detail."""

    reason: RejectionReason
    detail: str


CheckResult = CheckedImage | CheckFailure
