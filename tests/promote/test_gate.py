"""The gate: what a change of the data or of the model is held back for, and what not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sightline.changes.revision import Revision
from sightline.datasets import predictions
from sightline.datasets.processed_set import INDEX_SCHEMA
from sightline.datasets.raw_set import Rejection, write_near, write_rejected
from sightline.promote.gate import objections
from tests.promote.conftest import POLICY

Rows = list[tuple[str, str, str, str]]
"""(id, class, split, digest) of each image."""


class State(Revision):
    """A state of a project in a folder of its own."""

    def __init__(self, root: Path) -> None:
        super().__init__(None)
        self.root, self.name = root, root.name

    def open(self, path: str) -> BinaryIO | None:
        file = self.root / path
        return file.open("rb") if file.is_file() else None


def rows(test: int = 60, train: int = 60, first: int = 0) -> Rows:
    """Images of the classes a and b in turn."""
    names = [("test", i) for i in range(first, first + test)] + [("train", i) for i in range(1000, 1000 + train)]
    return [(f"{i:04}", "ab"[i % 2], split, f"digest {i}") for split, i in names]


def state(root: Path, images: Rows, right: int = 55, rejected: int = 0, near: dict[str, str] | None = None) -> State:
    """Writes a state whose model answers the first `right` test images right."""
    processed, raw = root / "data" / "processed", root / "data" / "raw"
    for folder in (processed, raw, root / "reports"):
        folder.mkdir(parents=True)
    classes = sorted({label for _, label, _, _ in images})
    (processed / "classes.json").write_text(json.dumps({"classes": classes}))
    columns = {
        "id": [i for i, *_ in images],
        "label": [classes.index(label) for _, label, *_ in images],
        "split": [split for *_, split, _ in images],
        "shard": ["x"] * len(images),
        "row": list(range(len(images))),
        "origin": [i for i, *_ in images],
        "sha256": [digest for *_, digest in images],
    }
    pq.write_table(pa.table(columns, schema=INDEX_SCHEMA), processed / "index.parquet")
    write_rejected([Rejection(f"bad {i}", "corrupt") for i in range(rejected)], raw / "rejected.parquet")  # type: ignore[arg-type]
    write_near((near or {}).items(), raw / "near.parquet")
    summary = {"inputs": len(images) + rejected, "rejected": {"corrupt": rejected} if rejected else {}}
    (raw / "ingest.json").write_text(json.dumps(summary))
    test = [(i, classes.index(label)) for i, label, split, _ in images if split == "test"]
    labels = np.array([label for _, label in test])
    predicted = np.where(np.arange(len(test)) < right, labels, 1 - labels)
    names = [i for i, _ in test]
    predictions.save_predictions(
        root / "reports/predictions.parquet", names, labels, predicted, np.eye(2)[predicted], classes
    )
    return State(root)


def test_nothing_speaks_against_the_same_state_or_against_more_images(tmp_path: Path) -> None:
    before = state(tmp_path / "before", rows())
    assert objections(before, None, POLICY) == []
    assert objections(before, before, POLICY) == []
    assert objections(state(tmp_path / "more", rows(70, 90), right=63), before, POLICY) == []


def test_a_worse_model_is_held_back_and_noise_is_not(tmp_path: Path) -> None:
    before = state(tmp_path / "before", rows())
    assert objections(state(tmp_path / "noise", rows(), right=52), before, POLICY) == []
    (line,) = objections(state(tmp_path / "worse", rows(), right=40), before, POLICY)
    assert line.startswith("the accuracy on the 60 test images of both differs by \u221225.0 points")
    assert line.endswith("worse than before")


@pytest.mark.parametrize(("rejected", "count"), [(6, 0), (7, 1), (60, 1)])
def test_refused_inputs(tmp_path: Path, rejected: int, count: int) -> None:
    found = objections(state(tmp_path / "now", rows(), rejected=rejected), None, POLICY)
    assert len(found) == count
    assert all(f"{rejected} of {120 + rejected} inputs were rejected ({rejected} corrupt)" in line for line in found)


def test_test_images_that_were_trained_on(tmp_path: Path) -> None:
    images = rows()
    copied = [*images, ("copy", "a", "train", images[0][3])]
    (line,) = objections(state(tmp_path / "copied", copied), None, POLICY)
    assert line == "1 test images are also in another split, identical or nearly so (such as 0000)"
    near = {"0001": "group", "1001": "group", "0003": "other", "0005": "other"}
    (line,) = objections(state(tmp_path / "near", images, near=near), None, POLICY)
    assert "(such as 0001)" in line


def test_lost_images(tmp_path: Path) -> None:
    before = state(tmp_path / "before", rows(60, 60))
    images = rows(60, 60)
    fewer = [row for row in images if row[1] == "a" or int(row[0]) < 1040]
    (line,) = objections(state(tmp_path / "class", fewer), before, POLICY)
    assert line == "1 of 2 classes lost more of their images than promote.max_lost, 0.1: 'b' 60 -> 50"
    without = [row for row in images if row[1] == "a"]
    assert any("'b' 60 -> 0" in line for line in objections(state(tmp_path / "no", without), before, POLICY))
    other = objections(state(tmp_path / "exchanged", rows(60, 60, first=100)), before, POLICY)
    assert "60 of 60 test images are no longer there, more than promote.max_lost, 0.1" in other
    assert "no test image is the same as in before, so that the predictions cannot be compared" in other
