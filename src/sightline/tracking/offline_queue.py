"""The queue of MLflow calls that could not be made, for `sightline sync`: one folder per process.

Each line of JSON is a call that failed, or a later one. Files are copied, since the next run replaces them.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline.core import files

FOLDER = files.STATE / "outbox"  # must not change, so that existing queues are still found
CALLS = "calls.jsonl"
FILES = "files"


class OfflineQueue:
    """The queued calls of one process for one run. The process holds a lock while it may still write.

    Args:
        run: Key of the run: {"id": ...}, {"model": digest, "tags": ...}, or {"new": name, "tags": ...}.
    """

    def __init__(self, run: Mapping[str, Any]) -> None:
        # Named by time, so that a training's queue sorts before its evaluation's.
        self.folder = FOLDER / f"{time.time_ns()}-{os.getpid()}"
        self.folder.mkdir(parents=True)
        self._stream = (self.folder / CALLS).open("a", encoding="utf-8")
        fcntl.flock(self._stream, fcntl.LOCK_EX)
        self._copies = 0
        self._write({"run": dict(run), "start_time": int(time.time() * 1000)})

    def add(self, method: str, arguments: Mapping[str, Any]) -> None:
        """Queues a call of a `Tracker` method; a file or folder among its arguments is copied.

        Args:
            method: The method's name.
            arguments: Its arguments by name: JSON values, and paths.
        """
        self._write({"method": method, "arguments": {name: self._stored(value) for name, value in arguments.items()}})

    def close(self) -> None:
        """Unlocks the queue, so that it can be replayed; the end of the process does the same."""
        self._stream.close()

    def _stored(self, value: Any) -> Any:
        if not isinstance(value, Path):
            return value
        if not value.exists():
            return {"path": value.as_posix()}
        self._copies += 1
        copy = Path(FILES) / str(self._copies) / value.name
        (self.folder / copy).parent.mkdir(parents=True)
        if value.is_dir():
            shutil.copytree(value, self.folder / copy, ignore=shutil.ignore_patterns(files.STATE.name))
        else:
            shutil.copy2(value, self.folder / copy)
        return {"copy": copy.as_posix(), "path": value.as_posix()}

    def _write(self, line: Mapping[str, Any]) -> None:
        self._stream.write(json.dumps(line) + "\n")
        self._stream.flush()


@dataclass(frozen=True)
class QueuedCalls:
    """A queue that no process writes to any longer.

    Attributes:
        folder: Its folder.
        run: Key of its run.
        start_time: Its start, in milliseconds since 1970.
        calls: (method, arguments) in order.
    """

    folder: Path
    run: Mapping[str, Any]
    start_time: int
    calls: list[tuple[str, dict[str, Any]]]


def finished() -> Iterator[QueuedCalls]:
    """Yields the queues that no process writes to any longer, oldest first."""
    for folder in sorted(FOLDER.glob("*/")):
        with (folder / CALLS).open(encoding="utf-8") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # its process is still running
            lines = [json.loads(line) for line in stream if line.endswith("\n")]  # a kill may leave a partial one
        if not lines:
            shutil.rmtree(folder)
            continue
        calls = [
            (line["method"], {n: _restored(folder, v) for n, v in line["arguments"].items()}) for line in lines[1:]
        ]
        yield QueuedCalls(folder, lines[0]["run"], lines[0]["start_time"], calls)


def _restored(folder: Path, value: Any) -> Any:
    if isinstance(value, dict) and "path" in value:
        return folder / value["copy"] if "copy" in value else Path(value["path"])
    return value


def set_run(entry: QueuedCalls, run: Mapping[str, Any]) -> None:
    """Replaces the description of how to find a queue's run."""
    first, *rest = (entry.folder / CALLS).read_text(encoding="utf-8").splitlines(keepends=True)
    header = {**json.loads(first), "run": dict(run)}
    files.write_text(entry.folder / CALLS, "".join([json.dumps(header) + "\n", *rest]))
