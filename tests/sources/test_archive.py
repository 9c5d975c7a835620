"""Images in archives, friendly and hostile."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from sightline.core.errors import UserError
from sightline.sources.archive import ArchiveSource
from sightline.sources.file import LocalFile
from sightline.sources.folder import FolderSource
from tests.stages.ingest.helpers import birds, picture, run, tree

Entry = tarfile.TarInfo | tuple[str, bytes]
Compress = Callable[[bytes], bytes]


def source(path: Path, entries: int = 10_000, ratio: int = 100, limit: int | None = None) -> ArchiveSource:
    return ArchiveSource(LocalFile(path), 2**20, entries, ratio, limit)


def zipped(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tarred(path: Path, members: list[Entry], compress: Compress = bytes) -> Path:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member, io.BytesIO(b"\0" * member.size))
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    path.write_bytes(compress(stream.getvalue()))
    return path


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, size
    return info


COMPRESSIONS: dict[str, Compress] = {
    "tar": bytes,
    "tar.gz": gzip.compress,
    "tar.xz": lzma.compress,
    "tar.zst": zstandard.compress,
}


@pytest.mark.parametrize("kind", ["zip", "stored zip", *COMPRESSIONS])
@pytest.mark.parametrize("wrapper", ["", "wrapped/", "./"])
def test_an_archive_gives_the_shards_of_its_folder(kind: str, wrapper: str, tmp_path: Path) -> None:
    files = {**birds(prefix="train/"), **birds(prefix="test/")}
    inside = {wrapper + name: data for name, data in reversed(files.items())}
    if kind in COMPRESSIONS:
        path = tarred(tmp_path / "no-ending", list(inside.items()), COMPRESSIONS[kind])
    else:
        path = zipped(tmp_path / "no-ending", inside, zipfile.ZIP_STORED if "stored" in kind else zipfile.ZIP_DEFLATED)
    folder = run(FolderSource(tree(tmp_path / "in", files), 2**20), tmp_path / "folder")
    assert run(source(path), tmp_path / "archive").files == folder.files


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/etc/owl/1.png", "unsafe_entry"),
        ("../owl/1.png", "unsafe_entry"),
        ("owl/../../1.png", "unsafe_entry"),
        ("owl\\..\\..\\1.png", "unsafe_entry"),
        ("C:/owl/1.png", "unsafe_entry"),
        ("c:\\owl\\1.png", "unsafe_entry"),
        ("\\\\host\\owl\\1.png", "unsafe_entry"),
    ],
)
def test_a_path_that_leads_out_is_refused_alone(name: str, reason: str, tmp_path: Path) -> None:
    z = run(source(zipped(tmp_path / "a.zip", {**birds(), name: picture(1)})), tmp_path / "1")
    t = run(source(tarred(tmp_path / "a.tar", [*birds().items(), (name, picture(1))])), tmp_path / "2")
    for result in (z, t):
        assert list(result.rejected.values()) == [reason]
        assert set(result.images) == set(birds())


def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path) -> None:
    members = [
        *birds().items(),
        entry("owl/sym.png", tarfile.SYMTYPE, "/etc/passwd"),
        entry("owl/hard.png", tarfile.LNKTYPE, "/etc/passwd"),
        entry("owl/fifo.png", tarfile.FIFOTYPE),
        entry("owl/dev.png", tarfile.CHRTYPE),
        entry("owl", tarfile.DIRTYPE),
    ]
    result = run(source(tarred(tmp_path / "a.tar", members)), tmp_path / "out")
    assert result.rejected == dict.fromkeys([f"owl/{n}.png" for n in ("sym", "hard", "fifo", "dev")], "unsafe_entry")


def test_the_shape_of_cve_2025_4517_writes_nothing(tmp_path: Path) -> None:
    deep = "/".join(["d" * 247] * 16)
    members = [
        *birds().items(),
        entry(deep + "/l", tarfile.SYMTYPE, "../" * 16),
        entry("escape", tarfile.SYMTYPE, deep + "/l/../../../../" + str(tmp_path).lstrip("/")),
        ("escape/owl/1.png", picture(5)),
    ]
    inside = tmp_path / "inside"
    inside.mkdir()
    before = set(tmp_path.rglob("*"))
    result = run(source(tarred(inside / "a.tar", members)), inside / "out")
    assert {p for p in tmp_path.rglob("*") if inside not in p.parents} == {*before}
    assert sorted(result.rejected.values()) == ["unsafe_entry", "unsafe_entry"]


def test_odd_entries_of_a_zip_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", birds())
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("owl/link.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr(zipfile.ZipInfo("owl/lzma.png"), picture(1), zipfile.ZIP_LZMA)
        archive.writestr(zipfile.ZipInfo("owl/secret.png"), picture(2))
        archive.writestr(zipfile.ZipInfo("owl/flipped.png"), picture(333))
        archive.writestr("owl/large.png", b"\0" * (2**20 + 1))
        archive.writestr("owl/folder/", b"")
    data = bytearray(path.read_bytes())
    central = data.rindex(b"owl/secret.png") - 46
    data[central + 8] |= 1  # encrypted, says the directory
    data[data.index(picture(333)[-30:]) + 5] ^= 1
    path.write_bytes(data)
    result = run(source(path), tmp_path / "out")
    assert result.rejected == {
        "owl/link.png": "unsafe_entry",
        "owl/lzma.png": "unreadable",
        "owl/secret.png": "unreadable",
        "owl/flipped.png": "corrupt",
        "owl/large.png": "too_many_bytes",
    }


def test_a_zip_that_lies_about_sizes_gives_no_more_than_it_says(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {**birds(), "owl/bomb.png": b"\0" * 2**24})
    data = bytearray(path.read_bytes())
    central = data.rindex(b"owl/bomb.png") - 46
    data[central + 24 : central + 28] = struct.pack("<I", 1000)
    path.write_bytes(data)
    assert run(source(path), tmp_path / "out").rejected == {"owl/bomb.png": "corrupt"}


def test_names_without_a_charset_are_read_as_utf8(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"XX/1.png": picture(1), "Y/2.png": picture(2)})
    path.write_bytes(path.read_bytes().replace(b"XX/", "é/".encode()))
    result = run(source(path), tmp_path / "out")
    assert "é" in result.summary["classes"]


def test_a_backslash_of_windows_is_a_slash(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"cat\\1.png": picture(1), "dog\\2.png": picture(2)})
    assert run(source(path), tmp_path / "out").summary["classes"] == {"cat": 1, "dog": 1}


def test_the_same_name_twice_is_one_image_and_one_row(tmp_path: Path) -> None:
    members = [*birds().items(), ("owl/1.png", picture(1)), ("owl/1.png", picture(2))]
    one = run(source(tarred(tmp_path / "1.tar", members)), tmp_path / "1")
    two = run(source(tarred(tmp_path / "2.tar", members[::-1])), tmp_path / "2")
    assert one.rejected == {"owl/1.png": "duplicate_id"}
    assert one.files == two.files


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress, zstandard.compress])
def test_a_bomb_ends_with_one_line(compress: Compress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sightline.sources.archive._FREE_BYTES", 2**22)
    path = tarred(tmp_path / "a", [*birds().items(), entry("owl/bomb.png", size=2**26)], compress)
    with pytest.raises(UserError, match=r"unpacks to too much data; raise ingest\.source\.max_ratio"):
        run(source(path, ratio=2), tmp_path / "out")


def test_many_small_bombs_in_a_zip_are_refused_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sightline.sources.archive._FREE_BYTES", 2**20)
    bombs = {f"owl/{n}.png": b"\0" * 900_000 for n in range(20)}
    result = run(source(zipped(tmp_path / "a.zip", {**birds(), **bombs}), ratio=2), tmp_path / "out")
    assert set(result.images) == set(birds())
    assert set(result.rejected) == set(bombs)
    assert "unsafe_entry" in result.rejected.values()


def test_a_name_of_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    header = entry("././@LongLink", tarfile.GNUTYPE_LONGNAME, size=2**30).tobuf(tarfile.GNU_FORMAT)
    good = tarred(tmp_path / "c.tar", list(birds().items())).read_bytes()
    end = len(good.rstrip(b"\0")) + 511 & ~511
    (tmp_path / "a.tar").write_bytes(good[:end] + header + b"\0" * 4096)
    with pytest.raises(UserError, match=r"a name or header of 1,073,741,824 bytes"):
        list(source(tmp_path / "a.tar").records())


def test_too_many_entries(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"more than 5 entries; raise ingest\.source\.max_entries"):
        list(source(zipped(tmp_path / "a.zip", birds()), entries=5).records())


@pytest.mark.parametrize("kind", ["zip", *COMPRESSIONS])
def test_a_damaged_archive_is_one_line(kind: str, tmp_path: Path) -> None:
    files = list(birds(each=30).items())
    path = tmp_path / "a"
    path = zipped(path, dict(files)) if kind == "zip" else tarred(path, files, COMPRESSIONS[kind])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match="a: "):
        list(source(path).records())


def test_what_is_no_archive_is_one_line(tmp_path: Path) -> None:
    for content in (b"", b"hello" * 1000, picture(1)):
        (tmp_path / "a.zip").write_bytes(content)
        with pytest.raises(UserError, match=r"a\.zip: "):
            run(source(tmp_path / "a.zip"), tmp_path / f"out-{len(content)}")
    with pytest.raises(UserError, match=r"ingest\.path: cannot read .*none\.zip"):
        source(tmp_path / "none.zip").fingerprint()


def test_a_limit_takes_the_sample_of_the_folder(tmp_path: Path) -> None:
    files = birds(5, 20)
    folder = [record.id for record in FolderSource(tree(tmp_path / "in", files), 2**20, limit=30).records()]
    for path in (zipped(tmp_path / "a.zip", files), tarred(tmp_path / "a.tar", list(files.items()))):
        assert sorted(record.id for record in source(path, limit=30).records()) == folder


def test_a_fingerprint_changes_with_the_archive(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", birds())
    before = source(path).fingerprint()
    os.utime(path, ns=(1, 1))
    assert source(path).fingerprint() == before
    assert source(zipped(path, birds(2))).fingerprint() != before
