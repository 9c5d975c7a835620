"""The readers of zip and tar: folders, links, sizes at the limit, and what the system says of a damaged file."""

from __future__ import annotations

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
        archive.writestr("w/1.png", b"12345")
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
    for member in read(stream, "a", most, UnpackBudget(100_000), folders):
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


@pytest.mark.parametrize(
    ("number", "error", "message"),
    [(errno.EINVAL, RejectionError, "its place is not in the file"), (errno.EIO, UserError, os.strerror(errno.EIO))],
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
