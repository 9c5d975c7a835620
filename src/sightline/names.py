"""Names of files as text that can be written."""

from __future__ import annotations


def readable(name: str) -> str:
    r"""Returns a file's name as text that can be written as UTF-8.

    Bytes that are no UTF-8 become `\xNN`; half a pair of surrogates, which JSON can hold, becomes `\udNNN`.
    """
    try:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        return name.encode("utf-8", "backslashreplace").decode()
