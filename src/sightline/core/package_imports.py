"""The import of large packages, without the searches for garbage that it would set off."""

from __future__ import annotations

import atexit
import contextlib
import gc
from collections.abc import Iterator

from sightline.core import progress


@contextlib.contextmanager
def loading(names: str) -> Iterator[None]:
    """Says that a stage loads something, whose imports stand in the block.

    A package of a million objects makes Python's collector go through all of them again and again: 1.6 of the 6.5 s
    that PyTorch, Lightning and MLflow take. Nothing of it is garbage, so it waits, and leaves them out from then on.

    Args:
        names: Of the packages, in a word or two.
    """
    progress.step(f"loading {names}")
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        atexit.register(gc.unfreeze)  # or libraries complain, at the end, of what is still there
        gc.enable()
