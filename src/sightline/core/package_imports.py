"""The import of large packages with garbage collection paused."""

from __future__ import annotations

import atexit
import contextlib
import gc
from collections.abc import Iterator

from sightline.core import progress


@contextlib.contextmanager
def loading(names: str) -> Iterator[None]:
    """Reports that a stage loads packages, and pauses garbage collection while the block imports them.

    Importing a million objects makes Python's collector scan all of them again and again: 1.6 of the 6.5 s that
    PyTorch, Lightning and MLflow take. None of them is garbage, so they are also excluded from later collections.

    Args:
        names: Names of the packages, in a word or two, for the progress line.
        names: Of the packages, in a word or two.
    """
    progress.step(f"loading {names}")
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        atexit.register(gc.unfreeze)  # otherwise libraries complain at exit about objects that are still alive
        gc.enable()
