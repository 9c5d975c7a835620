"""SQL databases: a table, or the result of a query, in MySQL, MariaDB, PostgreSQL or SQLite."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sightline.config.schema import require
from sightline.sources.base import SOURCES, Source, SourceConfig, SourceOption
from sightline.sources.option_checks import require_no_credentials


@SOURCES.register("sql")
@dataclass
class SqlOption(SourceOption):
    """A table, or the result of a query, in MySQL, MariaDB, PostgreSQL or SQLite.

    Attributes:
        url: `mysql://user@host/database`, `postgresql://...` or `sqlite:///file`, without a password; null takes
            SIGHTLINE_DATABASE_URL.
        schema: The table's schema; null for the user's default.
        table: The table; null if `query` is given.
        query: A SELECT with the columns named below, or null. It runs unchanged, in a read-only session.
        id_column: Column of the image's id: text or integers.
        image_column: Column of the encoded image (BLOB, BYTEA).
        label_column: Column of the class.
        split_column: Column of the split, or null.
        group_column: Column of the group whose images stay in one split, or null.
        changed_column: Column of a row's last change, or null; makes watching cheap.
        checksum_column: Column of a digest of the image, or null; lets `watch` notice that an image was replaced.
            "auto" is the column `sha256` if the table has one, as those made by `sightline load` do.
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

    one_class_remedy: ClassVar[str] = "check the column that ingest.source.label_column names"
    no_training_remedy: ClassVar[str] = "set ++ingest.source_options.split_column=null"

    def __post_init__(self) -> None:
        require_no_credentials(self.url)
        require(
            (self.table is None) != (self.query is None), "table: name either it or query, and set the other to null"
        )

    def open(self, config: SourceConfig) -> Source:
        from sightline.sources.databases.sql_source import SqlSource

        return SqlSource(self, config.limit)
