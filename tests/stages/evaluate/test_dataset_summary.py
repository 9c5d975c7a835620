import json

import numpy as np
import pytest

from sightline.core.errors import UserError
from sightline.datasets.audit_findings import FINDINGS
from sightline.stages.evaluate.dataset_summary import (
    CorrectionGain,
    contact_cells,
    contact_rows,
    correction_gain,
    read_audit,
)
from sightline.stages.evaluate.results import SplitPredictions


def finding(unit="images", number=0, examples=()):
    return {unit: number, "examples": list(examples)}


@pytest.fixture
def raw(tmp_path):
    audit = {kind.name: finding(f"{kind.noun}s") for kind in FINDINGS}
    audit["near_duplicates"] = finding("groups", 2, [["a", "b", "c", "d"], ["e", "f"]])
    audit["dark"] = finding("images", 1, ["<b>dark</b>"])
    audit["two_splits"] = {"groups": 1, "near_groups": 1, "examples": [["x", "y"]], "near_examples": [["z", "w"]]}
    audit["two_splits"] |= {"source_groups": 1, "source_examples": ["film"]}
    size = {"min": 8, "median": 9, "max": 10}
    audit |= {"sizes": {"width": size, "height": {"min": 7, "median": 7, "max": 7}}, "formats": {"PNG": 3, "JPEG": 20}}
    audit |= {"modes": {"L": 23}}
    content = {"inputs": 25, "accepted": 23, "rejected": {"truncated": 2}, "audit": audit}
    (tmp_path / "ingest.json").write_text(json.dumps(content))
    return tmp_path


def test_the_audit_tells_what_was_found(raw):
    audit = read_audit(raw)
    assert (audit.inputs, audit.accepted, dict(audit.rejected)) == (25, 23, {"truncated": 2})
    found = {f.title: (f.count, f.examples) for f in audit.findings}
    assert found == {
        "groups of near duplicates": (2, ("a = b = c", "e = f")),
        "images suspiciously dark": (1, ("<b>dark</b>",)),
        "groups of duplicates, of near duplicates or of the source, in several splits of the source": (
            3,
            ("x = y", "z = w", "film"),
        ),
    }
    assert audit.looked_for == 10
    assert dict(audit.facts) == {
        "Width": "8 to 10 px, median 9",
        "Height": "7 px",
        "Formats": "JPEG (20), PNG (3)",
        "Pixels": "L",
    }


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"audit": 3}'])
def test_a_damaged_audit_is_one_line(raw, text):
    (raw / "ingest.json").write_text(text)
    with pytest.raises(UserError, match=r"ingest.json is damaged \(.*\): run the ingest stage again"):
        read_audit(raw)
    (raw / "ingest.json").unlink()
    with pytest.raises(UserError, match=r"ingest.json is missing: run the ingest stage"):
        read_audit(raw)


def test_the_gain_of_corrections_counts_the_answers_to_test_images_by_both_labels(tmp_path):
    answers = np.eye(2)[[0, 1, 1, 0]]
    test = SplitPredictions("test", ["a", "b", "c", "d"], np.array([0, 1, 0, 0]), answers, answers)
    assert correction_gain(tmp_path, test, ["cat", "dog"]) is None
    former = tmp_path / "former_labels.json"
    former.write_text(json.dumps({"a training image": "cat"}))
    assert correction_gain(tmp_path, test, ["cat", "dog"]) is None
    former.write_text(json.dumps({"b": "cat", "c": "dog", "d": "a class that is gone", "a training image": "cat"}))
    assert correction_gain(tmp_path, test, ["cat", "dog"]) == CorrectionGain(3, 2, 1, 0.75, 0.5)
    former.write_text("{")
    with pytest.raises(UserError, match=r"former_labels.json is damaged \(.*\): run the ingest stage again"):
        correction_gain(tmp_path, test, ["cat", "dog"])


def test_the_contact_sheet_starts_with_the_original_and_ends_with_what_the_model_sees(digits):
    split = digits.data.split("test")
    rows = contact_rows(digits.data, digits.raw, [split.ids[5], split.ids[0]])
    assert [row.id for row in rows] == [split.ids[5], split.ids[0]]
    assert rows[0].states[0][0] == "original"
    assert (rows[0].states[-1][1] == split.images([5])[0]).all()
    cells = contact_cells(rows[0])
    assert {cell["size"] for cell in cells} == {"8 \N{MULTIPLICATION SIGN} 8"}
    with pytest.raises(UserError, match="run the preprocess stage again"):
        contact_rows(digits.data, digits.raw, ["nobody"])
