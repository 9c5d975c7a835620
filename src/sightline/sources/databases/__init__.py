"""Databases as sources and as targets: what SQL and MongoDB have in common.

`sql.py` and `mongo.py` need their extras installed; this module does not.
"""

from __future__ import annotations

import time
from typing import Any

from sightline.core.credentials import DATABASE_PASSWORD, DATABASE_URL, Url, mask
from sightline.core.errors import UserError

CONNECT_SECONDS = 5
"""Seconds to wait for a server that does not answer."""

_DELAYS = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4)


class RetryBudget:
    """Counts failures in a row to go on reading, and waits longer after each: in all some 13 seconds."""

    def __init__(self) -> None:
        self._failures = 0

    @property
    def tried(self) -> bool:
        """Whether the last attempt failed."""
        return self._failures > 0

    def progress(self) -> None:
        """Notes that something was read."""
        self._failures = 0

    def exhausted(self) -> bool:
        """Returns True if there is no point in trying again; otherwise waits, and counts the failure."""
        if self._failures == len(_DELAYS):
            return True
        time.sleep(_DELAYS[self._failures])
        self._failures += 1
        return False


def as_text(value: Any) -> str | None:
    """Returns an id or a label as text, the same from every database.

    Bytes are taken for UTF-8, or else written in hexadecimal; a whole floating-point number (which is how JavaScript
    stores 7) as a whole number.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        raw = bytes(value)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return raw.hex()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def unreachable_error(url: Url, error: Exception) -> UserError:
    """Returns the error for a database that cannot be reached or refuses the user: raise it `from None`."""
    return UserError(
        f"{url.family} at {url.address or url.path} cannot be reached ({driver_message(url, error)}): start it, or set "
        f"{url.setting} or {DATABASE_URL} (and {DATABASE_PASSWORD}) to the right one"
    )


def driver_message(url: Url, error: Exception) -> str:
    """Returns the driver's error message as one short line without credentials.

    The driver's exception itself must not travel on: its text, or its cause's, may quote the URL or a statement.
    """
    text = " ".join(mask(str(error), url.secrets()).split())
    return text if len(text) <= 300 else f"{text[:300]}..."
