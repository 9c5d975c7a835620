"""Pictures of none of the classes: checked as the images are, and never one of these."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from sightline.core.errors import UserError
from sightline.datasets import raw_set
from sightline.sources.folder import FolderSource
from sightline.stages.ingest.unknown_ingest import LABEL, ingest_unknown
from sightline.stages.watch.fingerprint import source_fingerprint
from tests.stages.ingest.helpers import Ingested, birds, configuration, picture, run, tree

OTHERS = {"top.png": picture(900), "train/owl/deep/1.png": picture(901), "val/2.png": picture(902), "a.txt": b"text"}


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    return run(FolderSource(tree(tmp_path / "birds", birds()), 2**20), tmp_path / "raw").out


def ingested(labelled: Path, **knobs: Any) -> Ingested | None:
    out = labelled.parent / "raw_unknown"
    out.mkdir()
    summary = ingest_unknown(configuration(**knobs), labelled, out)
    return Ingested(out, summary) if summary else None


@pytest.mark.parametrize("archive", [False, True])
def test_every_picture_counts_wherever_it_lies(labelled: Path, tmp_path: Path, archive: bool) -> None:
    others = tree(tmp_path / "others", OTHERS)
    shutil.copy(next((tmp_path / "birds/Ente").rglob("*.png")), others / "twin.png")
    place = shutil.make_archive(str(others), "zip", others) if archive else str(others)
    result = ingested(labelled, unknown=place, limit=1, labels="no.yaml", min_per_class=99)
    assert result is not None
    assert sorted(result.images) == ["top.png", "train/owl/deep/1.png", "val/2.png"]
    assert {(image.label, image.split) for image in result.images.values()} == {(LABEL, None)}
    assert result.rejected == {"a.txt": "not_an_image", "twin.png": "conflict"}
    assert "the same image belongs to the class 'Ente'" in {r.detail for r in raw_set.read_rejected(result.out)}
    assert LABEL not in raw_set.read_classes(labelled / raw_set.CLASSES)


def test_without_any_there_is_an_empty_class_map(labelled: Path) -> None:
    """And no empty folder, of which DVC would warn in every run."""
    assert ingested(labelled) is None
    out = labelled.parent / "raw_unknown"
    assert [path.name for path in out.iterdir()] == [raw_set.CLASSES]
    assert raw_set.read_classes(out / raw_set.CLASSES) == []


def test_what_cannot_be_is_one_line(labelled: Path, tmp_path: Path) -> None:
    birds_folder = str(tmp_path / "birds")
    inside = str(tree(tmp_path / "birds/others", OTHERS))
    for knobs, match in (
        ({"unknown": "nowhere"}, r"^ingest.unknown: there is no nowhere; name a folder or an archive of images, or"),
        (
            {"unknown": inside, "path": birds_folder},
            r"^ingest.unknown: .* lies in ingest.path, whose folders are classes",
        ),
        (
            {"unknown": inside, "additions": birds_folder},
            r"^ingest.unknown: .* lies in ingest.additions, whose folders",
        ),
    ):
        with pytest.raises(UserError, match=match):
            source_fingerprint(configuration(**knobs))
    empty, text = tmp_path / "empty", tree(tmp_path / "text", {"a.txt": b"text"})
    empty.mkdir()
    (labelled.parent / "raw_unknown").mkdir()
    for place, match in (
        (
            empty,
            r"^ingest.unknown: there is nothing in .*empty \(hidden files are ignored\); set ingest.unknown to ",
        ),
        (text, r"^ingest.unknown: all 1 inputs were rejected \(1 not_an_image\); the first: a.txt: "),
        (text / "a.txt", r"a.txt: "),
    ):
        with pytest.raises(UserError, match=match):
            ingest_unknown(configuration(unknown=str(place)), labelled, labelled.parent / "raw_unknown")
    with pytest.raises(ValueError, match=r"^unknown: must be a folder or an archive on disk"):
        configuration(unknown="https://host/others.zip")


def test_the_fingerprint_has_them_where_there_are_some(tmp_path: Path) -> None:
    others = tree(tmp_path / "others", OTHERS)
    before = source_fingerprint(configuration(unknown=str(others)))
    (others / "top.png").write_bytes(picture(903))
    after = source_fingerprint(configuration(unknown=str(others)))
    assert before["fingerprint"] == after["fingerprint"]
    assert before["unknown"] != after["unknown"]
    assert "unknown" not in source_fingerprint(configuration())
