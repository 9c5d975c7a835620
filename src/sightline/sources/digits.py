"""scikit-learn's handwritten digits: real images that come with the installation."""

from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.core import files
from sightline.core.errors import UserError
from sightline.core.sampling import sample
from sightline.datasets.raw_set import ImageRecord
from sightline.imaging import png
from sightline.sources.base import SOURCES, Source, SourceConfig, SourceOption
from sightline.sources.content import NO_MEMORY, ContentMemory

if TYPE_CHECKING:
    from sightline.datasets.raw_set import Rejection

_SIDE = 8
_LEVELS = 16  # a pixel's value is the number of inked dots in a 4x4 cell


@SOURCES.register("digits")
@dataclass
class DigitsOption(SourceOption):
    """scikit-learn's 1,797 handwritten digits: no download, no settings."""

    def open(self, config: SourceConfig) -> Source:
        return DigitsSource(config.limit)


class DigitsSource:
    """1,797 images, 8x8 grey, 10 classes: the UCI dataset of handwritten digits that scikit-learn ships.

    Its file is read directly: importing scikit-learn would take two seconds.

    Args:
        limit: Maximum number of images, sampled evenly from each class; None for all.

    Attributes:
        notes: Human-readable notes on what was read; complete once all records have been read.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self.notes: list[str] = []

    def fingerprint(self, memory: ContentMemory = NO_MEMORY) -> dict[str, Any]:  # noqa: ARG002 - it is small
        return {"sha256": files.sha256_file(_path())}

    def records(self) -> Iterator[ImageRecord | Rejection]:
        self.notes = []
        yield from sample(self._all(), self._limit, lambda record: record.id, lambda record: record.label, self.notes)

    def _all(self) -> Iterator[ImageRecord]:
        with gzip.open(_path(), "rt") as lines:
            for number, line in enumerate(lines):
                *pixels, label = map(int, line.split(","))
                grey = bytes((value * 255 + _LEVELS // 2) // _LEVELS for value in pixels)
                yield ImageRecord(
                    id=f"digits-{number:04}", data=png.encode(grey, _SIDE, _SIDE, channels=1), label=str(label)
                )


def _path() -> Path:
    spec = importlib.util.find_spec("sklearn")
    for root in (spec.submodule_search_locations or []) if spec else []:
        path = Path(root) / "datasets" / "data" / "digits.csv.gz"
        if path.is_file():
            return path
    raise UserError("ingest.source=digits: scikit-learn's digits are not installed; run `make install`")
