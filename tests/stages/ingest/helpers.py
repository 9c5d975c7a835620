"""Helpers shared by the tests of ingestion: pictures, trees of them, a configuration, and access to the output."""

from __future__ import annotations

import base64
import io
import os
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from sightline.datasets import raw_set
from sightline.datasets.raw_set import RawImage
from sightline.sources.base import Source
from sightline.sources.digits import DigitsOption
from sightline.sources.name_pattern import NamePattern
from sightline.stages.ingest.config import FORMATS, IngestConfig
from sightline.stages.ingest.stage import ingest


def picture(number: int = 0, side: int = 12, kind: str = "PNG", mode: str = "RGB") -> bytes:
    """Returns an encoded noise image that is unique to its number."""
    pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, kind)
    return stream.getvalue()


def spellings(data: bytes) -> dict[str, str]:
    """Returns the text encodings of bytes that programs use, by name."""
    plain = base64.b64encode(data).decode()
    return {
        "base64": plain,
        "lines": base64.encodebytes(data).decode(),  # as `base64 FILE`, MySQL's TO_BASE64 and MIME write it
        "lines of Windows": base64.encodebytes(data).decode().replace("\n", "\r\n"),
        "the alphabet of URLs": base64.urlsafe_b64encode(data).decode(),
        "data URL": f"data:image/png;base64,{plain}",
        "data URL without a kind": f"DATA:;BASE64,{urllib.parse.quote(plain)}",
        "data URL in percents": f"data:image/png,{urllib.parse.quote_from_bytes(data)}",
    }


def tree(root: Path, files: dict[str, bytes]) -> Path:
    """Writes files, given by their relative paths, below a root; returns the root."""
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def birds(classes: int = 3, each: int = 4, prefix: str = "") -> dict[str, bytes]:
    """Returns a small dataset as paths and contents, with non-ASCII names and nested folders."""
    names = ["Ente", "ørn", "鷹", "owl", "kiwi"][:classes]
    return {
        f"{prefix}{name}/{'sub/' if i % 2 else ''}{i} é.png": picture(100 * n + i)
        for n, name in enumerate(names)
        for i in range(each)
    }


def tracked(project: Path, cache: Path, links: Path) -> Path:
    """Writes a folder as DVC does with `cache.type symlink`: each file is a link to its content in the cache."""
    (project / ".dvc").mkdir(parents=True)
    for number, (name, data) in enumerate(birds().items()):
        content = cache / "files/md5" / f"{number:02x}" / f"{number:030x}"
        content.parent.mkdir(parents=True, exist_ok=True)
        content.write_bytes(data)
        path = links / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(content)
    return links


def configuration(**knobs: Any) -> IngestConfig:
    """Returns a configuration that accepts everything and works in this process."""
    values: dict[str, Any] = {
        "source": DigitsOption(name="digits"),
        "path": None,
        "url": None,
        "limit": None,
        "class_from": NamePattern(None),
        "group_from": NamePattern(None),
        "split_from": NamePattern(None),
        "labels": None,
        "corrections": None,
        "additions": None,
        "unknown": None,
        "min_per_class": 1,
        "on_reject": "warn",
        "conflicts": "keep",
        "max_rejected": 1.0,
        "max_pixels": 50_000_000,
        "max_bytes": 2**25,
        "max_frames": 1,
        "first_frame": False,
        "formats": list(FORMATS),
        "workers": 0,
    }
    return IngestConfig(**{**values, **knobs})


@dataclass
class Ingested:
    """The output of a run."""

    out: Path
    summary: dict[str, Any]

    @property
    def images(self) -> dict[str, RawImage]:
        return {image.id: image for shard in raw_set.raw_shards(self.out) for image in shard.images()}

    @property
    def rejected(self) -> dict[str, str]:
        table = pq.read_table(self.out / raw_set.REJECTED)
        return dict(zip(table["id"].to_pylist(), table["reason"].to_pylist(), strict=True))

    @property
    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.out.iterdir()}


def run(opened: Source, out: Path, **knobs: Any) -> Ingested:
    """Ingests a source into a new folder."""
    out.mkdir(parents=True)
    return Ingested(out, ingest(opened, configuration(**knobs), out))


def shared_data(name: str) -> Path:
    """Returns a folder of the shared data, or skips the test."""
    root = Path(os.environ.get("SIGHTLINE_SHARED_DATA", "../shared/data")) / name
    if not root.exists():
        pytest.skip(f"no {root}: set SIGHTLINE_SHARED_DATA")
    return root
