"""The difference between two states of a dataset, image by image."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sightline.changes.revision import Revision

INDEX, CLASSES = "data/processed/index.parquet", "data/processed/classes.json"
REJECTED, NEAR = "data/raw/rejected.parquet", "data/raw/near.parquet"


@dataclass(frozen=True)
class LabelledImage:
    """An image of a dataset: its class name, its split, the SHA-256 of its file."""

    label: str
    split: str
    sha256: str


@dataclass(frozen=True)
class DatasetState:
    """A dataset as the stages wrote it.

    Attributes:
        images: The images by id, without augmented copies.
        rejected: Reasons of the rejected inputs, by id.
        near: Name of the near-duplicate group, by id.
    """

    images: Mapping[str, LabelledImage]
    rejected: Mapping[str, str] = field(default_factory=dict)
    near: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, revision: Revision) -> DatasetState:
        """Reads the state from the outputs of `ingest` and `preprocess`.

        Raises:
            UserError: If they are not available.
        """
        classes = json.loads(revision.require(CLASSES))["classes"]
        index = _table(revision.require(INDEX))
        columns = (index[name].to_pylist() for name in ("id", "origin", "label", "split", "sha256"))
        images = {
            id_: LabelledImage(classes[label], split, sha256)
            for id_, origin, label, split, sha256 in zip(*columns, strict=True)
            if id_ == origin
        }
        rejected, near = _table(revision.require(REJECTED)), _table(revision.require(NEAR))
        return cls(images, _pairs(rejected, "id", "reason"), _pairs(near, "id", "group"))


@dataclass(frozen=True)
class ClassCount:
    """Counts of the images of one class in one split."""

    label: str
    split: str
    before: int
    added: int
    removed: int
    after: int


@dataclass(frozen=True)
class DatasetDiff:
    """The images that differ between two states; sorted lists of ids.

    Attributes:
        before: The earlier state.
        after: The later one.
        added: Only in the later state, with bytes that the earlier one did not have.
        removed: Only in the earlier state, with bytes that the later one does not have.
        renamed: (old id, new id) of images that have a new id.
        relabelled: Images that have another class now.
        replaced: Images with other bytes under the same id.
        moved: Images that are in another split now.
        refused: Inputs that are rejected now and were not before.
        accepted: Inputs that were rejected before and are not now.
        near: Added images with a near duplicate.
    """

    before: DatasetState
    after: DatasetState
    added: list[str]
    removed: list[str]
    renamed: list[tuple[str, str]]
    relabelled: list[str]
    replaced: list[str]
    moved: list[str]
    refused: list[str]
    accepted: list[str]
    near: list[str]

    @property
    def empty(self) -> bool:
        """Whether nothing differs."""
        return not any(
            (
                self.added,
                self.removed,
                self.renamed,
                self.relabelled,
                self.replaced,
                self.moved,
                self.refused,
                self.accepted,
            )
        )

    def kinds(self) -> list[str]:
        """Returns a line for each kind of difference, with its count and first images; empty if there are none."""
        kinds = [
            ("added", self.added),
            ("removed", self.removed),
            ("relabelled", self.relabelled),
            ("with changed content", self.replaced),
            ("renamed", [new for _, new in self.renamed]),
            ("moved to another split", self.moved),
            ("newly rejected", self.refused),
            ("no longer rejected", self.accepted),
            ("added with a near duplicate", self.near),
        ]
        return [f"{len(ids):,} {kind} ({_examples(ids)})" for kind, ids in kinds if ids]

    def counts(self) -> list[ClassCount]:
        """Returns the counts of each class and split whose images differ.

        An image that changed class or split counts as removed from one and added to the other.
        """
        names = dict(self.renamed)
        old = {names.get(id_, id_): (image.label, image.split) for id_, image in self.before.images.items()}
        new = {id_: (image.label, image.split) for id_, image in self.after.images.items()}
        plus = Counter(place for id_, place in new.items() if old.get(id_) != place)
        minus = Counter(place for id_, place in old.items() if new.get(id_) != place)
        before, after = Counter(old.values()), Counter(new.values())
        return [ClassCount(*at, before[at], plus[at], minus[at], after[at]) for at in sorted({*plus, *minus})]


def compare_datasets(before: DatasetState, after: DatasetState) -> DatasetDiff:
    """Compares two states of a dataset."""
    old, new = before.images, after.images
    gone, come = sorted(old.keys() - new.keys()), sorted(new.keys() - old.keys())
    by_content: dict[str, list[str]] = {}
    for id_ in reversed(gone):
        by_content.setdefault(old[id_].sha256, []).append(id_)
    renamed = [(by_content[new[id_].sha256].pop(), id_) for id_ in come if by_content.get(new[id_].sha256)]
    renamed_from, renamed_to = {a for a, _ in renamed}, {b for _, b in renamed}
    both = [(id_, id_) for id_ in sorted(old.keys() & new.keys())] + renamed
    added = [id_ for id_ in come if id_ not in renamed_to]
    return DatasetDiff(
        before=before,
        after=after,
        added=added,
        removed=[id_ for id_ in gone if id_ not in renamed_from],
        renamed=renamed,
        relabelled=[b for a, b in both if old[a].label != new[b].label],
        replaced=[b for a, b in both if old[a].sha256 != new[b].sha256],
        moved=[b for a, b in both if old[a].split != new[b].split],
        refused=sorted(after.rejected.keys() - before.rejected.keys()),
        accepted=sorted(before.rejected.keys() - after.rejected.keys()),
        near=[id_ for id_ in added if id_ in after.near],
    )


def _examples(ids: Sequence[str]) -> str:
    return ", ".join(ids[:2]) + (", ..." if len(ids) > 2 else "")


def _table(content: bytes) -> Any:
    import pyarrow.parquet as pq

    with pq.ParquetFile(io.BytesIO(content)) as file:
        return file.read()


def _pairs(table: Any, key: str, value: str) -> dict[str, str]:
    return dict(zip(table[key].to_pylist(), table[value].to_pylist(), strict=True))
