"""Datasets as objects: the folders that ingestion and preprocessing write, read back for a notebook."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sightline.api import html
from sightline.core.errors import UserError
from sightline.datasets import processed_set, raw_lookup, raw_set
from sightline.datasets.processed_set import Images, ProcessedSet
from sightline.datasets.raw_set import SPLITS, RawImage
from sightline.stages.ingest import audit
from sightline.stages.preprocess import division

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from torch.utils.data import Dataset

SHOWN = 12
"""Maximum number of images in a contact sheet: one of each of the first classes."""
CLASSES_SHOWN = 30
"""Maximum number of classes in a table."""


@dataclass(frozen=True)
class RawDataset:
    """Checked original images with their classes: the result of `sightline.ingest`.

    Attributes:
        path: Its folder. The ingest stage's output can be opened with `RawDataset("data/raw")`.
        settings: The settings that it was made with, as flat parameters; empty if unknown.
        notes: Human-readable notes on the source; empty if unknown.
    """

    path: Path
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", _folder(self.path, raw_set.SUMMARY, "ingest"))

    @functools.cached_property
    def summary(self) -> dict[str, Any]:
        """The content of `ingest.json`: counts, what was rejected and why, the audit."""
        return dict(json.loads((self.path / raw_set.SUMMARY).read_bytes()))

    @property
    def classes(self) -> list[str]:
        """The names of the classes, in order of index."""
        return raw_set.read_classes(self.path / raw_set.CLASSES)

    def __len__(self) -> int:
        return int(self.summary["accepted"])

    def __iter__(self) -> Iterator[RawImage]:
        """Yields the images, encoded as in the source, with a few hundred in memory at a time."""
        for shard in raw_set.raw_shards(self.path):
            yield from shard.images()

    def to_pandas(self) -> pd.DataFrame:
        """Returns one row per image, sorted by id, with all its metadata but not the image itself."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = ["id", "label", "split", "group", "width", "height", "format", "sha256"]
        tables = [pq.read_table(shard.path, columns=columns) for shard in raw_set.raw_shards(self.path)]
        return pa.concat_tables(tables).sort_by("id").to_pandas()

    def rejected(self) -> pd.DataFrame:
        """Returns one row per input that was rejected: id, reason, detail."""
        import pyarrow.parquet as pq

        return pq.read_table(self.path / raw_set.REJECTED).to_pandas()

    def __repr__(self) -> str:
        rejected = sum(self.summary["rejected"].values())
        rest = f", {rejected:,} inputs rejected" if rejected else ""
        return f"RawDataset({len(self):,} images of {len(self.classes)} classes{rest}, path={str(self.path)!r})"

    def _repr_html_(self) -> str:
        from sightline.imaging.decode import decode
        from sightline.imaging.image_file import ANY_SIZE

        rows = self.to_pandas()
        first = dict(rows.drop_duplicates("label")[["id", "label"]].itertuples(index=False))
        chosen = sorted(first, key=lambda identity: first[identity])[:SHOWN]
        by_label = {
            image.label: decode(image.data, limits=ANY_SIZE) for image in raw_lookup.raw_images(self.path, chosen)
        }
        counts = list(self.summary["classes"].items())
        remarks = [f"rejected: {count:,} {reason}" for reason, count in self.summary["rejected"].items()]
        remarks += [*self.notes, *audit.finding_lines(self.summary["audit"])]
        return html.block(
            repr(self),
            html.html_table(("class", "images"), _first(counts)),
            html.inline_picture(_sheet(by_label), "one image of each class"),
            html.notes(remarks),
        )


@dataclass(frozen=True)
class ProcessedDataset:
    """Images of one size, in splits, ready for training: the result of `sightline.preprocess`.

    Attributes:
        path: Its folder. The preprocess stage's output can be opened with `ProcessedDataset("data/processed")`.
        raw: The raw images that it was made from; needed for export and part of the evaluation.
        settings: The settings that it was made with, as flat parameters; empty if unknown.
    """

    path: Path
    raw: RawDataset | None = field(default=None, repr=False)
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", _folder(self.path, processed_set.INDEX, "preprocess"))

    @functools.cached_property
    def files(self) -> ProcessedSet:
        """The set as the stages use it."""
        return ProcessedSet(self.path)

    @property
    def classes(self) -> list[str]:
        """The names of the classes, in order of index."""
        return self.files.classes

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of every image."""
        return self.files.shape

    def __len__(self) -> int:
        return len(self.files.index)

    def images(self, split: str) -> Images:
        """Returns the images of the split "train", "val" or "test": [n, height, width, channels] uint8, in memory."""
        return self.files.split(_split(split)).images()

    def labels(self, split: str) -> npt.NDArray[np.int64]:
        """Returns the class indices of a split's images, [n], in the same order."""
        return self.files.split(_split(split)).labels

    def to_pandas(self) -> pd.DataFrame:
        """Returns one row per image, sorted by id: its class name, its split, and the id of its raw image."""
        table = self.files.index.to_pandas()
        return table.assign(label=np.array(self.classes, object)[table["label"]])[["id", "label", "split", "origin"]]

    def to_torch(self, split: str) -> Dataset[tuple[torch.Tensor, int]]:
        """Returns a split as a map-style dataset of (uint8 image [channels, height, width], class index)."""
        from sightline.api.torch_dataset import TorchSplit

        return TorchSplit(self.files.split(_split(split)))

    def counts(self) -> pd.DataFrame:
        """Returns the number of images by class and split."""
        table = self.to_pandas()
        counts = table.groupby(["label", "split"]).size().unstack(fill_value=0)
        return counts.reindex(index=self.classes, columns=list(SPLITS), fill_value=0)

    def __repr__(self) -> str:
        height, width, channels = self.shape
        of = ", ".join(f"{count:,} {split}" for split, count in self.counts().sum().items())
        summary = f"{len(self):,} images of {len(self.classes)} classes ({of}), {width} x {height} x {channels}"
        return f"ProcessedDataset({summary}, path={str(self.path)!r})"

    def _repr_html_(self) -> str:
        split = self.files.split("train")
        labels, places = np.unique(split.labels, return_index=True)
        pictures = split.images(places[:SHOWN])
        by_label = {self.classes[label]: image for label, image in zip(labels, pictures, strict=False)}
        summary = json.loads((self.path / "preprocess.json").read_bytes())
        counts = [(name, *map(int, row)) for name, row in zip(self.classes, self.counts().to_numpy(), strict=True)]
        return html.block(
            repr(self),
            html.html_table(("class", *SPLITS), _first(counts)),
            html.inline_picture(_sheet(by_label), "one training image of each class"),
            html.notes(division.split_lines(summary)),
        )


def _folder(path: str | Path, content: str, step: str) -> Path:
    folder = Path(path).expanduser()
    if not (folder / content).is_file():
        raise UserError(f"{folder} contains no {content}; name a folder that sightline.{step} or its stage has written")
    return folder


def _split(name: str) -> str:
    if name not in SPLITS:
        raise UserError(f"split: {name!r} is not one of {', '.join(SPLITS)}")
    return name


def _first(rows: Sequence[Sequence[object]]) -> list[Sequence[object]]:
    more = len(rows) - CLASSES_SHOWN
    return [*rows[:CLASSES_SHOWN], *([(f"and {more:,} more",)] if more > 0 else [])]


def _sheet(by_label: Mapping[str, Images]) -> bytes | None:
    from sightline.reporting.plots.gallery import Tile, draw_gallery
    from sightline.reporting.plots.style import LIGHT, class_label

    tiles = [
        Tile(image, class_label(label, i, 16), "", wrong=False) for i, (label, image) in enumerate(by_label.items())
    ]
    return draw_gallery(tiles, "", LIGHT)
