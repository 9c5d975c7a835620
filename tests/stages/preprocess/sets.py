"""Small raw sets and configurations to preprocess."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sightline.config.compose import compose, typed
from sightline.core import files
from sightline.datasets import raw_set
from sightline.imaging import decode
from sightline.stages.preprocess.config import PreprocessConfig

SIZE = 8


@dataclass(frozen=True)
class Picture:
    """An image of a small dataset; its pixels depend only on `look`."""

    id: str
    look: int
    label: str = "a"
    split: str | None = None
    group: str | None = None
    side: int = 6

    def pixels(self) -> np.ndarray:
        return np.random.default_rng(self.look).integers(0, 256, (self.side, self.side, 1), np.uint8)

    def raw(self) -> raw_set.RawImage:
        data = decode.encode_png(self.pixels())
        sha = files.sha256(data)
        return raw_set.RawImage(
            self.id, data, self.label, self.split, self.group, None, sha, "PNG", self.side, self.side
        )


def pictures(count: int, first: int = 0, **more: Any) -> list[Picture]:
    return [Picture(f"i{n:05}", n, "ab"[n % 2], **more) for n in range(first, first + count)]


def write_set(root: Path, of: Iterable[Picture], near: dict[str, str] | None = None) -> Path:
    """Writes the images as a raw set, as ingestion would."""
    root.mkdir(parents=True)
    of = sorted(of, key=lambda picture: picture.id)
    raw_set.write_raw_shards((picture.raw() for picture in of), root)
    raw_set.write_classes(sorted({picture.label for picture in of}), root / raw_set.CLASSES)
    raw_set.write_near(sorted((near or {}).items()), root / raw_set.NEAR)
    return root


def configuration(*overrides: str) -> PreprocessConfig:
    """Returns the defaults for small grey images, with overrides of the preprocess section (`fold='1 of 2'`)."""
    given = [o.replace("preprocess.", "") for o in (f"size={SIZE}", "channels=1", *overrides)]
    groups = [
        f"preprocess/{o}" if o.partition("=")[0] in ("augment", "backend", "clean", "segment") else f"preprocess.{o}"
        for o in given
    ]
    return typed(PreprocessConfig, compose(groups).preprocess, "preprocess")


def content(folder: Path) -> dict[str, bytes]:
    """Returns the content of every file below a folder, by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
