"""Images in a table, or in the result of a query, of MySQL, MariaDB, PostgreSQL or SQLite."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sightline.core.credentials import database_url
from sightline.core.files import sha256
from sightline.core.rejection import RejectionError, RejectionReason
from sightline.core.sampling import sample
from sightline.core.text import label_of, one_label
from sightline.datasets.raw_set import ImageRecord, Rejection
from sightline.imaging.encoded import image_bytes
from sightline.sources.content import NO_MEMORY, ContentMemory
from sightline.sources.databases import RetryBudget, as_text, unreachable_error
from sightline.sources.databases.digests import set_digest
from sightline.sources.databases.sql import abandoned_stream, connect, engine, is_lost, mysql, sa, user_errors
from sightline.sources.sql import SqlOption

ID_PAGE = 100_000
"""Number of ids fetched and held (some 25 MB) at a time: finding them may cost the server a table scan."""

PAGE_BYTES = 8 * 2**20
"""Content fetched at a time, estimated from the sizes of the previous images."""

RowKey = str | bytes
"""The id as the database sorts it: text in code-point order, or its UTF-8 bytes on MySQL."""

AUTO = "auto"


@dataclass(frozen=True)
class SqlSource:
    """Reads a table in keyset pages, and a query as a stream; both resume after a lost connection.

    Rows come in the code-point order of their ids, whatever the column's collation, so every database gives the same
    sequence. It opens nothing until one of its methods is called.

    Attributes:
        option: The source's settings.
        limit: Maximum number of rows, sampled evenly from each class; memory holds their ids. None for all.
        setting: The name of the setting with the URL, for error messages.
        remedy: The remedy if the database has no such table or column.
        notes: Human-readable notes on what was read; complete once all records have been read.
    """

    option: SqlOption
    limit: int | None = None
    setting: str = "ingest.url"
    remedy: str = "check the table and columns in ingest.source"
    notes: list[str] = field(default_factory=list, compare=False)

    def fingerprint(self, memory: ContentMemory = NO_MEMORY) -> dict[str, Any]:  # noqa: ARG002 - nothing is on disk
        """Returns the number of rows, the largest id and change indicators: see `docs/databases.md`."""
        url = database_url(self.option.url, self.setting)
        columns = [self.option.label_column, self.option.split_column, self.option.group_column]
        with engine(url) as made, connect(made, url) as connection, user_errors(url, self.remedy):
            option = dataclasses.replace(self.option, checksum_column=self._checksum_column(connection))
            table = _Table(option, made.dialect.name)
            newest = sa.func.max(table.column(self.option.changed_column)) if self.option.changed_column else sa.null()
            seen = connection.execute(
                sa.select(sa.func.count(), sa.func.max(table.key), newest).select_from(table.source)
            )
            count, largest, change = seen.one()
            result = {"location": url.location, "table": self.option.table, "query": self.option.query}
            result |= {"rows": count, "largest_id": as_text(largest)}
            if self.option.changed_column:
                result["newest_change"] = as_text(change)
            if option.checksum_column or not option.changed_column:
                names = [option.id_column, *columns, option.checksum_column]
                small = sa.select(*(table.column(name) for name in names if name))
                stream = connection.execute(small, execution_options={"yield_per": 1000})
                result["digest"] = set_digest(stream)[1]
        return result

    def _checksum_column(self, connection: sa.Connection) -> str | None:
        """Returns the column that reveals a replaced image; for "auto", the one that `sightline load` makes, if any."""
        option = self.option
        if option.checksum_column != AUTO:
            return option.checksum_column
        if option.table is None:
            return None
        columns = sa.inspect(connection).get_columns(option.table, schema=option.schema)
        return "sha256" if any(column["name"] == "sha256" for column in columns) else None

    def records(self) -> Iterator[ImageRecord | Rejection]:
        url = database_url(self.option.url, self.setting)
        with engine(url) as made:
            table = _Table(self.option, made.dialect.name)
            with connect(made, url) as connection, user_errors(url, self.remedy):
                if self.limit is not None:
                    self.notes.clear()
                    stream = connection.execute(table.labelled_keys(), execution_options={"yield_per": 1000})
                    labelled = ((key, label_of(cell, as_text)) for key, cell in stream)
                    chosen = sample(
                        labelled, self.limit, lambda row: str(as_text(row[0])), lambda row: row[1], self.notes
                    )
                    table.sample = {key for key, _ in chosen}
                nameless = sa.select(sa.func.count()).select_from(table.source).where(table.id.is_(None))
                for number in range(connection.execute(nameless).scalar_one()):
                    yield Rejection(f"(row without an id {number + 1})", RejectionReason.MISSING, "the row has no id")
            after: RowKey | None = None
            retries = RetryBudget()
            while True:
                try:
                    with made.connect() as connection:
                        # Rows with the same id are yielded together or not at all, even if the connection is lost.
                        for key, rows in itertools.groupby(table.rows(connection, after), key=lambda row: row[0]):
                            yield from (_record(row) for row in sorted(rows, key=_content_order))
                            after = key
                            retries.progress()
                    return
                except sa.exc.DBAPIError as error:
                    reconnecting = retries.tried and isinstance(error, sa.exc.OperationalError)
                    if not is_lost(error) and not reconnecting:
                        with user_errors(url, self.remedy):
                            raise
                    if retries.exhausted():
                        raise unreachable_error(url, error) from None


class _Table:
    """The statements for reading a table or query."""

    def __init__(self, option: SqlOption, dialect: str) -> None:
        names = [option.id_column, option.image_column, option.label_column, option.split_column, option.group_column]
        names += [option.changed_column, None if option.checksum_column == AUTO else option.checksum_column]
        columns: list[sa.ColumnClause[Any]] = [
            sa.column(sa.quoted_name(name, quote=True)) for name in dict.fromkeys(names) if name
        ]
        self.sample: set[RowKey] | None = None
        self.is_query = option.query is not None
        if option.query is not None:
            # As a subquery of a statement with parameters: a second statement in the text is a syntax error.
            text = sa.text(option.query.strip().rstrip(";").replace(":", r"\:") + "\n")  # it may end with a comment
            self.source: sa.FromClause = text.columns(*columns).subquery("images")
        else:
            schema = sa.quoted_name(option.schema, quote=True) if option.schema else None
            self.source = sa.table(sa.quoted_name(str(option.table), quote=True), *columns, schema=schema)
        self.id = self.column(option.id_column)
        self.label = self.column(option.label_column)
        self.key = _binary_text(self.id, dialect).label("key")
        optional = (option.split_column, option.group_column)
        self.wanted = [
            self.id,
            self.column(option.image_column),
            self.label,
            *(self.column(name) if name else sa.null() for name in optional),
        ]

    def column(self, name: str) -> sa.ColumnElement[Any]:
        return self.source.c[name]

    def labelled_keys(self) -> sa.Select[Any]:
        return sa.select(self.key, self.label).where(self.id.is_not(None))

    def rows(self, connection: sa.Connection, after: RowKey | None) -> Iterator[Sequence[Any]]:
        """Yields `(key, id, image, label, split, group)` in order of key, starting after `after`."""
        return self._stream(connection, after) if self.is_query else self._pages(connection, after)

    def _after(self, after: RowKey | None) -> sa.ColumnElement[bool]:
        return self.id.is_not(None) if after is None else self.key.element > after

    def _stream(self, connection: sa.Connection, after: RowKey | None) -> Iterator[Sequence[Any]]:
        statement = sa.select(self.key, *self.wanted).where(self._after(after)).order_by(self.key)
        result = connection.execute(statement, execution_options={"yield_per": 16})
        with abandoned_stream(connection, result.cursor):
            yield from (row for row in result if self.sample is None or row.key in self.sample)

    def _pages(self, connection: sa.Connection, after: RowKey | None) -> Iterator[Sequence[Any]]:
        """Fetches pages of ids, then their images through the table's index, to avoid a table scan for every page."""
        size = 16
        while True:
            ids = sa.select(self.key, self.id).where(self._after(after)).distinct().order_by(self.key)
            page_keys = connection.execute(ids.limit(ID_PAGE)).all()
            if not page_keys:
                return
            after = page_keys[-1].key
            if self.sample is not None:
                page_keys = [row for row in page_keys if row.key in self.sample]
            start = 0
            while start < len(page_keys):
                page = page_keys[start : start + size]
                start += size
                keys = {row.key for row in page}
                chosen = sa.select(self.key, *self.wanted).where(self.id.in_([row[1] for row in page]))
                # The column's collation may treat `a` and `A` as equal; the key distinguishes them.
                rows = [row for row in connection.execute(chosen) if row.key in keys]
                connection.commit()  # keeps no transaction open while the reader is busy
                yield from sorted(rows, key=lambda row: row.key)
                size = max(1, min(500, PAGE_BYTES * len(rows) // (sum(len(row[2] or b"") for row in rows) + 1)))


def _binary_text(column: sa.ColumnElement[Any], dialect: str) -> sa.ColumnElement[Any]:
    if dialect == "mysql":
        # Bytes rather than the collation utf8mb4_bin, which ignores trailing spaces and so confuses `a` and `a `.
        text = sa.cast(sa.cast(column, mysql.CHAR(charset="utf8mb4")), sa.BINARY)
        # Numbers and binary strings keep their bytes: read as UTF-8, many would become the same `?`.
        return sa.case((sa.func.charset(column) == "binary", sa.cast(column, sa.BINARY)), else_=text)
    return sa.collate(sa.cast(column, sa.Text), "C" if dialect == "postgresql" else "BINARY")


def _content_order(row: Sequence[Any]) -> tuple[str, str]:
    """Returns a sort key for rows with the same id, whose order in the database may change between queries."""
    return sha256(row[2] if isinstance(row[2], bytes) else str(row[2]).encode()), as_text(row[3]) or ""


def _record(row: Sequence[Any]) -> ImageRecord | Rejection:
    identifier = str(as_text(row[1]))
    if row[2] is None:
        return Rejection(identifier, RejectionReason.MISSING, "the image column is NULL")
    try:
        data = image_bytes(row[2])
    except RejectionError as fault:
        return Rejection(identifier, fault.reason, f"the image column contains {fault.detail}")
    try:
        label, split, group = map(as_text, (one_label(row[3]), *row[4:6]))
    except RejectionError as fault:
        return Rejection(identifier, fault.reason, fault.detail)
    return ImageRecord(identifier, data or b"", label, split, group)
