"""Random numbers as a pure function of (seed, purpose, epoch, sample, ...).

Results then depend neither on the number of workers, nor on batching, nor on where a run was interrupted.
"""

from __future__ import annotations

import hashlib


def derive(seed: int, purpose: str, *parts: int | str) -> int:
    """Returns a seed for one purpose: 63 bits of a hash, independent for any difference in the arguments."""
    text = "\0".join([str(seed), purpose, *map(str, parts)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
