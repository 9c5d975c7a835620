"""The readers of zip and tar: folders, links, sizes at the limit, and what the system says of a damaged file."""

from __future__ import annotations

import contextlib
import errno
import gzip
import io
import os
import tarfile
import zipfile
from typing import Any

import pytest

from sightline.core.errors import UserError
from sightline.core.rejection import RejectionError, RejectionReason
from sightline.sources.archives.member import UnpackBudget
from sightline.sources.archives.tars import is_tar, read_tar
from sightline.sources.archives.zips import read_zip


def zipped(comment: bytes = b"") -> io.BytesIO:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("w/cat/", b"")
        file = zipfile.ZipInfo("w/1.png")
        file.external_attr = 0o100644 << 16  # as `zip` writes it
        archive.writestr(file, b"12345")
        link = zipfile.ZipInfo("w/link.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "1.png")
        archive.comment = comment
    return stream


def tarred() -> io.BytesIO:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, kind in (("./w/cat/", tarfile.DIRTYPE), ("w/soft", tarfile.SYMTYPE), ("w/hard", tarfile.LNKTYPE)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "w/1.png"
            archive.addfile(entry)
        entry = tarfile.TarInfo("w/1.png")
        entry.size = 5
        archive.addfile(entry, io.BytesIO(b"12345"))
    stream.seek(0)
    return stream


def reasons(read: Any, stream: io.BytesIO, most: int) -> tuple[dict[str, Any], set[str]]:
    found: dict[str, Any] = {}
    folders: set[str] = set()
    for member in read(stream, "a", most, UnpackBudget(3 * 2**20), folders):
        try:
            found[member.path] = member.read()
        except RejectionError as fault:
            found[member.path] = fault.reason
    return found, folders


@pytest.mark.parametrize("comment", [b"", b"made by hand"])
def test_a_zip(comment: bytes) -> None:
    found, folders = reasons(read_zip, zipped(comment), 5)
    assert found == {"w/1.png": b"12345", "w/link.png": RejectionReason.UNSAFE_ENTRY}
    assert folders == {"w/cat"}
    assert reasons(read_zip, zipped(comment), 4)[0]["w/1.png"] == RejectionReason.TOO_MANY_BYTES


def test_a_tar() -> None:
    found, folders = reasons(read_tar, tarred(), 5)
    unsafe = RejectionReason.UNSAFE_ENTRY
    assert found == {"w/soft": unsafe, "w/hard": unsafe, "w/1.png": b"12345"}
    assert folders == {"w/cat"}
    assert reasons(read_tar, tarred(), 4)[0]["w/1.png"] == RejectionReason.TOO_MANY_BYTES


def test_a_tar_is_known_by_its_start() -> None:
    start = tarred().read(512)
    assert [is_tar(start), is_tar(gzip.compress(start)), is_tar(zipped().getvalue()[:512])] == [True, True, False]


@pytest.mark.parametrize(("size", "message"), [(2**20, None), (2**20 + 1, "a name or header of 1,048,577 bytes")])
def test_the_longest_name_that_is_read_has_a_mebibyte(size: int, message: str | None) -> None:
    entry = tarfile.TarInfo("././@LongLink")
    entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, size
    name = (b"x/" * size)[:size].ljust(-(-size // 512) * 512, b"\0")
    stream = io.BytesIO(entry.tobuf(tarfile.GNU_FORMAT) + name + tarred().getvalue())
    with pytest.raises(UserError, match=message) if message else contextlib.nullcontext():
        reasons(read_tar, stream, 5)


def test_an_error_without_words_is_named_by_its_kind() -> None:
    class Ended(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise EOFError

    with pytest.raises(UserError, match="a: damaged, or not an archive: EOFError; "):
        reasons(read_tar, Ended(), 5)


def test_a_zip_of_more_files_than_its_old_directory_counts() -> None:
    stream = io.BytesIO()
    names = [f"{number}.png" for number in range(2**16 + 1)]
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), b"")
    assert [member.path for member in read_zip(stream, "a", 5, UnpackBudget(9), set())] == names


@pytest.mark.parametrize(
    ("number", "message"), [(errno.EINVAL, "its directory leads out of it;"), (errno.EIO, os.strerror(errno.EIO))]
)
def test_what_the_system_says_of_a_zips_directory(number: int, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(zipfile, "ZipFile", refusing)
    with pytest.raises(UserError, match=message) as error:
        reasons(read_zip, io.BytesIO(), 5)
    assert (number == errno.EINVAL) != (os.strerror(number) in str(error.value))


def test_a_backslash_beside_a_slash_is_of_the_name() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("w/back\\slash.png", b"1")
    assert list(reasons(read_zip, stream, 5)[0]) == ["w/back\\slash.png"]


@pytest.mark.parametrize(
    ("number", "error", "message"),
    [(errno.EINVAL, RejectionError, "it lies outside the file"), (errno.EIO, UserError, os.strerror(errno.EIO))],
)
def test_what_the_system_says_of_a_zip(
    number: int, error: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (member,) = (one for one in read_zip(zipped(), "a", 9, UnpackBudget(9), set()) if one.path == "w/1.png")

    def refusing(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(zipfile.ZipFile, "open", refusing)
    with pytest.raises(error, match=message):
        member.read()
