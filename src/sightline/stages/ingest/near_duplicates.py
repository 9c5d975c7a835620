"""Near duplicates: images whose perceptual hashes differ in few bits, found without comparing all pairs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from sightline.core.connected import connected_groups
from sightline.core.progress import track
from sightline.stages.ingest.image_quality import HASH_BYTES

MAX_DISTANCE = 12
"""Bits of 256 in which hashes of near duplicates may differ: finds 98 % of photographs resaved at JPEG quality 30."""

TELLING_BITS = range(64, 193)
"""Range of set bits in an informative hash: about half. Where most frequencies are equal, as in an image of one colour
or one row, far more bits are set, and unrelated images share a hash: such images are given no near duplicates."""

_BAND_BYTES = 2  # 16 bands, at least 4 of which are equal if no more than 12 bits differ
_RUN = 64  # number of neighbours that share a band with a hash and are compared with it
_ROWS = 2**16

Hashes = npt.NDArray[np.uint8]
Pairs = npt.NDArray[np.int64]


def near_pairs(hashes: Hashes, max_distance: int = MAX_DISTANCE) -> Pairs:
    """Returns the pairs of near duplicates.

    Two hashes are compared if they share a band and are close neighbours among the hashes that share it, sorted by the
    whole hash. The work is linear in the number of hashes, and the result exact if at most 64 hashes share a band.

    Args:
        hashes: [n, HASH_BYTES] uint8.
        max_distance: Maximum number of differing bits.

    Returns:
        [m, 2] int64 positions in `hashes`, the smaller first; sorted, each pair once.
    """
    bits = np.bitwise_count(hashes).sum(axis=1, dtype=np.int64)
    telling = np.flatnonzero((bits >= TELLING_BITS.start) & (bits < TELLING_BITS.stop))
    hashes = hashes[telling]
    parts = [np.empty((0, 2), np.int64)]
    bands = range(0, HASH_BYTES, _BAND_BYTES)
    for start in track(bands, "comparing", len(hashes), each=len(hashes) / len(bands)):
        rolled = np.roll(hashes, -start, axis=1)  # rotate the band to the front: sorting then groups hashes by band
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
    """Returns the groups of positions connected by pairs; each group is sorted, the groups by their first member."""
    links: list[tuple[int, int]] = pairs.tolist()
    return sorted(sorted(group) for group in connected_groups(links))
