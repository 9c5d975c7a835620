"""The detail and colour of the original images that preprocessing discards, in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_COLOURS = {"RGB": "RGB", "RGBA": "RGB", "CMYK": "CMYK", "YCbCr": "RGB", "LAB": "RGB", "HSV": "RGB"}
_GREYS = ("1", "L", "LA", "I", "F")
_MATERIAL = 2
"""Factor by which a side may shrink before it is reported: enlargements and small reductions lose little."""


def lost(audit: Mapping[str, Any], size: int, channels: int) -> str | None:
    """Describes most images and what the settings make of them, if that discards detail or colour.

    Args:
        audit: The part `audit` of `ingest.json`: `sizes` and `modes` of the images.
        size: Height and width after preprocessing, in pixels.
        channels: Channels after preprocessing: 1 (grey) or 3 (RGB).

    Returns:
        One line; None if nothing significant is lost.

    >>> sides = {side: {"min": 100, "median": 100, "max": 100} for side in ("width", "height")}
    >>> lost({"sizes": sides, "modes": {"RGB": 9}}, 16, 1)
    '100 x 100 RGB, prepared to 16 x 16 grey: preprocess.size, preprocess.channels'
    >>> lost({"sizes": sides, "modes": {"L": 9}}, 64, 1) is None
    True
    """
    sides = [audit["sizes"][side] for side in ("width", "height")]
    modes: Mapping[str, int] = audit["modes"]
    mode = min(modes, key=lambda name: (-modes[name], name))
    knobs = []
    if max(side["median"] for side in sides) > _MATERIAL * size:
        knobs.append("preprocess.size")
    if channels == 1 and mode in _COLOURS:
        knobs.append("preprocess.channels")
    if not knobs:
        return None
    various = "" if all(side["min"] == side["max"] for side in sides) and len(modes) == 1 else "mostly "
    median = f"{various}{sides[0]['median']} x {sides[1]['median']}"
    kind = "grey" if mode in _GREYS or mode.startswith("I;") else _COLOURS.get(mode, mode)
    prepared = f"{size} x {size} {'grey' if channels == 1 else 'RGB'}"
    return f"{median} {kind}, prepared to {prepared}: {', '.join(knobs)}"
