"""Encoded images in table cells, document fields and JSON: bytes, or text that represents bytes."""

from __future__ import annotations

import base64
import binascii
import re
import urllib.parse
from typing import Any

from sightline.core.rejection import RejectionError, RejectionReason

_DATA_URL = re.compile(r"\s*data:([^,]*),", re.IGNORECASE)
_URL_SAFE = str.maketrans("-_", "+/")


def image_bytes(value: Any) -> bytes | None:
    """Returns the encoded image in a cell; None if it is empty.

    Args:
        value: Bytes, text (see `from_text`), or an `Image` feature of Hugging Face's `datasets`.

    Raises:
        RejectionError: If the text does not represent bytes, or the cell holds something else.
    """
    if isinstance(value, dict):
        value = value.get("bytes")
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return from_text(value)
    if not isinstance(value, bytes | bytearray | memoryview):
        raise RejectionError(RejectionReason.NOT_AN_IMAGE, f"{type(value).__name__}, neither bytes nor base64 text")
    return bytes(value)


def from_text(text: str) -> bytes:
    r"""Returns the bytes that text represents: base64 in either alphabet, with or without line breaks, or a data URL.

    >>> from_text("iVBO\nRw==\n"), from_text("data:image/png;base64,iVBORw=="), from_text("data:,%89PNG")
    (b'\x89PNG', b'\x89PNG', b'\x89PNG')

    Raises:
        RejectionError: If it is neither.
    """
    if match := _DATA_URL.match(text):
        text = text[match.end() :]
        if not match[1].lower().rstrip().endswith(";base64"):
            return urllib.parse.unquote_to_bytes(text)
        text = urllib.parse.unquote(text)
    try:
        return base64.b64decode("".join(text.split()).translate(_URL_SAFE), validate=True)
    except (binascii.Error, ValueError):  # ValueError: characters outside ASCII
        raise RejectionError(RejectionReason.NOT_AN_IMAGE, "text that is not base64") from None
