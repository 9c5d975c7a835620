"""The result of checking an image. Stands alone, so that the stage reads results without loading a decoder."""

from __future__ import annotations

from typing import NamedTuple

from sightline.core.rejection import RejectionReason


class CheckedImage(NamedTuple):
    """An image that was decoded to its last byte: a tuple, which goes through a pipe sooner than a data class.

    Attributes:
        sha256: Of the encoded bytes.
        format: Pillow's name.
        width: In pixels, as seen.
        height: In pixels, as seen.
        mode: Pillow's name for the kind of pixel.
        bits: Of a file whose samples have 16 bits, how many the largest needs; None for all others.
        flags: Flags of its quality (`image_quality.FLAGS`).
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
    """Bytes that are no acceptable image: one of the closed list of reasons, and a human-readable line."""

    reason: RejectionReason
    detail: str


CheckResult = CheckedImage | CheckFailure
