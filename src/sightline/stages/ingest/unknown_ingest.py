"""Pictures of none of the classes, checked as the images are: a raw set of its own, which no class comes of."""

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
"""The label of these pictures, in place of a class."""


class _SourceWithoutClasses:
    """A source's pictures without what its folders say of them; those that are images of a class are rejected.

    Args:
        source: The source.
        known: The class of each image of the labelled set, by the digest of its bytes.
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
    """Writes the raw set of the pictures that `ingest.unknown` names; where it names none, an empty class map.

    Args:
        config: The ingest section.
        labelled: The raw set of the labelled images, as it has just been written.
        out: An empty folder.

    Returns:
        As `ingest` does; None without such pictures.

    Raises:
        UserError: If there are none in that place, or too many of its inputs are rejected.
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
