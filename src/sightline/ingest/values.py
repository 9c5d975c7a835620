"""Cells of tables as what a record holds."""

from __future__ import annotations

import base64
import binascii
import math
from typing import Any

from sightline.reasons import Reason, Rejected


def text(value: Any) -> str | None:
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
    return str(value).strip() or None


def image_bytes(value: Any) -> bytes | None:
    """Returns the encoded image in a cell, which holds bytes, base64 text, or an `Image` feature; None if it is empty.

    Raises:
        Rejected: If the text is not base64, or the cell holds something else.
    """
    if isinstance(value, dict):
        value = value.get("bytes")
    if value is None or value == "":
        return None
    if isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise Rejected(Reason.CORRUPT, "the cell is no base64") from None
    if not isinstance(value, bytes):
        raise Rejected(Reason.NOT_AN_IMAGE, f"the cell holds {type(value).__name__}, not bytes")
    return value
