"""One shard's work: a raw shard into pixels, or pixels into augmented copies; a pure function, the same everywhere.

The same code runs in the stage's process, in worker processes and on the nodes of a cluster.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sightline.core import files, seeds
from sightline.core.rejection import Rejected
from sightline.datasets.raw_shard_file import damaged, opened
from sightline.imaging.augment import albumentations_backend as augment_policy
from sightline.imaging.augment import options as augment_options
from sightline.imaging.decode import ANY_SIZE
from sightline.imaging.transform.pipeline import Contract
from sightline.stages.preprocess.npy_writer import PixelFile, PixelWriter, Sums

_HOME = Path(__file__).parents[1]
_OURS = ("preprocess/work.py", "preprocess/pixelfile.py", "reasons.py", "schema.py")
_CODE = {
    "pixels": (*_OURS, "images.py", "pixels.py", "pngchunks.py", "quick.py", "samples.py", "contract"),
    "copies": (*_OURS, "seeds.py", "augment"),
}
_LIBRARIES = {
    "pixels": ("numpy", "opencv-python-headless", "pillow", "pywavelets", "simplejpeg"),
    "copies": ("numpy", "opencv-python-headless", "albumentations"),
}


@functools.cache
def version(kind: str) -> str:
    """Returns a digest of the code that makes "pixels" or "copies", and of the versions of the libraries it calls."""
    found = [path for name in _CODE[kind] for path in sorted((_HOME / name).rglob("*.py")) or [_HOME / name]]
    said = [f"{path.relative_to(_HOME).as_posix()} {files.sha256_file(path)}" for path in found]
    for name in _LIBRARIES[kind]:
        try:
            said.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:  # another build of OpenCV, or not installed
            said.append(f"{name} absent")
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Facts:
    """What is to be known of a shard's pixels.

    Attributes:
        pixels: The file's shape and digest.
        sums: Of each image's levels, for the statistics.
        contents: SHA-256 of each raw image, 32 bytes each, in order, the refused ones included; empty for copies.
        refused: Places of the raw images that the contract refused, by reason.
        notes: Places of the raw images of which the contract has something to say, by what it is.
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
    def from_bytes(cls, data: bytes) -> Facts:
        """Rebuilds facts from `to_bytes`; ValueError or KeyError where the bytes are none."""
        line, _, rest = data.partition(b"\n")
        said = json.loads(line)
        n, height, width, channels = said["shape"]
        sums = np.frombuffer(rest, "<i8", n * channels * 2).reshape(n, channels, 2)
        pixels = PixelFile((n, height, width, channels), said["digest"])
        return cls(pixels, sums, rest[sums.nbytes :], said["refused"], said["notes"])


@dataclass(frozen=True)
class Known:
    """Where a raw image's pixels, by the same contract, stand already: a row of a file of pixels."""

    path: Path
    row: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Pixels:
    """Runs the contract over a raw shard.

    Attributes:
        contract: The contract as plain data.
        contents: SHA-256 of each of the shard's images, 32 bytes each, in order.
        known: By place, images that need no work.
    """

    contract: dict[str, Any]
    contents: bytes
    known: Mapping[int, Known] = field(default_factory=dict)

    def write(self, source: Path, out: Path) -> Facts:
        """Writes the pixels of the raw shard `source` to `out`."""
        contract = Contract.from_dict(self.contract)
        refused: dict[str, list[int]] = {}
        notes: dict[str, list[int]] = {}
        opened: dict[Path, Any] = {}
        place = -1
        with PixelWriter(out, contract.shape) as writer:
            for place, (batch, row) in enumerate(_images(source)):
                known = self.known.get(place)
                if known and known.path not in opened:
                    try:
                        opened[known.path] = np.asarray(np.load(known.path, mmap_mode="r"))
                    except FileNotFoundError:  # another run has pruned it
                        opened[known.path] = None
                if known and opened[known.path] is not None:
                    result, said = opened[known.path][known.row], list(known.notes)
                else:
                    data = batch[row].as_py()
                    if hashlib.sha256(data).digest() != self.contents[32 * place : 32 * place + 32]:
                        raise damaged(source, f"the bytes of image {place} are not those that were written")
                    try:
                        result, said = contract.run(contract.open(data, ANY_SIZE))
                    except Rejected as refusal:  # ingestion has let it in, but the contract may refuse blank images
                        refused.setdefault(str(refusal.reason), []).append(place)
                        continue
                for note in said:
                    notes.setdefault(note, []).append(place)
                writer.add(result)
            if 32 * (place + 1) != len(self.contents):
                raise damaged(source, "rows are missing")
        return Facts(writer.file, writer.sums, self.contents, refused, notes)


@dataclass(frozen=True)
class Copies:
    """Makes augmented copies of rows of a file of pixels.

    Attributes:
        policy: The augmentation policy as plain data.
        copies: Of each row.
        seed: All randomness is a function of it, the row's id and the copy's number.
        rows: Which rows.
        ids: Their ids.
    """

    policy: dict[str, Any]
    copies: int
    seed: int
    rows: tuple[int, ...]
    ids: tuple[str, ...]

    def write(self, source: Path, out: Path) -> Facts:
        """Writes the copies to `out`, row by row, a row's copies one after the other."""
        pixels = np.load(source, mmap_mode="r")
        height, width, channels = pixels.shape[1:]
        option = augment_options.POLICIES[self.policy["name"]](**self.policy)
        augmentation = augment_policy.build(option, (height, width, channels))
        if augmentation is None:
            raise ValueError(f"augment: {self.policy['name']} makes no copies")
        with PixelWriter(out, (height, width, channels)) as writer:
            for row, identity in zip(self.rows, self.ids, strict=True):
                image = np.array(pixels[row])
                for copy in range(1, self.copies + 1):
                    writer.add(augmentation(image, seeds.derive(self.seed, "copy", identity, copy)))
        return Facts(writer.file, writer.sums)


def encoded(shard: Path) -> Iterator[bytes]:
    """Yields the encoded images of a raw shard, in order."""
    return (batch[row].as_py() for batch, row in _images(shard))


def _images(shard: Path) -> Iterator[tuple[Any, int]]:
    """Yields where in Arrow's memory each image is: an array, and a place there. Not all are wanted as bytes."""
    with opened(shard) as file:
        for batch in file.iter_batches(batch_size=256, columns=["image.bytes"]):
            column = batch.column("image").field("bytes")
            for row in range(len(column)):
                yield column, row
