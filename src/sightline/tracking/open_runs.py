"""Lock files of open runs: one file per run, locked by the process that writes to the run.

The kernel releases a lock when its process ends for any reason. So a run whose file can be locked belongs to a process
that was killed or lost its connection to MLflow at the end; it would stay RUNNING forever.
"""

from __future__ import annotations

import contextlib
import fcntl
import os

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

from sightline.core import files
from sightline.core.project import project_root
from sightline.tracking.uris import own_uri, store_uri

FOLDER = files.STATE / "runs"


class OpenRun:
    """A run that this process writes to, until `close` or the end of the process.

    Args:
        run_id: The run's id.
    """

    def __init__(self, run_id: str) -> None:
        self._path = project_root() / FOLDER / run_id
        self._descriptor: int | None = None
        fresh = self._path.with_name(f".{run_id}.{os.getpid()}.tmp")
        # Without write access or locks, the only loss is that the run is not ended for a killed process.
        with contextlib.suppress(OSError):
            fresh.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(self._descriptor, _store().encode())
            fresh.rename(self._path)

    def close(self, ended: bool) -> None:
        """Releases the lock.

        Args:
            ended: Whether the run has been ended in MLflow; otherwise the next command ends it.
        """
        if self._descriptor is not None:
            if ended:
                with contextlib.suppress(OSError):
                    self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None


def close_abandoned(client: mlflow.MlflowClient) -> None:
    """Ends the runs of processes that no longer exist; a resumed training reopens its run."""
    folder = project_root() / FOLDER
    for path in sorted(folder.glob("[0-9a-f]*")) if folder.is_dir() else ():
        with contextlib.suppress(OSError), path.open("r+") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if stream.read() == _store():
                end_runs(client, path.name)
                path.unlink(missing_ok=True)


def end_runs(client: mlflow.MlflowClient, run_id: str) -> None:
    """Ends a run as KILLED, if its status is still RUNNING."""
    try:
        if client.get_run(run_id).info.status == "RUNNING":
            client.set_terminated(run_id, "KILLED")
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            raise


def is_open(run_id: str) -> bool:
    """Returns whether a running process writes to a run."""
    try:
        with (project_root() / FOLDER / run_id).open("r+") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _store() -> str:
    """Returns an identifier of the store that does not reveal its address."""
    uri = store_uri()
    return "the project's own" if uri == own_uri() else files.sha256(uri.encode())
