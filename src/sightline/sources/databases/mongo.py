"""Connections to MongoDB."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, unquote

from sightline.core.credentials import Url
from sightline.core.errors import UserError, how_to_install
from sightline.sources.databases import CONNECT_SECONDS, driver_message, unreachable_error

try:
    import bson
    import bson.json_util
    import gridfs
    import gridfs.errors
    import pymongo
    from pymongo.errors import AutoReconnect, CursorNotFound, InvalidName, PyMongoError
except ModuleNotFoundError:
    raise UserError(f"MongoDB needs pymongo: {how_to_install('mongodb')}") from None

__all__ = ["LOST", "Client", "bson", "connect", "database", "gridfs", "pymongo", "user_errors"]

Client = pymongo.MongoClient[dict[str, Any]]

LOST = (AutoReconnect, CursorNotFound)
"""The connection broke, or the server closed the cursor (after ten idle minutes): reading can be resumed."""


@contextlib.contextmanager
def connect(url: Url) -> Iterator[Client]:
    """Yields a client that has reached its server. Its threads do not survive a fork: connect after forking.

    Raises:
        UserError: If the server cannot be reached, or refuses the user.
    """
    given = {name.lower() for name, _ in parse_qsl(url.query)}
    timeouts = {"connectTimeoutMS": CONNECT_SECONDS * 1000, "serverSelectionTimeoutMS": CONNECT_SECONDS * 1000}
    settings: dict[str, Any] = {name: value for name, value in timeouts.items() if name.lower() not in given}
    try:
        client: Client = pymongo.MongoClient(url.text(), appname="sightline", **settings)
    except (PyMongoError, OSError, TypeError, ValueError) as error:  # missing certificates, invalid settings
        raise UserError(f"{url.location}: {driver_message(url, error)}") from None
    with client:
        try:
            # A command that requires authentication: `ping` would succeed before the login is checked.
            client.admin.command("listDatabases", nameOnly=True, authorizedDatabases=True)
        except PyMongoError as error:
            raise unreachable_error(url, _short(error)) from None
        yield client


def database(client: Client, url: Url, name: str | None) -> Any:
    """Returns the database called `name` or, if that is None, the one in the URL.

    Raises:
        UserError: If neither names a database.
    """
    name = name or unquote(url.path.removeprefix("/"))
    if not name:
        raise UserError(f"{url.location}: no database in the URL; write mongodb://host/database")
    with user_errors(url, "check the database's name"):
        return client[name]


@contextlib.contextmanager
def user_errors(url: Url, remedy: str) -> Iterator[None]:
    """Turns the database's errors in the block into one line without credentials.

    Raises:
        UserError: In place of any pymongo exception.
    """
    try:
        yield
    except (PyMongoError, InvalidName) as error:
        raise UserError(f"{url.location}: {driver_message(url, _short(error))}: {remedy}") from None


def _short(error: Exception) -> Exception:
    """Returns the error without pymongo's description of the whole topology."""
    return Exception(str(error).partition(", Timeout:")[0].partition(", full error:")[0].partition(" (configured")[0])
