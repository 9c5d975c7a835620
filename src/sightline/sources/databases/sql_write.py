"""Tables for images and predictions, and upserts into them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from sightline.core.credentials import Url
from sightline.core.errors import UserError
from sightline.sources.databases.sql import connect, engine, mysql, postgresql, sa, sqlite, user_errors

MAX_ID = 512
"""Maximum characters of an id: together with a model's digest it still fits into a MySQL index (3,072 bytes)."""

Row = Mapping[str, Any]


def upsert(
    batches: Iterable[list[Row]],
    url: Url,
    name: str,
    columns: Callable[[sa.Dialect], list[sa.Column[Any]]],
    key: Sequence[str],
) -> Iterator[int]:
    """Writes batches of rows, one transaction each, and yields the number of rows in each; creates a missing table.

    Raises:
        UserError: If the database cannot be reached, or refuses the rows.
    """
    remedy = f"check the table {name}, the user's rights and the server's max_allowed_packet"
    with engine(url, write=True) as made, connect(made, url) as connection:
        table = sa.Table(sa.quoted_name(name, quote=True), sa.MetaData(), *columns(made.dialect))
        with user_errors(url, remedy), connection.begin():
            table.create(connection, checkfirst=True)
            _add_missing(table, connection)
        statement = _statement(table, key, made.dialect.name)
        for batch in batches:
            for row in batch:
                if len(row["id"]) > MAX_ID:
                    raise UserError(f"id {row['id'][:60]!r}... has {len(row['id'])} characters; {MAX_ID} are allowed")
            # A statement may contain an id only once: the last row wins, as it would one by one.
            unique = {tuple(row[part] for part in key): dict(row) for row in batch}
            with user_errors(url, remedy), connection.begin():
                connection.execute(statement, list(unique.values()))
            yield len(batch)


def _add_missing(table: sa.Table, connection: Any) -> None:
    """Adds the columns that a table from an older version lacks."""
    there = {column["name"] for column in sa.inspect(connection).get_columns(table.name)}
    quoted = connection.dialect.identifier_preparer.format_table(table)
    for column in table.columns:
        if column.name not in there:
            definition = sa.schema.CreateColumn(column).compile(dialect=connection.dialect)
            connection.execute(sa.text(f"ALTER TABLE {quoted} ADD COLUMN {definition}"))


def _statement(table: sa.Table, key: Sequence[str], dialect: str) -> Any:
    rest = [column.name for column in table.columns if column.name not in key]
    if dialect == "mysql":
        statement = mysql.insert(table)
        return statement.on_duplicate_key_update({name: statement.inserted[name] for name in rest})
    other: Any = (postgresql if dialect == "postgresql" else sqlite).insert(table)
    return other.on_conflict_do_update(index_elements=list(key), set_={name: other.excluded[name] for name in rest})


def image_columns(dialect: sa.Dialect) -> list[sa.Column[Any]]:
    """Returns the columns of a table of images."""
    binary = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql")  # the default, BLOB, is limited to 64 KiB
    return [
        sa.Column("id", _id_type(dialect), primary_key=True),
        sa.Column("image", binary, nullable=False),
        *(sa.Column(name, _text_type(512)) for name in ("label", "split", "group")),
        sa.Column("sha256", _text_type(64)),
    ]


def prediction_columns(dialect: sa.Dialect) -> list[sa.Column[Any]]:
    """Returns the columns of a table of predictions."""
    return [
        sa.Column("id", _id_type(dialect), primary_key=True),
        sa.Column("model", _text_type(64), primary_key=True),
        sa.Column("label", _text_type(512)),
        sa.Column("probability", sa.Double()),
        sa.Column("reason", _text_type(64)),
        sa.Column("detail", sa.Text()),
        sa.Column("novelty", sa.Double()),
        sa.Column("class_set", sa.Text()),
    ]


def _id_type(dialect: Any) -> sa.types.TypeEngine[Any]:
    """Returns a type whose values are equal only if their bytes are: case, accents and trailing spaces matter."""
    if dialect.name == "mysql":
        collation = "utf8mb4_nopad_bin" if dialect.is_mariadb else "utf8mb4_0900_bin"
        return mysql.VARCHAR(MAX_ID, charset="utf8mb4", collation=collation)
    return sa.String(MAX_ID, collation="C" if dialect.name == "postgresql" else "BINARY")


def _text_type(length: int) -> sa.types.TypeEngine[Any]:
    return sa.String(length).with_variant(mysql.VARCHAR(length, charset="utf8mb4"), "mysql")
