"""Digests of a database's content, with which `watch` notices changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from sightline.core.progress import track
from sightline.sources.databases import as_text


def set_digest(rows: Iterable[Iterable[Any]]) -> tuple[int, str]:
    """Returns the number of rows and an order-independent digest of them, 64 hexadecimal digits."""
    count = total = 0
    for row in track(rows, "watching"):
        text = json.dumps([as_text(value) for value in row], ensure_ascii=False)
        total += int.from_bytes(hashlib.sha256(text.encode(errors="surrogatepass")).digest(), "big")
        count += 1
    return count, f"{total % 2**256:064x}"
