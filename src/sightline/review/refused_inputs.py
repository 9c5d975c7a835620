"""The content of refused inputs: it is not in the raw set, so the source is read once more where there are any."""

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
"""Refused inputs that are looked at, at most, beside those that a review removed."""


@dataclass(frozen=True, slots=True)
class RefusedInput:
    """An input that ingestion refused and whose bytes the source gives.

    Attributes:
        id: Its id.
        sha256: Of its bytes.
        reason: Of the closed list.
        detail: One line.
    """

    id: str
    sha256: str
    reason: str
    detail: str


def worth_a_look(raw: Path) -> list[Rejection]:
    """Returns the rejections that a person can do something about, and those that a person has decided on.

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
    """Copies the bytes of refused inputs into a folder of the project's state, by digest.

    Inputs that the source itself cannot read have none.

    Args:
        rejections: The inputs that were refused.
        source: The source that they came from.
        folder: The copies' place.

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
