"""Readers of MLflow's runs: directly from its SQLite database, which takes milliseconds, or else with its client."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections import defaultdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sightline.core.errors import UserError, not_installed
from sightline.core.project import project_root
from sightline.runs.run_record import RunRecord

EXPERIMENT = "sightline"
DATABASE = "mlflow.db"
_SQLITE = "sqlite:///"


def read_runs() -> list[RunRecord]:
    """Returns the runs of the project's experiment without deleted ones, newest first.

    Raises:
        UserError: If there is no tracking store, or it cannot be read.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}{project_root() / DATABASE}"
    experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    if uri.startswith(_SQLITE) and "?" not in uri:
        path = Path(uri.removeprefix(_SQLITE))
        if not path.exists():
            raise UserError(f"{path}: there are no runs yet; dvc repro creates one (or go to the project's root)")
        with contextlib.suppress(sqlite3.Error):  # another version, or damaged: MLflow's own message is better
            return read_sqlite(path, experiment)
    return read_by_client()


def read_sqlite(path: Path, experiment: str) -> list[RunRecord]:
    """Reads the runs of an experiment from MLflow's database.

    Raises:
        sqlite3.Error: If it is not a database, or is of a version with other tables.
    """
    uri = f"file:{quote(str(path.resolve()))}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=20)) as connection:
        chosen = (
            "SELECT run_uuid FROM runs JOIN experiments USING (experiment_id) "
            "WHERE experiments.name = ? AND runs.lifecycle_stage = 'active'"
        )
        columns: dict[str, dict[str, dict[str, Any]]] = {}
        for table in ("latest_metrics", "params", "tags"):
            found: dict[str, dict[str, Any]] = defaultdict(dict)
            value = "CASE is_nan WHEN 1 THEN 'nan' ELSE value END" if table == "latest_metrics" else "value"
            rows = connection.execute(
                f"SELECT run_uuid, key, {value} FROM {table} WHERE run_uuid IN ({chosen})",  # noqa: S608
                (experiment,),
            )
            for run, key, content in rows:
                found[run][key] = float(content) if table == "latest_metrics" else content
            columns[table] = found
        runs = connection.execute(
            f"SELECT run_uuid, name, status, start_time, artifact_uri FROM runs WHERE run_uuid IN ({chosen}) "  # noqa: S608
            "ORDER BY start_time DESC, run_uuid",
            (experiment,),
        ).fetchall()
    return [
        RunRecord(
            id=run,
            name=str(name),
            status=str(status),
            start_time=int(start or 0),
            artifacts=str(artifacts),
            metrics=columns["latest_metrics"][run],
            params=columns["params"][run],
            tags=columns["tags"][run],
        )
        for run, name, status, start, artifacts in runs
    ]


def read_by_client() -> list[RunRecord]:
    """Reads the runs with MLflow's client, from any kind of tracking store."""
    try:
        from sightline import tracking
        from sightline.tracking.tracker import all_runs
    except ModuleNotFoundError as error:
        raise not_installed(error.name, "pipeline") from None
    try:
        with tracking.mlflow_calls():
            client, experiment = tracking.connect()
            found = all_runs(client, experiment, "")
    except tracking.TrackingError as error:
        raise UserError(f"MLflow failed ({error.reason}); {error.remedy}") from None
    return [
        RunRecord(
            id=run.info.run_id,
            name=str(run.info.run_name),
            status=run.info.status,
            start_time=run.info.start_time,
            artifacts=run.info.artifact_uri,
            metrics=run.data.metrics,
            params=run.data.params,
            tags=run.data.tags,
        )
        for run in sorted(found, key=lambda run: (-run.info.start_time, run.info.run_id))
    ]
