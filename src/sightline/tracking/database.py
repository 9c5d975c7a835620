"""MLflow's database: checks before MLflow opens it, locking of migrations, relocation of stored paths."""

from __future__ import annotations

import contextlib
import fcntl
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from mlflow.store.db.utils import create_sqlalchemy_engine

from sightline.tracking.uris import sqlite_file

PATIENCE = 60
"""Seconds that a process waits while another one creates or migrates the database."""
BUSY = 20
"""Seconds that it waits for another program to finish writing."""
DATABASES = ("mysql", "postgresql", "mssql", "mariadb")

# Tables and columns that contain paths; not every version of MLflow has all of them.
PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
ARTIFACTS = "mlartifacts"


def require_open(uri: str) -> None:
    """Checks that a database can be opened, since MLflow would retry for 100 seconds otherwise.

    Raises:
        Exception: The driver's error, if it cannot be opened or is not a database.
    """
    path = sqlite_file(uri)
    if path is None:
        if uri.split(":")[0].split("+")[0] in DATABASES:
            engine = create_sqlalchemy_engine(uri)
            with contextlib.closing(engine.connect()):
                pass
            engine.dispose()
        return
    if path.is_dir():
        raise IsADirectoryError("it is a folder")
    with contextlib.closing(sqlite3.connect(path, timeout=BUSY, isolation_level=None)) as connection:
        connection.execute("SELECT name FROM sqlite_master").fetchall()
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError as error:
            if "readonly" not in str(error):  # a read-only database can still be read
                raise


@contextlib.contextmanager
def sole_migration(uri: str) -> Iterator[None]:
    """Lets only one process at a time create or migrate an SQLite database, regardless of its working folder.

    MLflow's migrations fail if two processes run them at once. If no lock is possible, as in a read-only folder, the
    block runs without one.

    Raises:
        TimeoutError: If another process holds the lock for more than a minute.
    """
    path = sqlite_file(uri)
    if path is None:
        yield
        return
    with contextlib.ExitStack() as stack:
        try:
            stream = stack.enter_context((path.parent / f".{path.name}.lock").open("a"))
        except OSError:
            stream = None
        deadline = time.monotonic() + PATIENCE
        while stream is not None:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"another process has held it for {PATIENCE} seconds") from None
                time.sleep(0.1)
            except OSError:  # a file system without locks
                break
        yield


def relocate(path: Path, root: Path) -> None:
    """Updates the paths in a project's own database to the project's current location.

    MLflow stores absolute paths. After a project was moved or copied, they point to the old location, where files would
    not be found and new ones would be written.

    Args:
        path: The database's file.
        root: The project's root.
    """
    here = str(root.resolve())
    if not path.is_file() or not path.stat().st_size:
        return
    with contextlib.closing(sqlite3.connect(path, timeout=BUSY)) as connection, connection:
        known = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "experiments" not in known:
            return
        ours = connection.execute(
            "SELECT DISTINCT artifact_location FROM experiments JOIN experiment_tags USING (experiment_id) "
            "WHERE key = 'mlflow.experimentKind' AND value = 'custom_model_development'"
        ).fetchall()
        for (location,) in ours:
            before, slash, last = str(location).rpartition("/")
            if last != ARTIFACTS or not slash or before.removeprefix("file://") == here:
                continue
            for table, column in PLACES:
                if table in known and column in {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}:
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",  # noqa: S608
                        (f"{here}/", len(before) + 2, len(before) + 1, f"{before}/"),
                    )
