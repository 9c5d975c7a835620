"""What checking an image says. Stands alone, so that the stage reads answers without loading a decoder."""

from __future__ import annotations

from dataclasses import dataclass

from sightline.core.rejection import Reason


@dataclass(frozen=True, slots=True)
class Checked:
    """An image that was decoded to its last byte.

    Attributes:
        sha256: Of the encoded bytes.
        format: Pillow's name.
        width: In pixels, as seen.
        height: In pixels, as seen.
        mode: Pillow's name for the kind of pixel.
        bits: Of a file whose samples have 16 bits, how many the largest needs; None for all others.
        flags: What stands out (`looks.FLAGS`).
        phash: Perceptual hash (`looks.phash`).
    """

    sha256: str
    format: str
    width: int
    height: int
    mode: str
    bits: int | None
    flags: tuple[str, ...]
    phash: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """Bytes that are no acceptable image: one of the closed list of reasons, and a line for a person."""

    reason: Reason
    detail: str


Outcome = Checked | Refused
