"""The URI of MLflow's store of runs."""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from sightline.core.project import project_root


def own_uri() -> str:
    """Returns the URL of the project's own store: an SQLite database in its root."""
    return f"sqlite:///{project_root() / 'mlflow.db'}"


def store_uri() -> str:
    """Returns the URI of the store: MLFLOW_TRACKING_URI, or the project's own store.

    The variable may have been set by MLflow rather than the user: MLflow sets it to the URI that it is given.
    """
    return os.environ.get("MLFLOW_TRACKING_URI") or own_uri()


def sqlite_from_anywhere() -> str | None:
    """Returns the store's URL with an absolute path, for processes in other folders; None unless it is SQLite."""
    path = sqlite_file(store_uri())
    return None if path is None else f"sqlite:///{path.absolute()}"


def sqlite_file(uri: str) -> Path | None:
    """Returns the file of an SQLite database's URL; None for other URLs."""
    if not uri.startswith("sqlite"):
        return None
    try:
        name = make_url(uri).database
    except ArgumentError:
        return None
    return Path(name) if name and name != ":memory:" else None
