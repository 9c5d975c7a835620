"""Tasks of preprocessing and their results: each task makes one file of pixels from one input file."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from sightline.datasets.pixel_shard import PixelFile
from sightline.stages.preprocess.npy_writer import Sums


@dataclass(frozen=True)
class ShardSummary:
    """The result of a task, except for the pixels themselves.

    Attributes:
        pixels: The file's shape and digest.
        sums: Each image's sums of levels and of squared levels, for the statistics.
        contents: SHA-256 of each raw image, 32 bytes each, in order, including rejected ones; empty for copies.
        rejected: By reason, the positions of the raw images that the transform rejected.
        notes: By note of the transform, the positions of the raw images to which it applies.
    """

    pixels: PixelFile
    sums: Sums
    contents: bytes = b""
    rejected: dict[str, list[int]] = field(default_factory=dict)
    notes: dict[str, list[int]] = field(default_factory=dict)

    @property
    def kept(self) -> npt.NDArray[np.int64]:
        """Positions of the raw images that became rows, in order."""
        gone = [place for places in self.rejected.values() for place in places]
        return np.delete(np.arange(len(self.contents) // 32), gone)

    def to_bytes(self) -> bytes:
        """Returns the summary as a line of JSON followed by packed arrays of the per-image values."""
        head = {
            "shape": list(self.pixels.shape),
            "digest": self.pixels.digest,
            "rejected": self.rejected,
            "notes": self.notes,
        }
        return json.dumps(head, sort_keys=True).encode() + b"\n" + self.sums.astype("<i8").tobytes() + self.contents

    @classmethod
    def from_bytes(cls, data: bytes) -> ShardSummary:
        """Rebuilds a summary from `to_bytes`; raises ValueError or KeyError if the bytes are not a summary."""
        line, _, rest = data.partition(b"\n")
        head = json.loads(line)
        n, height, width, channels = head["shape"]
        sums = np.frombuffer(rest, "<i8", n * channels * 2).reshape(n, channels, 2)
        pixels = PixelFile((n, height, width, channels), head["digest"])
        return cls(pixels, sums, rest[sums.nbytes :], head["rejected"], head["notes"])


@dataclass(frozen=True)
class Task(ABC):
    """A pure function of one file, with the same bits in every process and on every machine.

    Attributes:
        key: Cache key of the result: a digest of everything that it depends on.
        source: The file that the task reads.
        seconds: Estimated run time, used only to schedule tasks and to decide on the number of workers.
    """

    key: str
    source: Path
    seconds: float

    kind: ClassVar[str]
    """A key of `code_version.MODULES`: the code that the result depends on."""

    @property
    @abstractmethod
    def images(self) -> int:
        """The number of images that the task makes, including rejected ones."""

    @abstractmethod
    def write(self, out: Path) -> ShardSummary:
        """Writes the pixels to the new file `out`."""

    def run(self, out: Path) -> ShardSummary:
        """Writes the pixels to `unfinished(self, out)`."""
        return self.write(unfinished(self, out))


Result = tuple[Task, ShardSummary]


class Executor(Protocol):
    """A runner of tasks."""

    def run(self, tasks: Sequence[Task], out: Path) -> Iterator[Result]:
        """Yields each task's result, in any order, after its pixels are written to `unfinished(task, out)`.

        Raises:
            UserError: If a worker or a cluster ends before the work does.
        """


def unfinished(task: Task, out: Path) -> Path:
    """Returns the path in `out` to which a task's pixels are written before they are renamed by their content."""
    return out / f".{task.key}.npy"
