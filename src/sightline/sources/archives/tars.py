"""Tar archives, plain or compressed."""

from __future__ import annotations

import bz2
import contextlib
import functools
import gzip
import lzma
import os
import tarfile
import zlib
from collections.abc import Iterator
from typing import IO, Any, Protocol

from sightline.core.errors import UserError, how_to_install
from sightline.core.rejection import RejectionError, RejectionReason
from sightline.core.text import readable
from sightline.sources.archives.member import REMEDY, Member, UnpackBudget, rejected_member, safe_path

_GZIP, _BZIP2, _XZ = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0"
_ZSTD_SKIPPABLE = tuple(bytes([0x50 + number]) + b"\x2a\x4d\x18" for number in range(16))  # pzstd files begin with one
_ZSTD = (b"\x28\xb5\x2f\xfd", *_ZSTD_SKIPPABLE)
_COMPRESSED = (_GZIP, _BZIP2, _XZ, *_ZSTD)
_ZSTD_HEADER = 18  # maximum size of a frame header in bytes
_ZSTD_REPEATED = 1  # type of a block that is one byte repeated
_ENDS_EARLY = "the compressed data ends too early"
_BLOCK = 2**16
_XZ_MEMORY = 256 * 2**20
_MAX_HEADER = 2**20
_HEADERS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def is_tar(start: bytes) -> bool:
    """Returns whether a file with these first 512 bytes is a tar archive, or compressed as a tar archive may be."""
    if start.startswith(_COMPRESSED):
        return True
    try:
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def read_tar(stream: IO[bytes], name: str, max_bytes: int, budget: UnpackBudget, folders: set[str]) -> Iterator[Member]:
    """Yields the members in the archive's order, in a single pass; adds folder names to `folders`."""
    with _user_errors(name):
        unpacked = _MeteredStream(_unpacked(stream, name), name, budget)
        with tarfile.open(fileobj=unpacked, mode="r|", tarinfo=_Header) as archive:  # type: ignore[call-overload]
            for entry in archive:
                archive.members = []  # otherwise it keeps every header
                if entry.isdir():
                    folders.add(readable(entry.name).removeprefix("./").strip("/"))
                else:
                    yield _member(archive, entry, name, max_bytes)
            _require_nothing_more(archive)


def _require_nothing_more(archive: tarfile.TarFile) -> None:
    """Reads past the end marker: damage may look like one before further members, and gzip and xz verify checksums."""
    stream: Any = archive.fileobj
    while block := stream.read(_BLOCK):
        if block.count(0) != len(block):
            raise tarfile.ReadError("data follows its end marker")


@contextlib.contextmanager
def _user_errors(name: str) -> Iterator[None]:
    # A tar has no directory: nothing after damage can be found, so the whole archive is refused, not one member.
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError, _zstd_error()) as error:
        detail = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{name}: damaged, or not an archive: {detail}; {REMEDY.format('tar -xif')}") from None


def _member(archive: tarfile.TarFile, entry: tarfile.TarInfo, name: str, max_bytes: int) -> Member:
    path = readable(entry.name)
    try:
        path = safe_path(path)
    except RejectionError as fault:
        return rejected_member(path, fault.reason, fault.detail)
    if entry.issym() or entry.islnk():
        return rejected_member(path, RejectionReason.UNSAFE_ENTRY, "a link")
    if not entry.isreg():
        return rejected_member(path, RejectionReason.UNSAFE_ENTRY, "neither a file nor a folder")
    if entry.size > max_bytes:
        return rejected_member(
            path, RejectionReason.TOO_MANY_BYTES, f"{entry.size:,} bytes, at most {max_bytes:,} are allowed"
        )
    return Member(path, functools.partial(_read, archive, entry, name))


def _read(archive: tarfile.TarFile, entry: tarfile.TarInfo, name: str) -> bytes:
    with _user_errors(name):
        content = archive.extractfile(entry)
        if content is None:
            raise RejectionError(RejectionReason.UNSAFE_ENTRY, "no content")
        with content:
            return content.read()


class _Header(tarfile.TarInfo):
    """A member's header.

    tarfile treats a damaged, truncated or missing header as the archive's end unless it is the first: all later members
    would be lost silently. It also reads long names into memory whole, so their size is checked first.
    """

    @classmethod
    def frombuf(cls, *args: Any, **kwargs: Any) -> _Header:
        try:
            header = super().frombuf(*args, **kwargs)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # a block of zeros: the end marker
            raise
        except tarfile.EmptyHeaderError:  # type: ignore[attr-defined]
            raise tarfile.ReadError("its end marker is missing, as if it was cut off") from None
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"the header of a member: {error}") from None
        if header.size < 0:
            raise tarfile.ReadError("a member of negative size")
        if header.type in _HEADERS and header.size > _MAX_HEADER:
            raise tarfile.ReadError(f"a name or header of {header.size:,} bytes")
        return header


class _MeteredStream:
    """Counts unpacked bytes against the budget."""

    def __init__(self, stream: _Readable, name: str, budget: UnpackBudget) -> None:
        self._stream = stream
        self._name = name
        self._budget = budget

    def read(self, size: int) -> bytes:
        block = self._stream.read(size)
        if not self._budget.spend(len(block)):
            raise UserError(f"{self._name}: unpacks to too much data; {self._budget.remedy}")
        return block


def _unpacked(stream: IO[bytes], name: str) -> _Readable:
    start = stream.read(6)
    stream.seek(0)
    if start.startswith(_GZIP):
        return gzip.GzipFile(fileobj=stream)
    if start.startswith(_BZIP2):
        return bz2.BZ2File(stream)
    if start.startswith(_XZ):
        return _Xz(stream)
    if start.startswith(_ZSTD):
        try:
            import zstandard
        except ImportError:
            raise UserError(f"{name}: zstandard is not installed: {how_to_install('zstd')}") from None
        _require_whole_frames(stream)
        reader: _Readable = zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True)
        return reader
    return stream


def _require_whole_frames(stream: IO[bytes]) -> None:
    """Walks over the frames of a zstd file (RFC 8878, section 3.1), and seeks back to its beginning.

    zstandard's reader takes the end of the file as the end of the data even within a frame: a missing checksum would go
    unnoticed.

    Raises:
        EOFError: If the file ends within a frame.
        zstandard.ZstdError: If the file contains something that is not a frame.
    """
    import zstandard

    size = stream.seek(0, os.SEEK_END)
    at = 0
    while at < size:
        stream.seek(at)
        start = stream.read(_ZSTD_HEADER)
        if start.startswith(_ZSTD_SKIPPABLE):
            at += 8 + int.from_bytes(start[4:8], "little")
            continue
        if len(start) < 5:
            raise EOFError(_ENDS_EARLY)
        at += zstandard.frame_header_size(start)
        is_last = False
        while not is_last:
            stream.seek(at)
            block = int.from_bytes(stream.read(3).ljust(3, b"\0"), "little")
            is_last, kind, length = bool(block & 1), block >> 1 & 3, block >> 3
            at += 3 + (1 if kind == _ZSTD_REPEATED else length)
            if at > size:
                raise EOFError(_ENDS_EARLY)
        at += 4 if zstandard.get_frame_parameters(start).has_checksum else 0
    if at > size:
        raise EOFError(_ENDS_EARLY)
    stream.seek(0)


def _zstd_error() -> type[Exception]:
    try:
        import zstandard
    except ImportError:
        return EOFError
    return zstandard.ZstdError


class _Xz:
    """Unpacks xz with a memory limit, which lzma.open does not support: an archive may request 4 GiB."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._start()

    def _start(self) -> None:
        self._decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)

    def read(self, size: int) -> bytes:
        while True:
            data = b""
            if self._decompressor.eof:
                data = self._decompressor.unused_data.lstrip(b"\0") or self._stream.read(_BLOCK).lstrip(b"\0")
                if not data:
                    return b""
                self._start()
            elif self._decompressor.needs_input:
                data = self._stream.read(_BLOCK)
                if not data:
                    raise EOFError(_ENDS_EARLY)
            if block := self._decompressor.decompress(data, size):
                return block
