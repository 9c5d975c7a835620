"""The queue of a review as text for a terminal 80 columns wide."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from sightline.review.desk import ReviewDesk
from sightline.review.review_queue import WORDS, Kind, ReviewItem


def queue_lines(desk: ReviewDesk, limit: int, kind: Kind | None = None) -> Iterator[str]:
    """Yields the first pictures of the queue without a decision, and the number of such pictures of each kind.

    Args:
        desk: The queue and its decisions.
        limit: Maximum number of pictures of each kind.
        kind: Show only this kind; None shows all.
    """
    waiting = [item for item in desk.items if desk.decision(item.sha256) is None]
    counts = Counter(item.kind for item in waiting)
    decided = len(desk.items) - len(waiting)
    for each in Kind:
        if not counts[each] or (kind is not None and each is not kind):
            continue
        yield f"{each} ({WORDS[each]}): {counts[each]:,}"
        of_kind = [item for item in waiting if item.kind is each]
        yield from map(_line, of_kind[:limit])
        if len(of_kind) > limit:
            yield f"  ... {len(of_kind) - limit:,} more (--limit)"
    yield f"{len(waiting):,} images to review, {decided:,} decided in {desk.file.path}"


def _line(item: ReviewItem) -> str:
    label = item.label or "-"
    detail = f"{_cut(label, 14):<14} {item.split or '-':<5}  {item.detail}"
    return _cut(f"  {_cut(item.id, 26, keep_end=True):<26} {detail}", 80)


def _cut(text: str, width: int, keep_end: bool = False) -> str:
    text = re.sub(r"[\r\n]+", " ", text)  # a label may contain line breaks
    if len(text) <= width:
        return text
    return f"…{text[1 - width :]}" if keep_end else f"{text[: width - 1]}…"
