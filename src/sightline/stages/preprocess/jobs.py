"""What there is to do: one job a shard that the cache does not hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sightline.stages.preprocess.cache import PixelCache
from sightline.stages.preprocess.copy_task import CopyTask
from sightline.stages.preprocess.pixel_task import PixelTask


@dataclass(frozen=True)
class Job:
    """One entry of the cache to be made.

    Attributes:
        key: The entry's.
        source: The file that the work reads.
        recipe: The work.
        seconds: How long it may take, roughly: whether more processes pay depends on it, no result does.
    """

    key: str
    source: Path
    recipe: PixelTask | CopyTask
    seconds: float

    @property
    def images(self) -> int:
        """How many images it makes, refused ones included."""
        match self.recipe:
            case PixelTask():
                return len(self.recipe.contents) // 32
            case CopyTask():
                return len(self.recipe.rows) * self.recipe.copies

    @property
    def local(self) -> bool:
        """Whether most of the result lies on this machine already."""
        return isinstance(self.recipe, PixelTask) and bool(self.recipe.known)

    def do(self, cache: PixelCache) -> None:
        """Does the work in this process and puts the result into `cache`."""
        cache.add(self.key, lambda out: self.recipe.write(self.source, out))


Done = Callable[[Job], None]
"""Is told of each job that is done."""


def unnoticed(_: Job) -> None:
    """Tells nobody."""
