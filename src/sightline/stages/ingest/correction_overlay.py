"""The overlay of corrections: decisions on individual images, which override the labels of the source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

from sightline.core import files
from sightline.core.errors import UserError
from sightline.core.rejection import RejectionError, RejectionReason
from sightline.datasets.corrections import Correction, CorrectionFile, ReviewDecision, current, new_classes


class CorrectionOverlay:
    """Applies a file of corrections to images by the digest of their content, for any source.

    Args:
        path: The file; None or a missing file corrects nothing.

    Attributes:
        former: By image id, the source's labels that were changed.

    Raises:
        UserError: If the file has an invalid row.
    """

    def __init__(self, path: Path | None) -> None:
        self._file = CorrectionFile(path) if path else None
        rows = self._file.rows() if self._file else []
        self._held, self._new = current(rows), new_classes(rows)
        self.former: dict[str, str] = {}
        self._met: set[str] = set()
        self._counts: Counter[str] = Counter()

    def label_of_unlabelled(self, data: bytes) -> str | None:
        """Returns the label from the corrections for an image that has none in the source; None if there is none."""
        if not self._held:
            return None
        row = self._held.get(files.sha256(data))
        return row.new if row is not None and row.changes and not row.removes else None

    def apply(self, sha256: str, label: str, identity: str) -> str:
        """Returns an image's corrected label.

        Args:
            sha256: Digest of its bytes.
            label: Its label in the source.
            identity: Its id.

        Raises:
            RejectionError: If a correction removes the image from the set.
        """
        row = self._held.get(sha256)
        if row is None:
            return label
        self._met.add(sha256)
        if row.removes:
            reason = "none of the classes" if row.decision is ReviewDecision.NONE else "removed"
            raise RejectionError(RejectionReason.REMOVED, f"{reason}, by {row.who or 'somebody'}")
        if not row.changes:
            self._counts["confirmed"] += 1
            return label
        if row.new != label:
            self.former[identity] = label
        self._counts["relabelled" if row.new != label else "confirmed"] += 1
        return row.new

    def require_classes(self, known: Collection[str]) -> None:
        """Refuses a corrected label that is not a class of the source, unless a row declares it as a new class.

        Args:
            known: The source's classes, after mapping by `ingest.labels`.

        Raises:
            UserError: With the line number and the remedy.
        """
        classes = {*known, *self._new}
        for sha256 in sorted(self._met):
            row = self._held[sha256]
            if self._file and row.decision is ReviewDecision.LABEL and row.new not in classes:
                line = self._file.lines()[sha256]
                raise UserError(
                    f"ingest.corrections: {self._file.path}, line {line}: {row.new!r} is not a class of the source; "
                    f"correct it, or write {ReviewDecision.NEW_CLASS} instead of {row.decision} if it is a new one"
                )

    def summary(self) -> dict[str, Any]:
        """Returns the numbers of relabelled and confirmed images and of unmatched corrections; {} without corrections.

        Removed images are counted as rejections. A removal that matches no image does not count as unmatched.
        """
        if not self._held:
            return {}
        unmatched = [row for row in self._held.values() if _needs_image(row) and row.sha256 not in self._met]
        return {name: self._counts[name] for name in ("relabelled", "confirmed")} | {"unmatched": len(unmatched)}


def _needs_image(row: Correction) -> bool:
    return row.changes and not row.removes
