"""The result of a preprocessing task."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sightline.stages.preprocess.npy_writer import PixelFile, Sums


@dataclass(frozen=True)
class ShardSummary:
    """What is to be known of a shard's pixels.

    Attributes:
        pixels: The file's shape and digest.
        sums: Of each image's levels, for the statistics.
        contents: SHA-256 of each raw image, 32 bytes each, in order, the refused ones included; empty for copies.
        refused: Places of the raw images that the transform refused, by reason.
        notes: Places of the raw images of which the transform has something to say, by what it is.
    """

    pixels: PixelFile
    sums: Sums
    contents: bytes = b""
    refused: dict[str, list[int]] = field(default_factory=dict)
    notes: dict[str, list[int]] = field(default_factory=dict)

    @property
    def kept(self) -> npt.NDArray[np.int64]:
        """Places of the raw images that became rows, in order."""
        gone = [place for places in self.refused.values() for place in places]
        return np.delete(np.arange(len(self.contents) // 32), gone)

    def to_bytes(self) -> bytes:
        """Returns the facts as a line of JSON and, since there is a number for every image, packed arrays."""
        said = {
            "shape": list(self.pixels.shape),
            "digest": self.pixels.digest,
            "refused": self.refused,
            "notes": self.notes,
        }
        return json.dumps(said, sort_keys=True).encode() + b"\n" + self.sums.astype("<i8").tobytes() + self.contents

    @classmethod
    def from_bytes(cls, data: bytes) -> ShardSummary:
        """Rebuilds facts from `to_bytes`; ValueError or KeyError where the bytes are none."""
        line, _, rest = data.partition(b"\n")
        said = json.loads(line)
        n, height, width, channels = said["shape"]
        sums = np.frombuffer(rest, "<i8", n * channels * 2).reshape(n, channels, 2)
        pixels = PixelFile((n, height, width, channels), said["digest"])
        return cls(pixels, sums, rest[sums.nbytes :], said["refused"], said["notes"])
