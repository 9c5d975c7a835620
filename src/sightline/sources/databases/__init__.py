"""Databases as sources and as targets: the code that SQL and MongoDB share.

`sql.py` and `mongo.py` need their extras to be installed; this module does not.
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
    """Counts failures in a row before reading is given up, waiting longer after each: some 13 seconds in all."""

    def __init__(self) -> None:
        self._failures = 0

    @property
    def tried(self) -> bool:
        """Whether the last attempt failed."""
        return self._failures > 0

    def progress(self) -> None:
        """Resets the count, as something was read."""
        self._failures = 0

    def exhausted(self) -> bool:
        """Returns True if another attempt is pointless; otherwise waits and counts the failure."""
        if self._failures == len(_DELAYS):
            return True
        time.sleep(_DELAYS[self._failures])
        self._failures += 1
        return False


def as_text(value: Any) -> str | None:
    """Returns an id or a label as text, the same for every database.

    Bytes are decoded as UTF-8 or, if that fails, written in hexadecimal; a float with an integer value (JavaScript
    stores 7 as one) becomes an integer.
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

    The driver's exception itself must not be chained: its text, or its cause's, may quote the URL or a statement.
    """
    text = " ".join(mask(str(error), url.secrets()).split())
    return text if len(text) <= 300 else f"{text[:300]}..."
