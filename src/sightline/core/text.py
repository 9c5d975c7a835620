"""Text utilities: normalized and printable names of files and classes, lists of names, readable sizes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any

from sightline.core.rejection import RejectionError, RejectionReason

# Control characters except tab and line feed, and invisible characters that change the text's direction or end a line.
_ORDERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_MARKUP = re.compile(r"[\\`*_{}\[\]<>|#&~$]|:(?=//)")
_LEFT_BEHIND = frozenset({
    "__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "$recycle.bin", "system volume information",
    "lost+found", "@eadir",
})  # fmt: skip


def readable(name: str) -> str:
    r"""Returns a file's name as text that can be encoded as UTF-8.

    Bytes that are not UTF-8 become `\xNN`; a lone surrogate, which JSON can contain, becomes `\udNNN`.
    """
    try:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        return name.encode("utf-8", "backslashreplace").decode()


def for_terminal(text: str) -> str:
    r"""Returns text with terminal control characters (colours, titles, directions) as `\uNNNN`, as in JSON.

    >>> print(for_terminal("cat\x1b[31m"))
    cat\u001b[31m
    """
    return _ORDERS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def for_markdown(text: object) -> str:
    r"""Returns text on one line, escaped so that Markdown, HTML within it, or a table row shows it literally.

    >>> print(for_markdown("<b> [x](y)"))
    \<b\> \[x\](y)
    """
    return _MARKUP.sub(r"\\\g<0>", " ".join(for_terminal(str(text)).split()))


def composed(name: str) -> str:
    r"""Returns a name in Unicode normal form C: file systems, archives and keyboards differ in the form they use.

    >>> composed("cafe\u0301") == "caf\u00e9"
    True
    """
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def one_label(cell: Any) -> Any:
    """Returns a label from a cell or field unchanged.

    Raises:
        RejectionError: If it holds several values: an image has one class, and a list would become its own class.
    """
    if isinstance(cell, list | tuple | set | dict):
        held = ", ".join(f"{value!r}" for value in list(cell)[:3]) + (", ..." if len(cell) > 3 else "")
        kind = "an object with" if isinstance(cell, dict) else "a list of"
        raise RejectionError(
            RejectionReason.BAD_LABEL, f"the label is {kind} {len(cell)} value(s) ({held}); an image has one class"
        )
    return cell


def label_of(cell: Any, as_text: Callable[[Any], str | None]) -> str | None:
    """Returns the label in a cell or field as text; None if there is none, or several."""
    try:
        return as_text(one_label(cell))
    except RejectionError:
        return None


def is_litter(path: str) -> bool:
    """Returns whether a path names a file left by an operating system or a program rather than a user's image.

    These are hidden files (a part of the path begins with a dot), files that macOS adds to archives, and files that
    Windows and network drives add to folders.

    Args:
        path: Relative to the folder or archive that the user named, with `/`.

    >>> [is_litter(path) for path in ("cat/._1.png", ".git/x", "cat/Thumbs.db", "./cat/../1.png")]
    [True, True, True, False]
    """
    return any(map(_is_left_behind, path.split("/"))) if "/" in path else _is_left_behind(path)


def _is_left_behind(name: str) -> bool:
    return (name.startswith(".") and name not in (".", "..")) or name.lower() in _LEFT_BEHIND


_DECIMAL = tuple((unit, 1000**power) for power, unit in ((4, "TB"), (3, "GB"), (2, "MB"), (1, "kB")))
_BINARY = tuple((unit, 1024**power) for power, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")))


def listed(names: Iterable[str], quote: Callable[[str], str] = repr) -> str:
    """Returns names separated by commas: the first five, and how many more there are.

    Args:
        names: The names, in the order to list them.
        quote: Formats a name; `str` leaves it as it is.
    """
    every = list(names)
    more = f" and {len(every) - 5:,} more" if len(every) > 5 else ""
    return ", ".join(map(quote, every[:5])) + more


def readable_size(size: int, binary: bool = False) -> str:
    """Returns a number of bytes in a suitable unit, with two or more significant digits.

    Args:
        size: Bytes.
        binary: Whether to use powers of 1024, as for a limit given in GiB.

    >>> readable_size(999), readable_size(12_345), readable_size(3_400_000), readable_size(120_000_000_000)
    ('999 B', '12 kB', '3.4 MB', '120 GB')
    >>> readable_size(1023, binary=True), readable_size(5 * 2**30, binary=True)
    ('1023 B', '5.0 GiB')
    """
    for unit, factor in _BINARY if binary else _DECIMAL:
        if size >= factor:
            value = size / factor
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{size} B"


def number_in(text: str) -> float | None:
    """Returns text as a number, or None if it is not one."""
    try:
        return float(text)
    except ValueError:
        return None
