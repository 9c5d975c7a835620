"""Tasks on clusters: nodes need no shared disk, since each task is sent with its bytes and returns its pixels."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.core.errors import UserError
from sightline.stages.preprocess.code_version import version

if TYPE_CHECKING:
    from sightline.stages.preprocess.tasks import Result, ShardSummary, Task

Parcel = tuple["Task", bytes, str]
"""Task, content of the file that it reads, version of the code."""
Answer = tuple[str, "ShardSummary | None", bytes]
"""Version of the node's code, the summary (None if the versions differ), content of the file of pixels."""


def parcel(task: Task) -> Parcel:
    """Packs a task with everything that a node needs to run it."""
    return task, task.source.read_bytes(), version(task.kind)


def run_parcel(packed: Parcel) -> Answer:
    """Runs a task on a node."""
    import cv2

    task, content, wanted = packed
    if (own := version(task.kind)) != wanted:  # the pixels might differ
        return own, None, b""
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / task.source.name, Path(folder) / "out.npy"
        source.write_bytes(content)
        summary = dataclasses.replace(task, source=source).write(out)
        return own, summary, out.read_bytes()


def unpack(task: Task, answer: Answer, out: Path, cluster: str) -> Result:
    """Writes the pixels returned by a node to the folder `out`, and returns the result.

    Raises:
        UserError: If the node's code has another version.
    """
    from sightline.stages.preprocess.tasks import unfinished

    _, summary, pixels = answer
    if summary is None:
        raise UserError(
            f"preprocess.backend={cluster}: a node has another version of Sightline, OpenCV, NumPy, Pillow, "
            "simplejpeg or PyWavelets; install the same on all nodes"
        )
    unfinished(task, out).write_bytes(pixels)
    return task, summary
