"""Corrections laid over a source: by content, after the labels' map, and the source stays as it is."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from sightline.core import files
from sightline.core.errors import UserError
from sightline.datasets.corrections import Correction, CorrectionFile, ReviewDecision
from sightline.datasets.raw_set import ImageRecord
from sightline.stages.ingest.console import correction_lines
from sightline.stages.watch.fingerprint import source_fingerprint
from tests.stages.ingest.helpers import configuration, picture, run
from tests.stages.ingest.test_stage import Given

RECORDS = [ImageRecord(f"{label}{n}", picture(10 * n + ord(label)), label) for label in "ab" for n in range(3)]
BY_ID = {record.id: files.sha256(record.data) for record in RECORDS}


@pytest.fixture
def corrections(tmp_path: Path) -> CorrectionFile:
    return CorrectionFile(tmp_path / "corrections.csv")


def decide(file: CorrectionFile, identity: str, decision: ReviewDecision, new: str = "") -> None:
    file.append([Correction(BY_ID.get(identity, "f" * 64), decision, "", new)])


def test_labels_change_and_pictures_go_by_their_content(tmp_path: Path, corrections: CorrectionFile) -> None:
    decide(corrections, "a0", ReviewDecision.LABEL, "b")
    decide(corrections, "a1", ReviewDecision.REMOVE)
    decide(corrections, "b0", ReviewDecision.ACCEPT, "b")
    decide(corrections, "b1", ReviewDecision.NEW_CLASS, "c")
    decide(corrections, "b2", ReviewDecision.LABEL, "c")  # a class since the row above
    decide(corrections, "elsewhere", ReviewDecision.LABEL, "nothing here")
    copy = dataclasses.replace(RECORDS[0], id="copy of a0")
    result = run(Given(*RECORDS, copy), tmp_path / "raw", corrections=str(corrections.path), on_reject="fail")
    labels = {identity: image.label for identity, image in result.images.items()}
    assert labels == {"a0": "b", "copy of a0": "b", "a2": "a", "b0": "b", "b1": "c", "b2": "c"}
    assert result.rejected == {"a1": "removed"}
    former = json.loads((tmp_path / "raw/former_labels.json").read_bytes())
    assert former == {"a0": "a", "copy of a0": "a", "b1": "b", "b2": "b"}
    assert result.summary["corrections"] == {"relabelled": 4, "confirmed": 1, "unmatched": 1}
    assert correction_lines(result.summary) == [
        "corrections: 4 labels changed, 1 inputs removed, 1 confirmed; 1 match no image here"
    ]


def test_a_conflict_is_settled_and_an_unlabelled_picture_gets_its_label(
    tmp_path: Path, corrections: CorrectionFile
) -> None:
    other = dataclasses.replace(RECORDS[0], id="other", label="b")
    without = dataclasses.replace(RECORDS[1], label=None)
    records = [*RECORDS[2:], RECORDS[0], other, without]
    before = run(Given(*records), tmp_path / "before", conflicts="drop")
    assert before.rejected == {"a0": "conflict", "other": "conflict", "a1": "no_label"}
    decide(corrections, "a0", ReviewDecision.LABEL, "a")
    decide(corrections, "a1", ReviewDecision.LABEL, "a")
    after = run(Given(*records), tmp_path / "after", conflicts="drop", corrections=str(corrections.path))
    assert after.rejected == {}
    assert {after.images[identity].label for identity in ("a0", "other", "a1")} == {"a"}


def test_undone_is_as_never_decided(tmp_path: Path, corrections: CorrectionFile) -> None:
    before = run(Given(*RECORDS), tmp_path / "before")
    decide(corrections, "a0", ReviewDecision.LABEL, "b")
    decide(corrections, "a0", ReviewDecision.UNDO)
    after = run(Given(*RECORDS), tmp_path / "after", corrections=str(corrections.path))
    assert after.files == before.files


def test_a_label_that_is_no_class_is_one_line(tmp_path: Path, corrections: CorrectionFile) -> None:
    decide(corrections, "a0", ReviewDecision.LABEL, "aa")
    with pytest.raises(UserError, match=r"corrections\.csv, line 2: 'aa' is not a class of the source; .* new-class"):
        run(Given(*RECORDS), tmp_path / "raw", corrections=str(corrections.path))


def test_pictures_that_were_labelled_here_come_beside_any_source(tmp_path: Path) -> None:
    added = tmp_path / "labelled"
    files.write_bytes(added / "a" / "new.png", picture(99))
    result = run(Given(*RECORDS), tmp_path / "raw", additions=str(added))
    assert result.images["labelled/a/new.png"].label == "a"
    assert len(result.images) == 7


def test_the_fingerprint_changes_with_what_changes_the_set(tmp_path: Path, corrections: CorrectionFile) -> None:
    config = configuration(corrections=str(corrections.path), additions=str(tmp_path / "labelled"))
    without = source_fingerprint(config)
    assert set(without) == {"source", "fingerprint"}
    decide(corrections, "a0", ReviewDecision.ACCEPT, "a")
    assert source_fingerprint(config) == without
    decide(corrections, "a0", ReviewDecision.LABEL, "b")
    assert (corrected := source_fingerprint(config)) != without
    files.write_bytes(tmp_path / "labelled" / "a" / "new.png", picture(99))
    assert source_fingerprint(config)["corrections"] == corrected["corrections"]
    assert source_fingerprint(config) != corrected
