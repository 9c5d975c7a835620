"""Remedies for rejected inputs: for each reason, the change that lets them in, or settles them."""

from __future__ import annotations

from sightline.core.rejection import RejectionReason as Reason

_AGAIN = "copy or download the file again, or delete it"
_UNDER = "under ingest: in params.yaml"

REMEDIES: dict[Reason, str] = {
    Reason.EMPTY: _AGAIN,
    Reason.TRUNCATED: _AGAIN,
    Reason.CORRUPT: _AGAIN,
    Reason.NOT_AN_IMAGE: "ignore it if it is not meant as an image; otherwise copy or download it again",
    Reason.FORMAT_NOT_ALLOWED: f"add its format to formats {_UNDER}",
    Reason.TOO_MANY_BYTES: f"raise max_bytes {_UNDER}",
    Reason.TOO_MANY_PIXELS: f"raise max_pixels {_UNDER}",
    Reason.TOO_MANY_FRAMES: f"first_frame: true {_UNDER} takes the first frame",
    Reason.OUT_OF_MEMORY: f"workers: 1 {_UNDER} decodes one image at a time",
    Reason.MISSING: "correct the path in the list, or add the file",
    Reason.UNREADABLE: "give yourself access to it, or copy it again",
    Reason.NO_LABEL: "move it to its class's folder, or add its label to the list",
    Reason.CONFLICT: f"delete the wrong copies, or keep them all with conflicts: keep {_UNDER}",
    Reason.BAD_SPLIT: "name train, val or test, or leave the split empty",
    Reason.DUPLICATE_ID: "give each image an id of its own",
    Reason.REMOVED: "sightline review undoes it",
}
"""For each reason, a short imperative; none where the details say it, or where the configuration asked for it."""


def remedy_of_reason(reason: str, before: str) -> str:
    """Returns the remedy for a reason as it stands in `rejected.parquet`, and `before` before it; nothing for none.

    >>> remedy_of_reason("too_many_pixels", "; "), remedy_of_reason("dropped_label", "; ")
    ('; raise max_pixels under ingest: in params.yaml', '')
    """
    words = REMEDIES.get(Reason(reason))
    return f"{before}{words}" if words else ""
