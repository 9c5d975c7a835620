"""Ingestion of images of none of the classes: checked like labelled images, into a raw set without classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sightline.core import files
from sightline.core.rejection import RejectionReason
from sightline.datasets import raw_shard_file
from sightline.datasets.raw_set import CLASSES, ImageRecord, Rejection, raw_shards, write_classes
from sightline.sources.base import Source
from sightline.sources.content import NO_MEMORY, ContentMemory
from sightline.sources.unknown import KNOB, unknown_source
from sightline.stages.ingest.config import IngestConfig
from sightline.stages.ingest.stage import ingest

LABEL = "none of these"
"""The label of these images, in place of a class."""


class _SourceWithoutClasses:
    """A source's images without their labels, groups and splits; those that belong to a class are rejected.

    Args:
        source: The source.
        known: By digest of the bytes, the class of each image of the labelled set.
    """

    def __init__(self, source: Source, known: Mapping[str, str]) -> None:
        self._source, self._known = source, known

    def fingerprint(self, memory: ContentMemory = NO_MEMORY) -> dict[str, Any]:
        return self._source.fingerprint(memory)

    def records(self) -> Iterator[ImageRecord | Rejection]:
        for record in self._source.records():
            if isinstance(record, Rejection):
                yield record
            elif (label := self._known.get(files.sha256(record.data))) is not None:
                yield Rejection(record.id, RejectionReason.CONFLICT, f"the same image belongs to the class {label!r}")
            else:
                yield ImageRecord(record.id, record.data, LABEL)


def ingest_unknown(config: IngestConfig, labelled: Path, out: Path) -> dict[str, Any] | None:
    """Writes the raw set of the images that `ingest.unknown` names, or just an empty class map if it is not set.

    Args:
        config: The ingest section.
        labelled: Folder of the raw set of labelled images, already written.
        out: An empty folder.

    Returns:
        The result of `ingest`; None if `ingest.unknown` is not set.

    Raises:
        UserError: If there are no images in that place, or too many of its inputs are rejected.
    """
    source = unknown_source(config)
    if source is None:
        write_classes([], out / CLASSES)  # DVC warns of an empty folder in every run
        return None
    known: dict[str, str] = {}
    for shard in raw_shards(labelled):
        columns = raw_shard_file.read_columns(shard.path)
        known.update(zip(columns["sha256"].to_pylist(), columns["label"].to_pylist(), strict=True))
    nothing: dict[str, Any] = dict.fromkeys(("url", "limit", "labels", "corrections", "additions", "unknown"))
    alone = dataclasses.replace(config, path=config.unknown, min_per_class=1, **nothing)
    return ingest(_SourceWithoutClasses(source, known), alone, out, KNOB)
