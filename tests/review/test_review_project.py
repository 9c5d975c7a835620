"""A scripted reviewer of real digits with 3 % of wrong labels: from the queue to the rows of the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightline.core.errors import UserError
from sightline.datasets.corrections import CorrectionFile, ReviewDecision
from sightline.review import queue_lines
from sightline.review.review_project import open_project
from sightline.review.review_queue import Kind
from tests.exported import Project
from tests.review.conftest import FLIPPED, Reviewed


def test_a_reviewer_of_the_first_rows_finds_the_wrong_labels(reviewed: Reviewed) -> None:
    desk = open_project(who="Ann").desk
    assert [item.kind for item in desk.items[:1]] == [Kind.CONFLICT]
    doubted = [item for item in desk.items if item.sha256 in reviewed.truth]
    assert len(doubted) == len(reviewed.truth)
    for item in doubted[: round(1.5 * FLIPPED)]:
        right = reviewed.truth[item.sha256]
        decision = ReviewDecision.ACCEPT if right == item.label else ReviewDecision.LABEL
        desk.decide([item.sha256], decision, right)
    rows = CorrectionFile(Path("data/corrections.csv")).current()
    changed = {sha256 for sha256, row in rows.items() if row.changes}
    assert changed <= reviewed.wrong
    assert len(changed) >= 0.8 * FLIPPED
    assert all(rows[sha256].new == reviewed.truth[sha256] and rows[sha256].who == "Ann" for sha256 in changed)


def test_the_list_is_for_a_terminal(reviewed: Reviewed) -> None:
    desk = open_project().desk
    lines = list(queue_lines.queue_lines(desk, 3))
    assert all(len(line) <= 80 for line in lines)
    assert lines[0] == "conflict (two labels for one image): 1"
    assert lines[-1] == "902 images to review, 0 decided in data/corrections.csv"
    desk.decide([desk.items[0].sha256], ReviewDecision.REMOVE)
    assert list(queue_lines.queue_lines(desk, 3))[-1] == "901 images to review, 1 decided in data/corrections.csv"


def test_novel_is_what_the_bundle_says_is(reviewed: Reviewed) -> None:
    project = open_project()
    novelty = project.judged.novelty
    assert novelty is not None
    shown = [item for item in project.desk.items if item.kind is Kind.NOVEL]
    assert all(item.detail == f"novelty {-item.score:.2f}" and item.score < -1 for item in shown)
    elsewhere = {item.sha256 for item in project.desk.items if item.kind in (Kind.CONFLICT, Kind.SUSPECT, Kind.NEAR)}
    inside = zip(project.judged.sha256, novelty.tolist(), strict=False)
    assert {item.sha256 for item in shown} == {one for one, score in inside if score > 1} - elsewhere


def test_what_was_refused_is_shown_and_can_get_a_label(reviewed: Reviewed) -> None:
    project = open_project()
    by_kind = {item.kind: item for item in project.desk.items if item.sha256 not in reviewed.truth}
    assert (by_kind[Kind.REFUSED].id, by_kind[Kind.CONFLICT].id) == ("digits-1500", "digits-1501")
    item = by_kind[Kind.REFUSED]
    assert project.pictures.shown(item.sha256, 160)[1] == "image/png"
    [row] = project.desk.decide([item.sha256], ReviewDecision.ACCEPT)
    assert (row.decision, row.new) == (ReviewDecision.LABEL, item.suggestion)


def test_unlabelled_pictures_become_a_part_of_the_set(reviewed: Reviewed, exported: Project, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    for number, path in enumerate(exported.pictures[:6]):  # of the set already, but for a byte after the end
        (folder / path.name).write_bytes(path.read_bytes() + (b"\0" if number else b""))
    (folder / "notes.txt").write_text("no picture")
    desk = open_project(images=folder).desk
    assert {item.kind for item in desk.items} == {Kind.UNLABELLED}
    assert len(desk.items) == 5
    first, second, *_ = desk.items
    desk.decide([first.sha256], ReviewDecision.NEW_CLASS, "a/b: ten")
    desk.decide([second.sha256], ReviewDecision.ACCEPT)
    kept = sorted(str(path.relative_to("data/labelled")) for path in Path("data/labelled").rglob("*.png"))
    assert kept == sorted([f"a_b_ ten/{first.sha256}.png", f"{second.suggestion}/{second.sha256}.png"])
    desk.undo()
    assert [path.stem for path in Path("data/labelled").rglob("*.png")] == [first.sha256]
    assert [item.sha256 for item in open_project(images=folder).desk.items if desk.decision(item.sha256)] == [
        first.sha256
    ]


def test_before_there_is_a_model_the_remedy_is_named(project: Path) -> None:
    with pytest.raises(UserError, match="run the preprocess stage"):
        open_project()
