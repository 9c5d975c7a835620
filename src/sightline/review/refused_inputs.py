"""The content of inputs that ingestion rejected; since it is not in the raw set, the source is read again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sightline.core import files
from sightline.core.progress import track
from sightline.datasets.raw_set import ImageRecord, Rejection, read_rejected
from sightline.sources.base import Source

_REMOVED, _DROPPED = "removed", "dropped_label"
MOST = 1000
"""Maximum number of rejected inputs in the queue, not counting those that a review removed."""


@dataclass(frozen=True, slots=True)
class RefusedInput:
    """An input that ingestion rejected, and whose bytes the source can provide.

    Attributes:
        id: Its id.
        sha256: The digest of its bytes.
        reason: The reason, a value of `RejectionReason`.
        detail: Details, one line.
    """

    id: str
    sha256: str
    reason: str
    detail: str


def worth_a_look(raw: Path) -> list[Rejection]:
    """Returns the rejections that reviewers can act on: all removed by a review, then `MOST` of the others.

    Raises:
        UserError: If there is no raw set.
    """
    rejected = [each for each in read_rejected(raw) if each.reason != _DROPPED]
    return [each for each in rejected if each.reason == _REMOVED] + [
        each for each in rejected if each.reason != _REMOVED
    ][:MOST]


def fetch_refused(
    rejections: Iterable[Rejection], source: Source, folder: Path
) -> tuple[list[RefusedInput], Mapping[str, Path]]:
    """Copies the bytes of rejected inputs into a folder, with their digests as the file names.

    Inputs that the source itself cannot read are left out.

    Args:
        rejections: The rejected inputs.
        source: The source that they came from.
        folder: The folder for the copies.

    Returns:
        The inputs, and the files by digest.

    Raises:
        UserError: If the source cannot be reached.
    """
    refusals = {each.id: each for each in rejections}
    found: list[RefusedInput] = []
    places: dict[str, Path] = {}
    for record in track(source.records(), "reading rejected inputs") if refusals else ():
        if isinstance(record, ImageRecord) and record.id in refusals:
            sha256 = files.sha256(record.data)
            rejection = refusals[record.id]
            found.append(RefusedInput(record.id, sha256, str(rejection.reason), rejection.detail))
            places[sha256] = folder / sha256
            if not places[sha256].is_file():
                files.write_bytes(places[sha256], record.data)
    return found, places
