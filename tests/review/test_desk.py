"""Decisions: on disk when taken, taken back one after another, and the same after a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightline.core.errors import UserError
from sightline.datasets.corrections import CorrectionFile, ReviewDecision
from sightline.review.desk import ReviewDesk
from sightline.review.review_queue import Kind, ReviewItem

ITEMS = [ReviewItem(f"{n:064x}", f"p{n}", Kind.SUSPECT, "cat", "dog") for n in range(4)]
CLASSES = ["cat", "dog"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "corrections.csv"


def desk(path: Path) -> ReviewDesk:
    return ReviewDesk(ITEMS, CLASSES, CorrectionFile(path), "Ann")


def labels(path: Path) -> list[str | None]:
    there = desk(path)
    return [there.label(item) if there.decision(item.sha256) else None for item in ITEMS]


def test_a_restart_finds_every_decision_and_undoes_the_last_first(path: Path) -> None:
    one = desk(path)
    one.decide([ITEMS[0].sha256, ITEMS[1].sha256], ReviewDecision.LABEL, "dog")
    one.decide([ITEMS[0].sha256], ReviewDecision.REMOVE)
    one.decide([ITEMS[2].sha256], ReviewDecision.ACCEPT)
    assert labels(path) == ["", "dog", "cat", None]
    other = desk(path)
    assert [row.sha256 for row in other.undo()] == [ITEMS[2].sha256]
    assert labels(path) == ["", "dog", None, None]
    other.undo()
    assert labels(path) == ["dog", "dog", None, None]
    while desk(path).undo():
        pass
    assert labels(path) == [None] * 4


def test_many_at_once_are_undone_at_once(path: Path) -> None:
    one = desk(path)
    one.decide([item.sha256 for item in ITEMS], ReviewDecision.NONE)
    assert len(one.undo()) == 4
    assert labels(path) == [None] * 4


def test_a_name_that_is_no_class_is_refused_unless_it_is_said_to_be_new(path: Path) -> None:
    one = desk(path)
    with pytest.raises(UserError, match="'dgo' is not a class"):
        one.decide([ITEMS[0].sha256, ITEMS[1].sha256], ReviewDecision.LABEL, "dgo")
    assert not path.exists()
    one.decide([ITEMS[0].sha256], ReviewDecision.NEW_CLASS, "emu")
    one.decide([ITEMS[1].sha256], ReviewDecision.LABEL, "emu")
    assert desk(path).classes == ["cat", "dog", "emu"]


def test_accepting_a_corrected_label_keeps_it(path: Path) -> None:
    one = desk(path)
    one.decide([ITEMS[0].sha256], ReviewDecision.LABEL, "dog")
    one.decide([ITEMS[0].sha256], ReviewDecision.ACCEPT)
    assert labels(path)[0] == "dog"
    one.undo()
    assert labels(path)[0] == "dog"


def test_a_new_class_needs_no_row_of_its_own_that_still_holds(path: Path) -> None:
    one = desk(path)
    one.decide([ITEMS[0].sha256], ReviewDecision.NEW_CLASS, "emu")
    one.undo()
    assert one.classes == CLASSES
    one.decide([ITEMS[0].sha256], ReviewDecision.NEW_CLASS, "emu")
    one.decide([ITEMS[1].sha256], ReviewDecision.LABEL, "emu")
    one.decide([ITEMS[0].sha256], ReviewDecision.LABEL, "dog")
    rows = CorrectionFile(path).current()
    assert (str(rows[ITEMS[1].sha256].decision), rows[ITEMS[0].sha256].new) == ("new-class", "dog")


def test_two_reviewers_see_each_others_decisions_and_a_file_that_is_broken_takes_none(path: Path) -> None:
    ann, bob = desk(path), desk(path)
    ann.decide([ITEMS[0].sha256], ReviewDecision.REMOVE)
    bob.decide([ITEMS[1].sha256], ReviewDecision.LABEL, "dog")
    assert {row.sha256 for row in bob.rows()} == {ITEMS[0].sha256, ITEMS[1].sha256}
    whole = path.read_bytes()
    path.write_bytes(whole + b"<<<<<<< HEAD\n")
    with pytest.raises(UserError, match="line 4: a merge conflict"):
        ann.decide([ITEMS[2].sha256], ReviewDecision.REMOVE)
    assert path.read_bytes() == whole + b"<<<<<<< HEAD\n"
    path.write_bytes(whole)
    ann.undo()
    assert labels(path) == [None, "dog", None, None]
