"""Access to the pictures under review by their digest: from the raw set's shards, a folder, or the source."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from sightline.core.rejection import RejectionError
from sightline.datasets import raw_shard_file
from sightline.datasets.raw_set import raw_shards
from sightline.imaging import decode

_GROUP = 256  # rows per row group of a shard, as ingestion writes them
_SMALL = 256
"""Length of the longer side, in pixels, up to which thousands of scaled pictures are cached."""
_TINY = 64
"""Length of the longer side, in pixels, up to which a picture is sent as PNG; the page enlarges its pixels."""


class PictureStore:
    """Finds pictures by their digests, with only a few of them in memory.

    Args:
        raw: The folder that ingestion wrote.
        others: Files of pictures that are not in that folder, by digest.
    """

    def __init__(self, raw: Path, others: Mapping[str, Path]) -> None:
        self._others = others
        self._places: dict[str, tuple[Path, int]] = {}
        self.labels: dict[str, set[str]] = {}
        for shard in raw_shards(raw):
            table = raw_shard_file.read_columns(shard.path)
            for row, (sha256, label) in enumerate(
                zip(table["sha256"].to_pylist(), table["label"].to_pylist(), strict=True)
            ):
                self._places.setdefault(sha256, (shard.path, row))
                self.labels.setdefault(sha256, set()).add(label)
        # A large picture takes hundreds of kilobytes, a small one only a few.
        self._large = functools.lru_cache(64)(self._scaled)
        self._small = functools.lru_cache(4096)(self._scaled)

    def __contains__(self, sha256: str) -> bool:
        return sha256 in self._places or sha256 in self._others

    def data(self, sha256: str) -> bytes:
        """Returns the encoded picture.

        Raises:
            KeyError: If there is no such picture.
            UserError: If the shard is missing or damaged.
        """
        if sha256 in self._others:
            return self._others[sha256].read_bytes()
        path, row = self._places[sha256]
        return _row_group(path, row // _GROUP)[row % _GROUP]

    def shown(self, sha256: str, side: int) -> tuple[bytes, str]:
        """Returns a picture as the page shows it, no side longer than `side` pixels, and its media type.

        Raises:
            RejectionError: If it cannot be decoded.
            KeyError: If there is no such picture.
        """
        return (self._small if side <= _SMALL else self._large)(sha256, side)

    def _scaled(self, sha256: str, side: int) -> tuple[bytes, str]:
        pixels = decode.decode(self.data(sha256), channels=3)
        longer = max(pixels.shape[:2])
        if longer > side:
            size = [max(1, round(length * side / longer)) for length in pixels.shape[1::-1]]
            pixels = cv2.resize(pixels, (size[0], size[1]), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        if longer <= _TINY:
            return decode.encode_png(pixels), "image/png"
        done, data = cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
        if not done:
            raise RuntimeError("OpenCV encoded no JPEG")
        return bytes(data), "image/jpeg"


@functools.lru_cache(8)
def _row_group(path: Path, number: int) -> list[bytes]:
    with raw_shard_file.open_parquet(path) as file:
        column = file.read_row_group(number, columns=["image"])["image"].combine_chunks()
        return list(column.field("bytes").to_pylist())


def is_readable(data: bytes) -> bool:
    """Returns whether the bytes can be decoded to a picture."""
    try:
        decode.decode(data, channels=1)
    except RejectionError:
        return False
    return True
