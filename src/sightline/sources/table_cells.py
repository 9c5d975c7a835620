"""Conversion of table cells to the values of a record."""

from __future__ import annotations

import math
from typing import Any

from sightline.core.text import readable


def cell_text(value: Any) -> str | None:
    """Returns a cell as text, None if it is empty; 3 and 3.0 give the same, as libraries differ in how they read 3.

    >>> cell_text(3.0), cell_text(" cat "), cell_text(""), cell_text(float("nan"))
    ('3', 'cat', None, None)
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    return readable(str(value).strip()) or None  # JSON can contain surrogates, which cannot be written as UTF-8
