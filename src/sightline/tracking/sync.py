"""Telling MLflow later what it could not be told."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import mlflow

from sightline.core import files
from sightline.core.errors import UserError
from sightline.tracking import offline_queue
from sightline.tracking.guard import Unreachable, reaching
from sightline.tracking.open_runs import end, is_open
from sightline.tracking.runs import run_of_model
from sightline.tracking.store import connect
from sightline.tracking.tracker import Tracker


def sync() -> Iterator[str]:
    """Tells MLflow what it could not be told before; yields a line for each run.

    Raises:
        UserError: If MLflow still cannot be reached; what is left is kept.
    """
    with files.lock("sync"):
        for entry in offline_queue.kept():
            try:
                with reaching():
                    client, experiment = connect()
                    tracker = Tracker(client, _run_of(client, experiment, entry))
                    for method, arguments in entry.calls:
                        getattr(Tracker, method).__wrapped__(tracker, **arguments)
                    if not is_open(str(tracker.run_id)):
                        end(client, str(tracker.run_id))  # of a process that was killed before it could say so
            except Unreachable as error:
                line = f"MLflow failed ({error.why}); what is left is kept: {error.remedy}; then try again"
                raise UserError(line) from None
            shutil.rmtree(entry.folder)
            yield f"run {tracker.run_id}: {len(entry.calls)} calls"


def _run_of(client: mlflow.MlflowClient, experiment: str, entry: offline_queue.Kept) -> str:
    """Finds the run that an outbox is for, or makes it."""
    run = entry.run
    if "model" in run:
        return run_of_model(client, experiment, run["model"], run["tags"])
    if "new" in run:
        made = client.create_run(experiment, entry.start_time, run["tags"], run["new"])
        # If sending fails half way, it is taken up again in the same run.
        offline_queue.rename(entry, {"id": made.info.run_id})
        return str(made.info.run_id)
    return str(run["id"])
