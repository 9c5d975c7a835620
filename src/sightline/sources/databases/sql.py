"""Connections to MySQL, MariaDB, PostgreSQL and SQLite through SQLAlchemy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from sightline.core.credentials import Url
from sightline.core.errors import UserError, how_to_install
from sightline.core.project import located
from sightline.sources.databases import CONNECT_SECONDS, driver_message, unreachable_error

try:
    import sqlalchemy as sa
    from sqlalchemy.dialects import mysql, postgresql, sqlite
except ModuleNotFoundError:
    raise UserError(f"SQL databases need SQLAlchemy and drivers: {how_to_install('sql')}") from None

__all__ = [
    "abandoned_stream",
    "connect",
    "engine",
    "is_lost",
    "is_sql",
    "mysql",
    "postgresql",
    "sa",
    "sqlite",
    "user_errors",
]

_DRIVERS = {
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "sqlite": "sqlite",
}

# How long the reader of a stream may pause, in seconds: by default the server ends an unread stream after 60.
_SLOW_READER = 6 * 3600


# How long to wait for MySQL between two packets: a sort without an index takes place before the first.
_QUERY_SECONDS = 1800

_ENDED_BY_SERVER = (1053, 1927)
"""MySQL and MariaDB error codes for a shutdown and a killed connection."""


def is_sql(url: Url) -> bool:
    """Returns whether the URL is that of a database that this module supports."""
    return url.family in _DRIVERS


@contextlib.contextmanager
def engine(url: Url, write: bool = False) -> Iterator[sa.Engine]:
    """Yields an engine that opens a new connection each time; connections are read-only unless `write`.

    Raises:
        UserError: If the database is not supported, or its file or driver is missing.
    """
    if not is_sql(url) or url.scheme not in (url.family, _DRIVERS[url.family]):
        raise UserError(f"{url.scheme}: not a supported SQL database; write {', '.join(_DRIVERS)}")
    target, arguments = _sqlite(url, write) if url.family == "sqlite" else _server(url)
    try:
        made = sa.create_engine(target, poolclass=sa.NullPool, hide_parameters=True, connect_args=arguments)
    except ModuleNotFoundError as error:
        raise UserError(f"{url.family} needs the driver {error.name}: {how_to_install('sql')}") from None
    except (TypeError, ValueError) as error:  # a setting in the query of the wrong type
        raise UserError(f"{url.location}: {driver_message(url, error)}") from None
    sa.event.listen(made, "connect", _prepare(made.dialect.name, write))
    try:
        yield made
    finally:
        made.dispose()


def _server(url: Url) -> tuple[sa.URL, dict[str, Any]]:
    target = sa.make_url(Url(_DRIVERS[url.family], url.hosts, url.path, url.user, url.password, url.query).text())
    arguments: dict[str, Any] = {"connect_timeout": CONNECT_SECONDS}
    if url.family in ("mysql", "mariadb"):
        # A malicious server can answer any statement by requesting a local file. These settings override the URL's.
        arguments |= {"local_infile": False, "charset": "utf8mb4", "read_timeout": CONNECT_SECONDS}
        target = target.difference_update_query(["local_infile", "charset", "read_default_file", "init_command"])
    return target, arguments


def _sqlite(url: Url, write: bool) -> tuple[sa.URL, dict[str, Any]]:
    path = unquote(url.path[1:])
    if not path or path == ":memory:" or url.hosts:
        raise UserError("sqlite: write sqlite:///relative/file or sqlite:////absolute/file")
    if not write:
        path = str(located(path))
    if not write and not Path(path).is_file():  # SQLite would create an empty one
        raise UserError(f"{url.location}: there is no such file")
    query = {"uri": "true", "mode": "rwc" if write else "ro"}
    return sa.URL.create("sqlite", database=f"file:{quote(path)}", query=query), {"timeout": CONNECT_SECONDS}


def _prepare(dialect: str, write: bool) -> Any:
    read_only = {
        "mysql": ["SET SESSION TRANSACTION READ ONLY", f"SET SESSION net_write_timeout = {_SLOW_READER}"],
        "postgresql": ["SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"],
        "sqlite": ["PRAGMA query_only = ON"],
    }[dialect]

    def prepare(connection: Any, _record: Any) -> None:
        if dialect == "mysql":
            connection._read_timeout = _QUERY_SECONDS  # connecting is over: PyMySQL applies it to the greeting too
        if not write:
            with contextlib.closing(connection.cursor()) as cursor:
                for statement in read_only:
                    cursor.execute(statement)
            connection.commit()

    return prepare


@contextlib.contextmanager
def connect(made: sa.Engine, url: Url) -> Iterator[sa.Connection]:
    """Yields a connection.

    Raises:
        UserError: If the database cannot be reached, or refuses the user.
    """
    try:
        connection = made.connect()
    except sa.exc.SQLAlchemyError as error:
        raise unreachable_error(url, _cause(error)) from None
    except (OSError, TypeError, ValueError) as error:  # missing certificates, invalid settings
        raise unreachable_error(url, error) from None
    with connection:
        yield connection


@contextlib.contextmanager
def user_errors(url: Url, remedy: str) -> Iterator[None]:
    """Turns the database's errors in the block into one line without credentials.

    Raises:
        UserError: In place of any SQLAlchemy exception.
    """
    try:
        yield
    except sa.exc.SQLAlchemyError as error:
        raise UserError(f"{url.location}: {driver_message(url, _cause(error))}: {remedy}") from None


def is_lost(error: sa.exc.DBAPIError) -> bool:
    """Returns whether the connection broke, or the server ended it: reading can be resumed with a new one."""
    state = str(getattr(error.orig, "sqlstate", None) or "")
    code = error.orig.args[0] if error.orig is not None and error.orig.args else None
    return error.connection_invalidated or state.startswith(("08", "57P")) or code in _ENDED_BY_SERVER


@contextlib.contextmanager
def abandoned_stream(connection: sa.Connection, cursor: Any) -> Iterator[None]:
    """Discards a stream and its connection if the block ends before the stream does.

    PyMySQL would otherwise read the stream to its end before closing it, however long that is, and its destructor would
    complain about a broken stream on standard error.
    """
    try:
        yield
    except BaseException:
        result = getattr(cursor, "_result", None)
        if connection.dialect.name == "mysql" and result is not None:
            result.unbuffered_active = False
            result.connection = cursor._result = cursor.connection = None
        connection.invalidate()
        raise


def _cause(error: sa.exc.SQLAlchemyError) -> Exception:
    """Returns the driver's own exception: SQLAlchemy's text adds the statement and a link to its manual."""
    if not isinstance(error, sa.exc.DBAPIError) or error.orig is None:
        return error
    arguments = error.orig.args
    if len(arguments) == 2 and isinstance(arguments[0], int):  # PyMySQL's (code, text)
        return Exception(f"{arguments[1]} (error {arguments[0]})")
    return error.orig if isinstance(error.orig, Exception) else error
