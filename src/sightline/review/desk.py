"""The state of a review: the queue, the decisions on it, and the files that a decision writes."""

from __future__ import annotations

import datetime
import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from sightline.core import files
from sightline.core.errors import UserError
from sightline.core.text import composed
from sightline.datasets.corrections import (
    Correction,
    CorrectionFile,
    FileState,
    ReviewDecision,
    current,
    new_classes,
    standing,
)
from sightline.review.review_queue import ReviewItem

_SAFE = re.compile(r"[^\w .+-]")
_SUFFIX = {
    b"\xff\xd8": ".jpg", b"\x89P": ".png", b"GI": ".gif", b"RI": ".webp", b"BM": ".bmp", b"II": ".tif", b"MM": ".tif",
}  # fmt: skip


class ReviewDesk:
    """Records decisions; each is on disk when the method returns.

    Args:
        items: The queue.
        classes: Names of the set's classes.
        corrections: The file of decisions.
        who: The reviewer's name.
        additions: The folder to which pictures that are not in the source are copied once they have a label.
        unlabelled: The files of those pictures, by digest.
    """

    def __init__(
        self,
        items: Sequence[ReviewItem],
        classes: Sequence[str],
        corrections: CorrectionFile,
        who: str,
        additions: Path | None = None,
        unlabelled: Mapping[str, Path] | None = None,
    ) -> None:
        self.items = list(items)
        self.by_sha256 = {item.sha256: item for item in items}
        self.file = corrections
        self._who = who
        self._additions = additions
        self._unlabelled = unlabelled or {}
        self._lock = threading.Lock()
        self._known = list(classes)
        self._state: FileState | None = None
        self._read()
        self._history = [[row] for row in standing(self._rows)]

    @property
    def classes(self) -> list[str]:
        """Names of the classes; those added by reviewers come last."""
        return self._classes

    def decision(self, sha256: str) -> Correction | None:
        """Returns the current decision on a picture; None if there is none."""
        return self._held.get(sha256)

    def rows(self) -> list[Correction]:
        """Returns the current decision on each picture that has one."""
        return list(self._held.values())

    def label(self, item: ReviewItem) -> str:
        """Returns a picture's current label; empty if it has none or was removed."""
        row = self._held.get(item.sha256)
        return item.label if row is None or not row.changes else row.new

    def decide(
        self, sha256s: Sequence[str], decision: ReviewDecision, label: str = "", reason: str = ""
    ) -> list[Correction]:
        """Records one decision on pictures, and returns its rows.

        Args:
            sha256s: The pictures, all in the queue.
            decision: Any except `UNDO`; accepting a picture without a label gives it the predicted class.
            label: The class, for `LABEL` and `NEW_CLASS`.
            reason: Free text; if empty, the item's kind is recorded.

        Raises:
            UserError: If a picture is not in the queue, or the label is not a class. Nothing is written then.
            OSError: If the decision cannot be written.
        """
        label = label if label in self._classes else composed(label.strip())
        with self._lock:
            self._read()
            rows = [self._row(sha256, decision, label, reason) for sha256 in dict.fromkeys(sha256s)]
            for row in rows:
                self._copy(row)
            self._append(rows)
            self._history.append(rows)
            for row in rows:
                self._remove_others(row)
            return rows

    def undo(self) -> list[Correction]:
        """Undoes the last decision, including those of earlier sessions, and restores the one before it.

        Returns:
            The rows that were undone; empty if there is nothing to undo.
        """
        with self._lock:
            self._read()
            if not self._history:
                return []
            rows = self._history[-1]
            undone = [self._stamped(row.sha256, ReviewDecision.UNDO, row.new, "", "undo") for row in rows]
            self._append(undone)
            self._history.pop()
            for row in undone:
                held = self._held.get(row.sha256, row)
                self._copy(held)
                self._remove_others(held)
            return rows

    def _row(self, sha256: str, decision: ReviewDecision, label: str, reason: str) -> Correction:
        item = self.by_sha256.get(sha256)
        if item is None:
            raise UserError(f"no image {sha256[:12]} is in the queue")
        old = self.label(item)
        if decision is ReviewDecision.ACCEPT:
            label = old or item.label
            if item.needs_label and (label or item.suggestion):
                decision, label = ReviewDecision.LABEL, label or item.suggestion
        elif decision in (ReviewDecision.LABEL, ReviewDecision.NEW_CLASS):
            if not label:
                raise UserError("name a class")
            if decision is ReviewDecision.LABEL and label not in self._classes:
                raise UserError(f"{label!r} is not a class yet; mark it as a new one")
            decision = ReviewDecision.LABEL if label in self._known else ReviewDecision.NEW_CLASS
        else:
            label = ""
        return self._stamped(sha256, decision, old, label, reason or str(item.kind))

    def _stamped(self, sha256: str, decision: ReviewDecision, old: str, new: str, reason: str) -> Correction:
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return Correction(sha256, decision, old, new, reason, now, self._who)

    def _read(self) -> None:
        """Reads the file again if it has changed, since another reviewer or an editor may also write to it.

        Raises:
            UserError: If a row is invalid.
        """
        state = self.file.state()
        if state != self._state:
            self._take(self.file.rows(), state)

    def _append(self, rows: list[Correction]) -> None:
        before, after = self.file.append(rows)
        if before == self._state:
            self._take([*self._rows, *rows], after)
        else:
            self._read()

    def _take(self, rows: list[Correction], state: FileState) -> None:
        self._rows, self._state, self._held = rows, state, current(rows)
        named = {*new_classes(rows), *(row.new for row in self._held.values() if row.new)}
        self._classes = [*self._known, *sorted(named - set(self._known))]

    def _copy(self, row: Correction) -> None:
        """Copies a picture that is not in the source into the folder of its class."""
        place = self._place_of(row)
        if place is not None and not place.is_file():
            files.write_bytes(place, self._unlabelled[row.sha256].read_bytes())

    def _remove_others(self, row: Correction) -> None:
        """Removes a picture that is not in the source from the folders of other classes."""
        if self._additions is None or row.sha256 not in self._unlabelled:
            return
        for copy in self._additions.glob(f"*/{row.sha256}.*"):
            if copy != self._place_of(row):
                copy.unlink()
                if not any(copy.parent.iterdir()):
                    copy.parent.rmdir()

    def _place_of(self, row: Correction) -> Path | None:
        source = self._unlabelled.get(row.sha256)
        if source is None or self._additions is None or not row.new or row.removes:
            return None
        if row.decision is ReviewDecision.UNDO:
            return None
        with source.open("rb") as stream:
            suffix = _SUFFIX.get(stream.read(2), ".img")
        return self._additions / (_SAFE.sub("_", row.new).strip(". ") or "_") / f"{row.sha256}{suffix}"
