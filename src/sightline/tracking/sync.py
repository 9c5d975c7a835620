"""Replay of queued MLflow calls."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import mlflow

from sightline.core import files
from sightline.core.errors import UserError
from sightline.tracking import offline_queue
from sightline.tracking.mlflow_errors import TrackingError, mlflow_calls
from sightline.tracking.mlflow_store import connect
from sightline.tracking.open_runs import end_runs, is_open
from sightline.tracking.runs import run_of_model
from sightline.tracking.tracker import Tracker


def sync() -> Iterator[str]:
    """Replays the queued calls; yields a line for each run.

    Raises:
        UserError: If MLflow still cannot be reached; the remaining calls stay queued.
    """
    if not offline_queue.FOLDER.is_dir():
        return
    with files.lock("sync"):
        for entry in offline_queue.finished():
            try:
                with mlflow_calls():
                    client, experiment = connect()
                    tracker = Tracker(client, _run_of(client, experiment, entry))
                    for method, arguments in entry.calls:
                        getattr(Tracker, method).__wrapped__(tracker, **arguments)
                    if not is_open(str(tracker.run_id)):
                        end_runs(client, str(tracker.run_id))  # its process was killed before it could end it
            except TrackingError as error:
                line = (
                    f"MLflow failed ({error.reason}); the remaining calls stay queued: {error.remedy}; then try again"
                )
                raise UserError(line) from None
            shutil.rmtree(entry.folder)
            yield f"run {tracker.run_id}: {len(entry.calls)} calls"


def _run_of(client: mlflow.MlflowClient, experiment: str, entry: offline_queue.QueuedCalls) -> str:
    """Finds the run of a queue, or creates it."""
    run = entry.run
    if "model" in run:
        return run_of_model(client, experiment, run["model"], run["tags"])
    if "new" in run:
        made = client.create_run(experiment, entry.start_time, run["tags"], run["new"])
        # If the replay fails midway, the next one continues in the same run.
        offline_queue.set_run(entry, {"id": made.info.run_id})
        return str(made.info.run_id)
    return str(run["id"])
