"""What can be chosen about reading images from databases. Stands on the standard library alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sightline.config.schema import Option, require
from sightline.core.credentials import DATABASE_PASSWORD, DATABASE_URL, credential_in

FORBIDDEN_OPERATORS = ("$where", "$function", "$accumulator")
"""MongoDB's operators that run JavaScript on the server."""


@dataclass
class MongodbOption(Option):
    """A MongoDB collection of documents that hold images, or a GridFS bucket.

    Attributes:
        url: `mongodb://user@host/database`, without a password; null takes SIGHTLINE_DATABASE_URL.
        database: The database; null for the one that the URL names.
        collection: The collection, or the bucket.
        gridfs: Whether `collection` is a GridFS bucket. Fields are then looked for in a file's document, and in its
            `metadata`.
        id_field: Field of the image's id. Dots reach into embedded documents, here and below.
        image_field: Field of the encoded image (binary); not used with GridFS.
        label_field: Field of the class.
        split_field: Field of the split, or null. A document without it has no split of its own.
        group_field: Field of the group whose images stay in one split, or null.
        changed_field: Field of a document's last change, or null; makes watching cheap.
        checksum_field: Field of a digest of the image, or null; makes watching notice an image that was replaced.
        filter: Which documents to read, in MongoDB's query language (Extended JSON for ids and dates).
        projection: What to read of a document in place of the fields named above, or null.
        max_bytes: A larger GridFS file is refused without being read.
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

    def __post_init__(self) -> None:
        _check_url(self.url)
        require(bool(self.collection) and "$" not in self.collection, "collection: must be a name without $")
        for field in ("filter", "projection"):
            for operator in _keys(getattr(self, field)):
                require(operator not in FORBIDDEN_OPERATORS, f"{field}: {operator} runs code: not allowed")


@dataclass
class SqlOption(Option):
    """A table, or a query's result, in MySQL, MariaDB, PostgreSQL or SQLite.

    Attributes:
        url: `mysql://user@host/database`, `postgresql://...` or `sqlite:///file`, without a password; null takes
            SIGHTLINE_DATABASE_URL.
        schema: The table's schema; null for the user's own.
        table: The table; null where `query` is given.
        query: A SELECT that gives the columns named below, or null. It is run as it stands, in a read-only session.
        id_column: Column of the image's id: text or whole numbers.
        image_column: Column of the encoded image (BLOB, BYTEA).
        label_column: Column of the class.
        split_column: Column of the split, or null.
        group_column: Column of the group whose images stay in one split, or null.
        changed_column: Column of a row's last change, or null; makes watching cheap.
        checksum_column: Column of a digest of the image, or null; makes watching notice an image that was replaced.
            "auto" is the column `sha256` of a table that has one, as those made by `sightline load` do.
    """

    url: str | None
    schema: str | None
    table: str | None
    query: str | None
    id_column: str
    image_column: str
    label_column: str
    split_column: str | None
    group_column: str | None
    changed_column: str | None
    checksum_column: str | None

    def __post_init__(self) -> None:
        _check_url(self.url)
        require(
            (self.table is None) != (self.query is None), "table: name either it or query, and set the other to null"
        )


def _check_url(url: str | None) -> None:
    # Configuration is recorded by DVC (dvc.lock) and MLflow (parameters), whatever it was composed from.
    part = None if url is None else credential_in(url)
    require(
        part is None,
        f"url: must not hold a password or the like, as {part} may be (configuration is recorded); set "
        f"{DATABASE_PASSWORD}, or the whole URL as {DATABASE_URL} with ingest.url null, in the environment",
    )


def _keys(node: Any) -> Iterator[str]:
    """Yields every key of a document, at any depth."""
    if isinstance(node, dict):
        for key, child in node.items():
            yield str(key)
            yield from _keys(child)
    elif isinstance(node, list):
        for child in node:
            yield from _keys(child)
