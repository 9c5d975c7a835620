"""MongoDB: a collection of documents that contain images, or a GridFS bucket."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from sightline.config.schema import require
from sightline.sources.base import SOURCES, Source, SourceConfig, SourceOption
from sightline.sources.option_checks import require_no_credentials

FORBIDDEN_OPERATORS = ("$where", "$function", "$accumulator")
"""MongoDB operators that run JavaScript on the server."""


@SOURCES.register("mongodb")
@dataclass
class MongodbOption(SourceOption):
    """A MongoDB collection of documents that contain images, or a GridFS bucket.

    Attributes:
        url: `mongodb://user@host/database`, without a password; null takes SIGHTLINE_DATABASE_URL.
        database: The database; null for the one in the URL.
        collection: The collection, or the bucket.
        gridfs: Whether `collection` is a GridFS bucket. Fields are then looked up in a file's document and in its
            `metadata`.
        id_field: Field of the image's id. Dots reach into embedded documents, here and below.
        image_field: Field of the encoded image (binary); not used with GridFS.
        label_field: Field of the class.
        split_field: Field of the split, or null. A document without it has no split of its own.
        group_field: Field of the group whose images stay in one split, or null.
        changed_field: Field of a document's last change, or null; makes watching cheap.
        checksum_field: Field of a digest of the image, or null; lets `watch` notice that an image was replaced.
        filter: The documents to read, in MongoDB's query language (Extended JSON for ids and dates).
        projection: The fields to read from a document instead of those named above, or null.
        max_bytes: Larger GridFS files are rejected without being read.
    """

    url: str | None
    database: str | None
    collection: str
    gridfs: bool
    id_field: str
    image_field: str
    label_field: str
    split_field: str | None
    group_field: str | None
    changed_field: str | None
    checksum_field: str | None
    filter: dict[str, Any]
    projection: dict[str, Any] | None
    max_bytes: int

    one_class_remedy: ClassVar[str] = "check the field that ingest.source.label_field names"
    no_training_remedy: ClassVar[str] = "set ++ingest.source_options.split_field=null"

    def __post_init__(self) -> None:
        require_no_credentials(self.url)
        require(bool(self.collection) and "$" not in self.collection, "collection: must be a name without $")
        for field in ("filter", "projection"):
            for operator in _keys(getattr(self, field)):
                require(operator not in FORBIDDEN_OPERATORS, f"{field}: {operator} runs code: not allowed")

    def open(self, config: SourceConfig) -> Source:
        from sightline.sources.databases.mongo_source import MongodbSource

        return MongodbSource(self, config.limit)


def _keys(node: Any) -> Iterator[str]:
    """Yields every key of a document, at any depth."""
    if isinstance(node, dict):
        for key, child in node.items():
            yield str(key)
            yield from _keys(child)
    elif isinstance(node, list):
        for child in node:
            yield from _keys(child)
