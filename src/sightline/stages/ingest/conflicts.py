"""Conflicts: images with two labels, and ids that occur more than once."""

from __future__ import annotations

import sqlite3
from typing import Any

from sightline.core.errors import UserError
from sightline.core.rejection import RejectionReason
from sightline.datasets.raw_set import Rejection
from sightline.stages.ingest.sorter import ImageSorter

_CONFLICTING = """
SELECT sha256 FROM image GROUP BY sha256 HAVING count(DISTINCT label) > 1
UNION SELECT claim.sha256 FROM claim JOIN image USING (sha256) WHERE claim.label <> image.label
UNION SELECT sha256 FROM claim GROUP BY sha256 HAVING count(DISTINCT label) > 1
ORDER BY sha256
"""


def resolve_conflicts(sorter: ImageSorter, conflicts: str) -> dict[str, Any]:
    """Rejects images with two labels, and all but one of the images that share an id.

    Args:
        sorter: All accepted images.
        conflicts: "drop" rejects every occurrence of an image with two labels; "keep" rejects it only where a single id
            has both labels, since an image has one class; "fail" ends the stage.

    Returns:
        JSON values: the number of `pictures` with two labels, and the `first` of them by id.

    Raises:
        UserError: If there is a conflict and `conflicts` is "fail".
    """
    db = sorter.db
    db.execute("CREATE INDEX by_content ON image (sha256)")
    db.execute("CREATE INDEX claim_by_content ON claim (sha256)")
    conflicting = sorted(_conflict(db, sha256) for (sha256,) in db.execute(_CONFLICTING).fetchall())
    first = conflicting[0][1] if conflicting else None
    if conflicting and conflicts == "fail":
        raise UserError(
            f"ingest.conflicts=fail: {len(conflicting):,} image(s) with two labels; the first: {first}; correct the "
            "labels, or set ingest.conflicts=drop"
        )
    for _, detail, sha256 in conflicting:
        for identity in sorted(_disputed(db, sha256, every=conflicts == "drop")):
            _reject(sorter, identity, sha256, detail)
    for (identity,) in db.execute("SELECT id FROM claim").fetchall():
        kept = db.execute("SELECT 1 FROM image WHERE id = ?", [identity]).fetchone()
        detail = "the id appears more than once" + ("; one was kept" if kept else "")
        sorter.reject(Rejection(identity, RejectionReason.DUPLICATE_ID, detail))
    return {"pictures": len(conflicting), "first": first}


def _conflict(db: sqlite3.Connection, sha256: str) -> tuple[str, str, str]:
    """Returns the smallest id with this content, a line that lists its labels, and the content's digest."""
    ids: dict[str, str] = {}
    for identity, label in _rows(db, sha256):
        ids[label] = min(identity, ids.get(label, identity))
    labels = " and ".join(f"{label!r} ({identity})" for label, identity in sorted(ids.items())[:4])
    return min(ids.values()), f"one image, labelled {labels}", sha256


def _rows(db: sqlite3.Connection, sha256: str) -> list[tuple[str, str]]:
    both = "SELECT id, label FROM image WHERE sha256 = ? UNION ALL SELECT id, label FROM claim WHERE sha256 = ?"
    return db.execute(both, [sha256, sha256]).fetchall()


def _disputed(db: sqlite3.Connection, sha256: str, every: bool) -> set[str]:
    """Returns the ids to reject for a content: all of its ids, or only those that have two labels for it."""
    labels: dict[str, set[str]] = {}
    for identity, label in _rows(db, sha256):
        labels.setdefault(identity, set()).add(label)
    return {identity for identity, has in labels.items() if every or len(has) > 1}


def _reject(sorter: ImageSorter, identity: str, sha256: str, detail: str) -> None:
    row = sorter.db.execute("SELECT rowid FROM image WHERE id = ? AND sha256 = ?", [identity, sha256]).fetchone()
    if row:
        sorter.db.execute("DELETE FROM image WHERE rowid = ?", row)
    claims = sorter.db.execute("DELETE FROM claim WHERE id = ? AND sha256 = ?", [identity, sha256]).rowcount
    for _ in range((row is not None) + claims):
        sorter.reject(Rejection(identity, RejectionReason.CONFLICT, detail))
