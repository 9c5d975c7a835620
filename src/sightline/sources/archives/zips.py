"""Zip archives."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO

from sightline.core.errors import UserError
from sightline.core.rejection import RejectionError, RejectionReason
from sightline.sources.archives.member import REMEDY, Member, UnpackBudget, rejected_member, safe_path

_END = struct.Struct("<4s6xH10x")  # end of the directory: signature, number of entries
_ZIP64 = 0xFFFF  # stands for a larger number of entries: zipfile then checks the directory's size and position
_ENCRYPTED = 0x1
_UTF8 = 0x800
_METHODS = (
    zipfile.ZIP_STORED,
    zipfile.ZIP_DEFLATED,
)  # the others are rare, and LZMA uses as much memory as the entry requests


def read_zip(stream: IO[bytes], name: str, max_bytes: int, budget: UnpackBudget, folders: set[str]) -> Iterator[Member]:
    """Yields the members in the order of the directory; adds folder names to `folders`."""
    try:
        archive = zipfile.ZipFile(stream)
        if fault := _fault(archive, stream):
            raise zipfile.BadZipFile(fault)
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
        # The system reports a position before the start of the file as "Invalid argument".
        outside = isinstance(error, OSError) and error.errno == errno.EINVAL
        detail = "its directory leads out of it" if outside else " ".join(str(error).split())
        raise UserError(f"{name}: a damaged zip archive: {detail}; {REMEDY.format('unzip')}") from None
    with archive:
        for entry in archive.infolist():
            if not entry.filename.endswith("/") or not _is_folder(archive, entry):
                yield _member(archive, entry, max_bytes, budget)
            else:
                folders.add(_name(entry).strip("/"))


def _fault(archive: zipfile.ZipFile, stream: IO[bytes]) -> str | None:
    """Returns a fault that zipfile misses: a directory that is incomplete or belongs to another archive; else None."""
    entries = archive.infolist()
    stream.seek(-_END.size - len(archive.comment), os.SEEK_END)
    signature, count = _END.unpack(stream.read(_END.size))
    if signature != b"PK\5\6":
        return "data follows its end"
    if count not in (_ZIP64, len(entries) & 0xFFFF):
        return "its directory does not have as many entries as it states"
    stream.seek(0)
    if stream.read(4) == b"PK\3\4" and min((entry.header_offset for entry in entries), default=1):
        return "its first file is missing in its directory"
    return None


def _is_folder(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    """Returns whether an entry named like a folder is one: a flipped bit can make a file's name end with a slash."""
    try:
        with archive.open(entry) as unpacked:
            return not unpacked.read(1)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError):
        return False


def _member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, max_bytes: int, budget: UnpackBudget) -> Member:
    name = _name(entry)
    kind = stat.S_IFMT(entry.external_attr >> 16)
    try:
        path = safe_path(name)
    except RejectionError as fault:
        return rejected_member(name, fault.reason, fault.detail)
    if kind == stat.S_IFLNK:
        return rejected_member(path, RejectionReason.UNSAFE_ENTRY, "a symbolic link")
    if kind not in (0, stat.S_IFREG):
        return rejected_member(path, RejectionReason.UNSAFE_ENTRY, "neither a file nor a folder")
    if entry.flag_bits & _ENCRYPTED:
        return rejected_member(path, RejectionReason.UNREADABLE, "encrypted")
    if entry.compress_type not in _METHODS:
        return rejected_member(
            path, RejectionReason.UNREADABLE, f"compressed by method {entry.compress_type}; use deflate"
        )
    if entry.file_size > max_bytes:
        return rejected_member(
            path, RejectionReason.TOO_MANY_BYTES, f"{entry.file_size:,} bytes, at most {max_bytes:,} are allowed"
        )
    return Member(path, functools.partial(_read, archive, entry, budget))


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, budget: UnpackBudget) -> bytes:
    # zipfile unpacks no more than the checked size, and, in versions that can tell, refuses overlapping entries.
    if not budget.spend(entry.file_size):
        raise RejectionError(RejectionReason.UNSAFE_ENTRY, f"the archive unpacks to too much data; {budget.remedy}")
    try:
        with archive.open(entry) as unpacked:
            return unpacked.read()
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise RejectionError(RejectionReason.CORRUPT, "damaged in the archive: it lies outside the file") from None
        raise UserError(f"{archive.filename or 'the archive'}: {error.strerror or error}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise RejectionError(
            RejectionReason.CORRUPT, f"damaged in the archive: {' '.join(str(error).split())}"[:160]
        ) from None


def _name(entry: zipfile.ZipInfo) -> str:
    """Returns the name, decoded as UTF-8 if that is valid: many programs write UTF-8 without setting the flag."""
    name = entry.orig_filename
    if not entry.flag_bits & _UTF8:
        with contextlib.suppress(UnicodeError):  # keeps zip's default code page
            name = name.encode("cp437").decode("utf-8")
    return name if "/" in name or ".." in name else name.replace("\\", "/")
