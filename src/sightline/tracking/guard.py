"""The one guard around MLflow: whatever it raises becomes one line that says where, why, and what to do about it.

MLflow raises nearly anything (a damaged database is a UnicodeDecodeError, a KeyError, an Alembic error), and it tries a
database that cannot be opened again for 100 seconds. Each call into it stands in a `reaching` block; `Tracker` makes a
warning of what that raises, commands that ask MLflow for something a `UserError`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from sightline.core import credentials
from sightline.core.errors import UserError
from sightline.core.project import project_root


class Unreachable(Exception):
    """MLflow could not be asked or told.

    Attributes:
        why: Where MLflow is, and what went wrong: one line without credentials.
        remedy: What the user can do.
    """

    def __init__(self, error: Exception) -> None:
        database = sqlite_file(store_uri())
        where = str(database) if database else credentials.mask(store_uri())
        cause = _cause(error)
        first_line = "".join(credentials.mask(str(cause)).strip().splitlines()[:1])[:200]
        self.why = f"{where}: {type(cause).__name__}: {first_line}"
        self.remedy = _remedy(database, cause)
        super().__init__(self.why)


@contextmanager
def reaching() -> Iterator[None]:
    """Holds calls into MLflow.

    Raises:
        Unreachable: For whatever they raise, but for what the user is to be told as it is.
    """
    try:
        yield
    except (UserError, Unreachable):
        raise
    except Exception as error:
        raise Unreachable(error) from error


def own_uri() -> str:
    """Returns the URL of the project's own store: SQLite in its root."""
    return f"sqlite:///{project_root() / 'mlflow.db'}"


def store_uri() -> str:
    """Returns where runs are kept: MLFLOW_TRACKING_URI, or the project's own store.

    The variable says nothing of who set it: MLflow itself does, to what it was told.
    """
    return os.environ.get("MLFLOW_TRACKING_URI") or own_uri()


def sqlite_file(uri: str) -> Path | None:
    """Returns the file of an SQLite database's URL; None for any other."""
    if not uri.startswith("sqlite"):
        return None
    try:
        name = make_url(uri).database
    except ArgumentError:
        return None
    return Path(name) if name and name != ":memory:" else None


def _cause(error: BaseException) -> BaseException:
    """Returns what SQLite said, where that is behind it, without the statement and the parameters; else the error."""
    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, sqlite3.Error):
        behind = behind.__cause__ or behind.__context__
    return behind or error


def _remedy(database: Path | None, error: BaseException) -> str:
    if database is None:
        return "start it, or set MLFLOW_TRACKING_URI to one that runs"
    if isinstance(error, TimeoutError) or "locked" in str(error):
        return f"end the program that holds {database}"
    if not database.parent.is_dir():
        return f"make the folder {database.parent}"
    if (database.exists() and not os.access(database, os.R_OK | os.W_OK)) or not os.access(database.parent, os.W_OK):
        return f"give yourself the right to write {database} and its folder"
    return f"put a sound copy in the place of {database}, or move it away, and a new one is made"
