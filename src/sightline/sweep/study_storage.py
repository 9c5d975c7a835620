"""The storage of sweeps: a file of the project, or a database shared by machines."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from sightline.core import credentials, files
from sightline.core.errors import UserError, not_installed

try:
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend
except ModuleNotFoundError as missing:
    raise not_installed(missing.name, "sweep") from None

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

JOURNAL = files.STATE / "sweeps.journal"
VARIABLE = "SIGHTLINE_SWEEP_STORAGE"
"""Environment variable with the URL of a database, for machines that share a study."""
_ATTEMPTS = 10


class _KernelLock:
    """A lock that the kernel releases when its process ends; a stale lock of Optuna would block for half a minute."""

    def __init__(self, path: str) -> None:
        self._path = f"{path}.lock"
        self._stream: IO[str] | None = None

    def acquire(self) -> bool:
        self._stream = Path(self._path).open("a")  # noqa: SIM115 - closed by `release`
        fcntl.flock(self._stream, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        if self._stream is not None:
            self._stream.close()


def study_location() -> str:
    """Returns the location of the studies: a database URL from the environment, or the project's file."""
    return os.environ.get(VARIABLE) or str(JOURNAL.absolute())


def open_storage(place: str) -> BaseStorage:
    """Opens the storage of studies.

    Args:
        place: A database URL, or a file's path.

    Raises:
        UserError: If the database cannot be reached.
    """
    if "://" not in place:
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(place, lock_obj=_KernelLock(place)))  # type: ignore[arg-type]
    # The drivers that this project installs, rather than SQLAlchemy's defaults for the plain names.
    scheme, rest = place.split("://", 1)
    drivers = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
    drivers |= {"mysql": "mysql+pymysql", "mariadb": "mysql+pymysql"}
    settings: dict[str, Any] = {"pool_pre_ping": True}
    if scheme.startswith(("mysql", "mariadb")):
        # MariaDB refuses to change a row that another machine has changed since the transaction began (error 1020).
        settings["isolation_level"] = "READ COMMITTED"
    for attempt in range(_ATTEMPTS):
        try:
            return RDBStorage(f"{drivers.get(scheme, scheme)}://{rest}", engine_kwargs=settings)
        except Exception as error:
            cause = error.__cause__ or error
            first = credentials.mask(" ".join(str(cause).split()))[:200]
            # Another machine is creating the tables: PostgreSQL and MariaDB report that in one of these ways.
            made = "already exists" in str(cause) or "duplicate" in str(cause).lower()
            if not made or attempt == _ATTEMPTS - 1:
                raise UserError(f"{VARIABLE}: {credentials.mask(place)}: {type(cause).__name__}: {first}") from None
            time.sleep(1)
    raise AssertionError("the last attempt raises")
