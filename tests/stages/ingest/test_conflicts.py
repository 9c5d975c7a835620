"""The words of what two labels or one id twice cost an image."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sightline.core import files
from sightline.datasets import raw_set
from sightline.datasets.raw_set import ImageRecord
from tests.stages.ingest.helpers import picture, run
from tests.stages.ingest.test_stage import Given


def details(out: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in pq.read_table(out / raw_set.REJECTED).to_pylist():
        found.setdefault(row["id"], set()).add(row["detail"])
    return found


@pytest.mark.parametrize(
    ("others", "detail"),
    [
        ([], "the id appears more than once; one was kept"),
        ([("other", "b")], "the id appears more than once"),  # the one that would be kept has two labels
    ],
)
def test_an_id_twice_says_whether_one_was_kept(others: list[tuple[str, str]], detail: str, tmp_path: Path) -> None:
    first, second = sorted((picture(1), picture(2)), key=files.sha256)
    records = [ImageRecord("k", first, "a"), ImageRecord("k", second, "a"), ImageRecord("z", picture(3), "a")]
    result = run(
        Given(*records, *(ImageRecord(name, first, label) for name, label in others)),
        tmp_path / "out",
        conflicts="drop",
    )
    assert ("k" in result.images) == (not others)
    assert detail in details(tmp_path / "out")["k"]


def test_of_many_labels_of_a_picture_four_are_named(tmp_path: Path) -> None:
    records = [ImageRecord(f"{label}{n}", picture(1), label) for label in "edcba" for n in (2, 1)]
    run(Given(*records, ImageRecord("z", picture(3), "a")), tmp_path / "out", conflicts="drop")
    detail = "one image, labelled 'a' (a1) and 'b' (b1) and 'c' (c1) and 'd' (d1)"
    assert details(tmp_path / "out") == {record.id: {detail} for record in records}
