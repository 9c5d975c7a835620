"""Schema of the section `ingest`. It imports nothing heavy because `watch` reads it on every run."""

from __future__ import annotations

from dataclasses import dataclass

from sightline.config.schema import choice, require, require_one_of
from sightline.sources.base import SOURCES, SourceOption
from sightline.sources.name_pattern import NamePattern, PathPatterns

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""Pillow's names of the formats that can be allowed; PPM includes PGM, PBM and PNM."""


@dataclass
class IngestConfig:
    """The `ingest` section. Each setting is explained in `conf/ingest/default.yaml`."""

    path: str | None
    url: str | None
    limit: int | None
    class_from: NamePattern
    group_from: NamePattern
    split_from: NamePattern
    labels: str | None
    corrections: str | None
    additions: str | None
    unknown: str | None
    min_per_class: int
    on_reject: str
    conflicts: str
    max_rejected: float
    max_pixels: int
    max_bytes: int
    max_frames: int
    first_frame: bool
    formats: list[str]
    workers: int | None
    source: SourceOption = choice(SOURCES)

    def __post_init__(self) -> None:
        require(self.limit is None or self.limit >= 1, f"limit: must be at least 1 or null, not {self.limit}")
        for knob, pattern in self.patterns.used().items():
            pattern.check(knob)
            name = self.source.name
            require(
                getattr(self.source, "has_paths", True),
                f"{knob}: the images of ingest.source={name} have no paths; it is for folder, archive and table",
            )
            column = f"{knob.removesuffix('_from')}_column"
            require(
                knob == "class_from" or getattr(self.source, column, None) is None,
                f"{knob}: ingest.source.{column} already defines it; set one of them to null",
            )
        require(self.unknown != "", "unknown: must be a folder, an archive or null, not empty")
        require(
            "://" not in (self.unknown or ""),
            "unknown: must be a folder or an archive on disk: download it, and name that",
        )
        require(self.min_per_class >= 1, f"min_per_class: must be at least 1, not {self.min_per_class}")
        require_one_of("on_reject", self.on_reject, ("warn", "fail"))
        require_one_of("conflicts", self.conflicts, ("drop", "keep", "fail"))
        require(0 <= self.max_rejected <= 1, f"max_rejected: must be a share from 0 to 1, not {self.max_rejected}")
        most = 178_956_970  # Pillow's own limit
        require(self.max_pixels <= most, f"max_pixels: must be at most {most:,}, not {self.max_pixels}")
        for name in ("max_pixels", "max_bytes", "max_frames"):
            require(getattr(self, name) >= 1, f"{name}: must be at least 1, not {getattr(self, name)}")
        require(bool(self.formats), "formats: must allow at least one format")
        for name in self.formats:
            require_one_of("formats", name, FORMATS)
        require(self.workers is None or self.workers >= 0, f"workers: must be at least 0 or null, not {self.workers}")

    @property
    def patterns(self) -> PathPatterns:
        """The patterns that extract class, group and split from image paths."""
        every = (self.class_from, self.group_from, self.split_from)
        return PathPatterns(*(pattern if pattern.pattern is not None else None for pattern in every))
