"""Images in folders."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from sightline.core.errors import UserError
from sightline.datasets.raw_set import Rejection
from sightline.sources.archive import ArchiveSource
from sightline.sources.file import LocalFile
from sightline.sources.folder import FolderOption, FolderSource
from tests.stages.ingest.helpers import birds, picture, run, shared_data, tree

MAX = 2**20


def test_every_image_has_the_class_of_its_folder(tmp_path: Path) -> None:
    files = birds()
    result = run(FolderSource(tree(tmp_path / "in", files), MAX), tmp_path / "out")
    assert {image.id: image.data for image in result.images.values()} == files
    assert {image.label for image in result.images.values()} == {"Ente", "ørn", "鷹"}
    assert result.summary["classes"] == {"Ente": 4, "ørn": 4, "鷹": 4}


def test_splits_are_respected(tmp_path: Path) -> None:
    files = {**birds(2, 2, "train/"), **birds(2, 1, "test/"), **birds(1, 1, "Validation/")}
    result = run(FolderSource(tree(tmp_path / "in", files), MAX), tmp_path / "out")
    assert {image.id: image.split for image in result.images.values()} == {
        name: {"t": name.split("/")[0], "V": "val"}[name[0]] for name in files
    }


def test_records_come_in_order_of_id(tmp_path: Path) -> None:
    names = ["b/1.png", "b.x/1.png", "b-x/1.png", "b/0/1.png", "B/1.png", "é/1.png", "b/1/2.png"]
    source = FolderSource(tree(tmp_path, dict.fromkeys(names, b"")), MAX)
    ids = [record.id for record in source.records()]
    assert ids == sorted(names)


def test_what_is_no_image_of_a_class_is_listed(tmp_path: Path) -> None:
    root = tree(
        tmp_path / "in",
        {
            **birds(),
            "README.md": b"# hello",
            "stray.png": picture(1),
            "owl/notes.txt": b"text",
            "owl/empty.png": b"",
            "owl/half.png": picture(2)[:-30],
            "owl/large.png": b"\x89PNG\r\n\x1a\n" + b"\0" * MAX,
            "owl/.DS_Store": b"\0\0\0\1Bud1" + b"\0" * 60,
        },
    )
    (root / "owl/out.png").symlink_to("/etc/hostname")
    (root / "owl/folder").symlink_to(root / "Ente")
    (root / "owl/broken.png").symlink_to("nowhere")
    (root / "owl/inside.png").symlink_to(root / "Ente/0 é.png")
    os.mkfifo(root / "owl/pipe.png")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "owl/s.png"))
        result = run(FolderSource(root, MAX), tmp_path / "out")
    assert result.rejected == {
        "README.md": "no_label",
        "stray.png": "no_label",
        "owl/notes.txt": "not_an_image",
        "owl/empty.png": "empty",
        "owl/half.png": "truncated",
        "owl/large.png": "too_many_bytes",
        "owl/out.png": "unsafe_entry",
        "owl/folder": "unsafe_entry",
        "owl/broken.png": "missing",
        "owl/pipe.png": "unreadable",
        "owl/s.png": "unreadable",
    }
    assert set(result.images) == {*birds(), "owl/inside.png"}


def test_names_that_are_no_utf8_are_ingested(tmp_path: Path) -> None:
    root = tree(tmp_path / "in", birds())
    try:
        (root / "owl").mkdir()
        Path(os.fsdecode(os.fsencode(root) + b"/owl/\xff\xfe.png")).write_bytes(picture(9))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    result = run(FolderSource(root, MAX), tmp_path / "out")
    assert result.images["owl/\\xff\\xfe.png"].data == picture(9)


def test_a_file_that_goes_while_reading_is_listed(tmp_path: Path) -> None:
    root = tree(tmp_path / "in", birds())
    stream = FolderSource(root, MAX).records()
    first = next(stream)
    gone = sorted(birds())[1]
    (root / gone).unlink()
    second = next(stream)
    assert first.id == sorted(birds())[0]
    assert isinstance(second, Rejection)
    assert (second.id, second.reason) == (gone, "missing")


def test_a_limit_takes_an_even_sample_that_is_stable(tmp_path: Path) -> None:
    root = tree(tmp_path / "in", birds(classes=5, each=40))
    some = [record.id for record in FolderSource(root, MAX, limit=50).records()]
    fewer = [record.id for record in FolderSource(root, MAX, limit=49).records()]
    assert len(some) == 50
    assert set(fewer) < set(some)
    assert some == sorted(some)
    assert len({name.split("/")[0] for name in some}) == 5


def test_a_fingerprint_changes_with_the_content_and_only_then(tmp_path: Path) -> None:
    root = tree(tmp_path / "in", birds())
    source = FolderSource(root, MAX)
    seen = [source.fingerprint()]
    name = next(iter(birds()))
    os.utime(root / name, ns=(1, 1))
    (root / "owl").mkdir()
    (root / "owl/.DS_Store").write_bytes(b"litter")
    assert source.fingerprint() == FolderSource(tree(tmp_path / "copy", birds()), MAX).fingerprint() == seen[0]
    status = (root / name).stat()
    (root / name).write_bytes((root / name).read_bytes()[:-1] + b"\0")  # same size, and the time is put back
    os.utime(root / name, ns=(status.st_atime_ns, status.st_mtime_ns))
    seen.append(source.fingerprint())
    (root / name).rename(root / "Ente/moved.png")
    seen.append(source.fingerprint())
    assert len({repr(one) for one in seen}) == len(seen)


def test_no_folder_is_one_line(tmp_path: Path) -> None:
    for call in ("fingerprint", "records"):
        with pytest.raises(UserError, match=r"ingest\.path: .*none is not a folder"):
            list(getattr(FolderSource(tmp_path / "none", MAX), call)())


def test_a_file_in_place_of_a_folder_and_the_reverse_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"a\.zip is a file; set ingest\.source=archive"):
        FolderSource(tmp_path / "a.zip", MAX).fingerprint()
    with pytest.raises(UserError, match=r"is a folder; set ingest\.source=folder to read it"):
        ArchiveSource(LocalFile(tmp_path), MAX, 10, 10).fingerprint()


def test_pictures_in_no_folder_are_one_line_with_the_remedy(tmp_path: Path) -> None:
    root = tree(tmp_path / "in", {f"{n}.png": picture(n) for n in range(3)})
    option = FolderOption("folder", str(root), None, "auto", 1)
    with pytest.raises(
        UserError, match=r"all 3 inputs were rejected \(3 no_label\).*put the images into a folder per class"
    ):
        run(FolderSource(root, MAX), tmp_path / "out", source=option)


@pytest.mark.slow
def test_photographs(tmp_path: Path) -> None:
    root = shared_data("sign-language-digits")
    result = run(FolderSource(root, 2**25), tmp_path / "out", workers=2)
    assert result.summary["accepted"] == 2062
    assert result.summary["rejected"] == {}
    assert sorted(result.summary["classes"]) == list("0123456789")
