"""What clusters share: a job that travels. Nodes need no disk in common: bytes go there, and pixels come back."""

from __future__ import annotations

import tempfile
from pathlib import Path

from sightline.core.errors import UserError
from sightline.stages.preprocess.cache import PixelCache
from sightline.stages.preprocess.code_version import version
from sightline.stages.preprocess.copy_task import CopyTask
from sightline.stages.preprocess.jobs import Job
from sightline.stages.preprocess.pixel_task import PixelTask
from sightline.stages.preprocess.tasks import ShardSummary

Parcel = tuple[PixelTask | CopyTask, str, bytes, str]
"""Recipe, name of the file that it reads, the file's content, the code's version."""
Answer = tuple[str, bytes, bytes]
"""The version of the code that did it, the facts, the file of pixels."""

RETRIES = 5
"""Nodes that may die under one job before the stage gives up: the job itself may be what kills them."""


def parcel(job: Job) -> Parcel:
    """Packs a job, with all that a node must have to do it."""
    return job.recipe, job.source.name, job.source.read_bytes(), _version(job.recipe)


def do(packed: Parcel) -> Answer:
    """Does a job on a node."""
    import cv2

    recipe, name, content, wanted = packed
    if (own := _version(recipe)) != wanted:  # would be other pixels, perhaps
        return own, b"", b""
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / name, Path(folder) / "out.npy"
        source.write_bytes(content)
        facts = recipe.write(source, out)
        return own, facts.to_bytes(), out.read_bytes()


def take(job: Job, answer: Answer, cache: PixelCache, cluster: str) -> None:
    """Puts what a node sent back into the cache.

    Raises:
        UserError: If the node's code is another.
    """
    own, said, content = answer
    if own != _version(job.recipe):
        raise UserError(
            f"preprocess.backend={cluster}: a node has another version of Sightline, OpenCV, NumPy, Pillow, "
            "simplejpeg or PyWavelets; install the same on all nodes"
        )

    def make(out: Path) -> ShardSummary:
        out.write_bytes(content)
        return ShardSummary.from_bytes(said)

    cache.add(job.key, make)


def one_line(error: BaseException) -> str:
    """Returns the first line of what an error says."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]


def _version(recipe: PixelTask | CopyTask) -> str:
    return version("pixels" if isinstance(recipe, PixelTask) else "copies")
