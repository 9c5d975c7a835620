"""Near duplicates: images whose perceptual hashes differ in few bits, without comparing every one with every other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from sightline.core.connected import connected_groups
from sightline.core.progress import track
from sightline.stages.ingest.image_quality import HASH_BYTES

MAX_DISTANCE = 12
"""Bits of 256 in which two hashes of near duplicates may differ: 98 % of photographs saved again at JPEG quality 30."""

TELLING_BITS = range(64, 193)
"""Bits that are set in a hash which tells something: about half. Where most frequencies are equal, as in a picture of
one colour or of one row, far more are, and unrelated pictures have one hash: such a picture has no near duplicates."""

_BAND_BYTES = 2  # of 16 bands at least 4 are equal where at most 12 bits of all differ
_RUN = 64  # neighbours that a hash is held against, of those with which it shares a band
_ROWS = 2**16

Hashes = npt.NDArray[np.uint8]
Pairs = npt.NDArray[np.int64]


def near_pairs(hashes: Hashes, max_distance: int = MAX_DISTANCE) -> Pairs:
    """Returns the pairs of near duplicates.

    Two hashes are compared where a band of them is equal and they are near neighbours among those that share it, in
    order of the whole hash: linear in the number of hashes, and exact where no more than 64 share a band.

    Args:
        hashes: [n, HASH_BYTES] uint8.
        max_distance: Bits that may differ.

    Returns:
        [m, 2] positions, the smaller first; sorted, each pair once.
    """
    bits = np.bitwise_count(hashes).sum(axis=1, dtype=np.int64)
    telling = np.flatnonzero((bits >= TELLING_BITS.start) & (bits < TELLING_BITS.stop))
    hashes = hashes[telling]
    parts = [np.empty((0, 2), np.int64)]
    bands = range(0, HASH_BYTES, _BAND_BYTES)
    for start in track(bands, "comparing", len(hashes), each=len(hashes) / len(bands)):
        rolled = np.roll(hashes, -start, axis=1)  # the band first: sorting whole hashes brings equal bands together
        order = np.lexsort(rolled.T[::-1]) if len(rolled) else np.empty(0, np.int64)
        band = rolled[order, :_BAND_BYTES].copy().view(np.uint16).ravel()
        parts.extend(_pairs_in(hashes, order, band, max_distance))
    return telling[np.unique(np.concatenate(parts), axis=0)]


def _pairs_in(hashes: Hashes, order: Pairs, band: npt.NDArray[np.uint16], max_distance: int) -> Iterator[Pairs]:
    words = np.ascontiguousarray(hashes[order]).view(np.uint64)
    for step in range(1, min(_RUN, len(order))):
        left = np.flatnonzero(band[:-step] == band[step:])
        if not len(left):
            return
        for part in np.array_split(left, len(left) // _ROWS + 1):
            differing = np.bitwise_count(words[part] ^ words[part + step]).sum(axis=1)
            near = part[differing <= max_distance]
            yield np.sort(np.stack([order[near], order[near + step]], axis=1), axis=1)


def near_groups(pairs: Pairs) -> list[list[int]]:
    """Returns the positions that pairs connect, group by group: each sorted, the groups by their first."""
    links: list[tuple[int, int]] = pairs.tolist()
    return sorted(sorted(group) for group in connected_groups(links))
