"""Conversion of table cells to the values of a record."""

from __future__ import annotations

import math
from typing import Any

from sightline.core.text import readable


def cell_text(value: Any) -> str | None:
    """Returns a cell as text, None where it is empty; 3 and 3.0, as which libraries read it back, are one.

    >>> text(3.0), text(" cat "), text(""), text(float("nan"))
    ('3', 'cat', None, None)
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    return readable(str(value).strip()) or None  # JSON can hold what no file of ours can
