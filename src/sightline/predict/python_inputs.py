"""Inputs from a Python program: names, encoded images, and pixels."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from sightline.predict import inputs
from sightline.predict.inputs import Database, Input

ImageInput = str | os.PathLike[str] | bytes | npt.NDArray[np.uint8]
"""A name as on the command line, an encoded image, or pixels: uint8 [h, w], [h, w, 1] grey or [h, w, 3] RGB."""


def python_images(
    values: ImageInput | Iterable[ImageInput], max_bytes: int, database: Database | None
) -> Iterator[Input]:
    """Yields the images of one or many values; those without a name are called `[0]`, `[1]` and so on.

    Raises:
        TypeError: If something is neither a name, nor bytes, nor an array of uint8.
        ValueError: If an array has another shape.
    """
    if isinstance(values, str | os.PathLike | bytes) or (isinstance(values, np.ndarray) and _is_one(values)):
        values = [values]
    for place, one in enumerate(values):
        if isinstance(one, str | os.PathLike):
            yield from inputs.open_all([one], max_bytes, database)
        elif isinstance(one, bytes | bytearray | memoryview):
            yield Input(f"[{place}]", functools.partial(bytes, one))
        else:
            yield Input(f"[{place}]", functools.partial(np.copy, _pixels(one, place)))


def _is_one(array: npt.NDArray[Any]) -> bool:
    """Returns whether an array is a single image rather than several along its first axis."""
    return array.ndim < 3 or (array.ndim == 3 and array.shape[2] <= 4)


def _pixels(array: Any, place: int) -> npt.NDArray[np.uint8]:
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8:
        kind = f"array of {array.dtype}" if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(f"input {place} is an {kind}: give a path, an encoded image's bytes, or an array of uint8")
    shaped = array[..., None] if array.ndim == 2 else array
    if shaped.ndim != 3 or shaped.shape[2] not in (1, 3) or 0 in shaped.shape:
        raise ValueError(f"input {place} has shape {array.shape}: [h, w], [h, w, 1] or [h, w, 3] is needed")
    return shaped
