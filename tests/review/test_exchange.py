"""Exchange with other tools: what is written reads back, and what a person filled in becomes decisions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sightline.core import files
from sightline.core.errors import UserError
from sightline.core.rejection import RejectionReason
from sightline.datasets import raw_set
from sightline.datasets.corrections import Correction, CorrectionFile, ReviewDecision
from sightline.datasets.raw_set import ImageRecord, Rejection
from sightline.review import exchange, review_queue
from sightline.review.desk import ReviewDesk
from sightline.review.review_project import open_project
from sightline.review.review_queue import Kind, ReviewItem
from sightline.sources.digits import DigitsSource
from tests.review.conftest import Reviewed

ITEMS = [ReviewItem(f"{n:064x}", f"p{n}", Kind.SUSPECT, "cat", "dog") for n in range(5)]


@pytest.fixture
def desk(tmp_path: Path) -> ReviewDesk:
    return ReviewDesk(ITEMS, ["cat", "dog"], CorrectionFile(tmp_path / "corrections.csv"), "Ann")


def answered(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "answered.json"
    path.write_text(json.dumps(content))
    return path


def task(number: int, *choices: str) -> dict[str, Any]:
    results = [{"result": [{"type": "choices", "value": {"choices": [choice]}}]} for choice in choices]
    return {"data": {"sha256": ITEMS[number].sha256}, "annotations": results}


def test_answers_of_label_studio(desk: ReviewDesk, tmp_path: Path) -> None:
    tasks = [task(0, "cat", "dog"), task(1, "none of these"), task(2, "emu"), task(3), task(4, "cat")]
    path = answered(tmp_path, [*tasks, {"data": {"sha256": "f" * 64}, "annotations": task(0, "dog")["annotations"]}])
    assert exchange.take(path, desk) == (4, 1)
    decisions = [desk.decision(item.sha256) for item in ITEMS]
    assert [each and (str(each.decision), each.new) for each in decisions] == [
        ("label", "dog"), ("none", ""), ("new-class", "emu"), None, ("accept", "cat"),
    ]  # fmt: skip
    assert exchange.take(path, desk) == (0, 5)  # again changes nothing


def test_answers_of_label_studio_in_short_and_of_coco(desk: ReviewDesk, tmp_path: Path) -> None:
    short = [{"sha256": ITEMS[0].sha256, "label": "dog", "annotation_id": 1}]
    assert exchange.take(answered(tmp_path, short), desk) == (1, 0)
    coco = {
        "images": [{"id": 7, "file_name": "p1", "sha256": ITEMS[1].sha256}],
        "categories": [{"id": 3, "name": "dog"}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 3}],
    }
    assert exchange.take(answered(tmp_path, coco), desk) == (1, 0)
    assert [desk.label(item) for item in ITEMS[:2]] == ["dog", "dog"]


@pytest.mark.parametrize("content", [{}, "x", [{"data": {}}], [{"data": {"sha256": 1}}], {"images": [{}]}])
def test_another_file_is_one_line(desk: ReviewDesk, tmp_path: Path, content: Any) -> None:
    with pytest.raises(UserError, match="neither Label Studio's JSON nor COCO's"):
        exchange.take(answered(tmp_path, content), desk)


def test_what_is_written_is_what_was_decided(reviewed: Reviewed, tmp_path: Path) -> None:
    project = open_project()
    removed, relabelled, *_ = [item for item in project.desk.items if item.kind is Kind.SUSPECT]
    project.desk.decide([removed.sha256], ReviewDecision.REMOVE)
    project.desk.decide([relabelled.sha256], ReviewDecision.LABEL, relabelled.suggestion)
    whole, coco = tmp_path / "tasks.json", tmp_path / "coco.json"
    assert exchange.write(whole, "label-studio", project) == len(project.desk.items)
    assert exchange.write(coco, "coco", project) == 2
    tasks = json.loads(whole.read_text())
    assert tasks[0]["data"]["image"].startswith("data:image/png;base64,")
    assert sum("annotations" in each for each in tasks) == 2
    for path in (whole, coco):
        other = ReviewDesk(project.desk.items, project.judged.classes, CorrectionFile(path.with_suffix(".csv")), "Bob")
        assert exchange.take(path, other) == (2, 0)
        assert other.decision(removed.sha256).decision is ReviewDecision.REMOVE
        assert other.label(relabelled) == relabelled.suggestion


def test_decisions_go_into_a_database(reviewed: Reviewed, tmp_path: Path) -> None:
    import sqlite3

    project = open_project()
    item = next(item for item in project.desk.items if item.kind is Kind.SUSPECT)
    project.desk.decide([item.sha256], ReviewDecision.LABEL, item.suggestion)
    project.ids[item.sha256].append("zz")  # a copy of it
    for _ in range(2):
        assert exchange.write_back(project, "labels", f"sqlite:///{tmp_path / 'x.db'}") == 2
    rows = (
        sqlite3.connect(tmp_path / "x.db").execute("SELECT id, model, label, reason FROM labels ORDER BY id").fetchall()
    )
    assert rows == [(identity, "review", item.suggestion, "label") for identity in (item.id, "zz")]


def test_every_decision_is_exported_once_the_pipeline_has_applied_it(
    reviewed: Reviewed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(review_queue, "MOST", 10)
    project = open_project(who="Ann")
    last = next(each for each in project.judged.sha256[: project.inside] if each not in project.desk.by_sha256)
    record = next(each for each in DigitsSource(None).records() if each.id == "digits-1502")
    assert isinstance(record, ImageRecord)
    removed = files.sha256(record.data)
    gone = Rejection("digits-1502", RejectionReason.REMOVED, "removed, by Ann")
    raw_set.write_rejected([gone], reviewed.root / "data/raw" / raw_set.REJECTED)
    rows = [Correction(last, ReviewDecision.ACCEPT, "1", "1"), Correction(removed, ReviewDecision.REMOVE)]
    CorrectionFile(Path("data/corrections.csv")).append(rows)
    project = open_project(who="Ann")
    assert len(project.desk.items) < 100
    assert exchange.write(tmp_path / "coco.json", "coco", project) == 2
    project.desk.undo()
    assert project.desk.decision(removed) is None
