"""Translation of MLflow's errors into one line with the store, the cause and the remedy.

MLflow raises all kinds of exceptions (for a damaged database a UnicodeDecodeError, a KeyError or an Alembic error).
Every call into it is inside an `mlflow_calls` block. `Tracker` turns the resulting error into a warning, and commands
that depend on MLflow turn it into a `UserError`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sightline.core import credentials
from sightline.core.errors import UserError
from sightline.tracking.uris import sqlite_file, store_uri


class TrackingError(Exception):
    """A failed call of MLflow.

    Attributes:
        reason: The store and the error, in one line without credentials.
        remedy: The remedy for the user.
    """

    def __init__(self, error: Exception) -> None:
        database = sqlite_file(store_uri())
        store = str(database) if database else credentials.mask(store_uri())
        cause = _cause(error)
        first_line = "".join(credentials.mask(str(cause)).strip().splitlines()[:1])[:200]
        self.reason = f"{store}: {type(cause).__name__}: {first_line}"
        self.remedy = _remedy(database, cause)
        super().__init__(self.reason)


@contextmanager
def mlflow_calls() -> Iterator[None]:
    """Translates the errors of calls into MLflow.

    Raises:
        TrackingError: In place of any exception except a `UserError`, which is passed on.
    """
    try:
        yield
    except (UserError, TrackingError):
        raise
    except Exception as error:
        raise TrackingError(error) from error


@contextmanager
def mlflow_user_errors() -> Iterator[None]:
    """Translates MLflow's errors for commands that cannot work without it.

    Raises:
        UserError: In place of any error of MLflow.
    """
    try:
        with mlflow_calls():
            yield
    except TrackingError as error:
        raise UserError(f"MLflow failed ({error.reason}); {error.remedy}") from None


def _cause(error: BaseException) -> BaseException:
    """Returns the SQLite error that caused an error, which has no statement and parameters; else the error itself."""
    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, sqlite3.Error):
        behind = behind.__cause__ or behind.__context__
    return behind or error


def _remedy(database: Path | None, error: BaseException) -> str:
    if getattr(error, "error_code", None) and "not found" in str(error).lower():  # MLflow itself works
        return "sightline promote registers a bundle; mlflow ui shows the names there are"
    if database is None:
        return "start it, or set MLFLOW_TRACKING_URI to one that runs"
    if isinstance(error, TimeoutError) or "locked" in str(error):
        return f"end the program that holds {database}"
    if not database.parent.is_dir():
        return f"make the folder {database.parent}"
    if (database.exists() and not os.access(database, os.R_OK | os.W_OK)) or not os.access(database.parent, os.W_OK):
        return f"give yourself the right to write {database} and its folder"
    return f"replace {database} with an intact copy, or move it away to start a new one"
