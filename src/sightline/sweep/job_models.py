"""Models of jobs: their folders, their retrieval from MLflow, and their transfer to DVC's cache."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sightline.core import files
from sightline.core.errors import UserError
from sightline.stages.watch.look import STAGES
from sightline.stages.watch.stage_digests import settings_digests
from sightline.sweep.job import SweepJob
from sightline.sweep.slots import Slots
from sightline.tracking.find_run import download

log = logging.getLogger(__name__)

JOBS = files.STATE / "sweeps"
"""Contains a folder for each job's digest, with its log, predictions on validation images, and (if best) model."""
ENTERED = "in_run_cache"
"""Marker file of a job whose model is in DVC's cache."""
RESULT = "training.json"
"""The file with the metrics of a training, in the folder of its digest."""
PARTS = {
    "models/model.safetensors": "model/model.safetensors",
    "models/model.json": "model/model.json",
    "reports/history.csv": "history.csv",
}
"""The files that training writes, with the corresponding artifacts of its run."""


@contextlib.contextmanager
def job_lock(folder: Path, stopping: Callable[[], bool]) -> Iterator[None]:
    """Locks a training for one sweep of the project; other sweeps with the same training wait.

    Args:
        folder: The training's folder.
        stopping: Returns whether to give up.

    Raises:
        LockedError: If it has to stop while another sweep holds the lock.
    """
    with contextlib.ExitStack() as held:
        waits = False
        while True:
            try:
                held.enter_context(files.lock("training", folder))
                break
            except files.LockedError:
                if stopping():
                    raise
            if not waits:
                log.info(f"sweep: waiting for job {folder.name}, which another sweep runs now")
            waits = True
            time.sleep(0.2)
        yield


def fetch_job_model(folder: Path, run_id: str | None) -> bool:
    """Downloads a job's model from its run if it is missing (trained on another machine, or not kept by a sweep).

    Args:
        folder: The job's folder.
        run_id: The job's run in MLflow; None if unknown.

    Returns:
        Whether the model is now in the folder.
    """
    for part, artifact in PARTS.items():
        if (folder / part).is_file():
            continue
        if run_id is None:
            return False
        (folder / part).parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            try:
                found = download(run_id, artifact, Path(temporary))
            except UserError:
                return False  # MLflow is unreachable, which the sweep's own run has reported
            if found is None:
                return False
            shutil.move(found, folder / part)
    return True


def enter(slots: Slots, job: SweepJob, folder: Path) -> None:
    """Moves a job's model to DVC's cache, as the output of the train stage with its params.yaml.

    Args:
        slots: The slots; the job's slot exists.
        job: The job.
        folder: The folder of its training, with the model.

    Raises:
        UserError: If DVC fails.
    """
    slot = slots.folder(job)
    (slot / "params.yaml").write_text(job.params, encoding="utf-8")
    for part in PARTS:
        target = slot / part
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        shutil.copy(folder / part, target)
    # As `watch` would write it; the other fingerprints concern the data, and exist already.
    files.write_json(slot / "data/weights.json", dict(job.weights))
    stages = json.loads((slot / STAGES).read_bytes())
    for name, digest in settings_digests(job.config).items():
        if name in stages:
            stages[name]["settings"] = digest
    files.write_json(slot / STAGES, stages)
    slots.dvc(slot, "commit", "--force", "train")
    shutil.rmtree(folder / "models")
    (folder / ENTERED).touch()
