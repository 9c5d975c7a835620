"""Archives give every member's bytes, or say that they are damaged: wherever one is cut, whatever bits flip."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.core.errors import UserError
from sightline.core.rejection import RejectionError
from sightline.sources.archives import UnpackBudget, open_archive

# Of two kinds, since what compresses well is packed otherwise; a member fills its blocks, and one is in a folder.
MEMBERS = {"a/1.png": b"\x89PNG" + bytes(range(256)) * 2, "a/ü/2.png": b"x" * 1024, "b/3.png": b"1", "b/4.png": b""}


def tarred(members: dict[str, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    data = stream.getvalue()
    return data[: -(-len(data.rstrip(b"\0")) // 512) * 512 + 1024]  # less than the padding that tar adds to a record


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return stream.getvalue()


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)  # as the program `zstd` does


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstd
}  # fmt: skip
ARCHIVES = {
    "tar": tarred(MEMBERS),
    "pax": tarred(MEMBERS, tarfile.PAX_FORMAT),
    **{kind: compress(tarred(MEMBERS)) for kind, compress in COMPRESSIONS.items()},
    "zip": zipped(MEMBERS),
    "stored zip": zipped(MEMBERS, zipfile.ZIP_STORED),
}


def read(data: bytes) -> Iterator[tuple[str, bytes | RejectionError]]:
    for member in open_archive(io.BytesIO(data), "a", 2**20, UnpackBudget(2**24)):
        try:
            yield member.path, member.read()
        except RejectionError as fault:
            yield member.path, fault


def holds_all_or_says(data: bytes) -> bool:
    """Says whether all members came, or what is missing or other was said; a zip's are never other than they were."""
    try:
        found = dict(read(data))
    except UserError as error:
        return "\n" not in str(error) and "download it again" in str(error)
    if not any(isinstance(content, RejectionError) for content in found.values()):
        return found == MEMBERS
    return all(isinstance(content, RejectionError) or MEMBERS.get(path) == content for path, content in found.items())


@pytest.mark.parametrize("kind", ARCHIVES)
def test_whole_archives_are_read_whole(kind: str) -> None:
    assert dict(read(ARCHIVES[kind])) == MEMBERS


@pytest.mark.parametrize("kind", ARCHIVES)
def test_an_archive_cut_anywhere_is_whole_or_says_so(kind: str) -> None:
    whole = ARCHIVES[kind]
    assert not [at for at in range(len(whole)) if not holds_all_or_says(whole[:at])]


@pytest.mark.parametrize("checksum", [True, False])
def test_a_zst_without_its_last_bytes_is_damaged(checksum: bool) -> None:
    compressor = zstandard.ZstdCompressor(write_checksum=checksum)
    tar = tarred(MEMBERS)
    skippable, last = (bytes([kind]) + b"\x2a\x4d\x18\x08\0\0\0" + bytes(8) for kind in (0x50, 0x5F))
    first = compressor.compress(tar[:700]) + compressor.compress(b"")
    frames = first + skippable + compressor.compress(tar[700:])  # as pzstd writes them
    for whole in (compressor.compress(tar), frames, skippable + frames, frames + last, last + frames):
        assert dict(read(whole)) == MEMBERS
        for missing in range(1, 9):
            with pytest.raises(UserError, match="damaged, or not an archive: the compressed data ends too early"):
                list(read(whole[:-missing]))
    for rest in range(1, 6):
        with pytest.raises(UserError, match="damaged, or not an archive: the compressed data ends too early"):
            list(read(first + compressor.compress(tar[700:])[:rest]))


@pytest.mark.parametrize("padding", [0, 4, None])
def test_streams_of_xz_may_follow_one_another(padding: int | None) -> None:
    """Padded with zeros between them; where they reach to the end of a block that is read, the next is still there."""
    tar = tarred(MEMBERS)
    first, second = lzma.compress(tar[:700]), lzma.compress(tar[700:])
    zeros = bytes(2**16 - len(first) if padding is None else padding)
    assert dict(read(first + zeros + second)) == MEMBERS
    with pytest.raises(UserError, match="ends too early"):
        list(read(first + zeros + second[:-1]))


@pytest.mark.parametrize(("size", "allowed"), [(31, True), (32, False)], ids=["192 MiB", "256 MiB"])
def test_xz_is_given_no_more_memory_than_the_limit(size: int, allowed: bool) -> None:
    data = bytearray(lzma.compress(tarred(MEMBERS)))
    header = data[12 : 12 + 4 * (data[12] + 1)]  # of the first block: its size, flags, the filter with its dictionary
    place = header.index(b"\x21\x01") + 2
    header[place] = size
    header[-4:] = zlib.crc32(header[:-4]).to_bytes(4, "little")
    data[12 : 12 + len(header)] = header
    if allowed:
        assert dict(read(bytes(data))) == MEMBERS
    else:
        with pytest.raises(UserError, match=r"[Mm]emory usage limit"):
            list(read(bytes(data)))


def headers() -> list[int]:
    """Returns the places of a plain tar that its digests cover: its headers and what follows the last member."""
    with tarfile.open(fileobj=io.BytesIO(ARCHIVES["tar"])) as archive:
        content = {at for member in archive for at in range(member.offset_data, member.offset_data + member.size)}
    return [at for at in range(len(ARCHIVES["tar"])) if at not in content]


@pytest.mark.parametrize("kind", [kind for kind in ARCHIVES if kind != "pax"])
@pytest.mark.parametrize("mask", [0x01, 0xFF])
def test_any_flipped_byte_is_said_or_of_no_account(kind: str, mask: int) -> None:
    whole = ARCHIVES[kind]
    lost = []
    for at in headers() if kind == "tar" else range(len(whole)):
        flipped = bytearray(whole)
        flipped[at] ^= mask
        if not holds_all_or_says(bytes(flipped)):
            lost.append(at)
    assert not lost


@pytest.mark.parametrize(
    ("start", "kind"), [(b"Rar!\x1a\x07\x01\0", "RAR"), (b"7z\xbc\xaf\x27\x1c", "7z"), (b"\x1f\x9d\x90", "compress")]
)
def test_an_archive_of_another_kind_is_named_with_its_program(start: bytes, kind: str) -> None:
    with pytest.raises(UserError, match=f"a: a file of {kind}, which is not supported: unpack it"):
        list(read(start + bytes(600)))


def test_members_behind_an_end_marker_are_said() -> None:
    blank = bytearray(ARCHIVES["tar"])
    second = blank.index("a/ü".encode())
    blank[second : second + 512] = bytes(512)
    for data in (bytes(blank), tarred({"a/1.png": b"1"}) + ARCHIVES["tar"]):
        with pytest.raises(UserError, match="data follows its end marker"):
            list(read(data))


def test_a_tar_without_an_end_marker_is_said_and_one_zero_block_will_do() -> None:
    whole = ARCHIVES["tar"]
    end = len(whole.rstrip(b"\0")) + 511 & ~511
    assert dict(read(whole[: end + 512])) == MEMBERS
    with pytest.raises(UserError, match="a: damaged, or not an archive: its end marker is missing"):
        list(read(whole[:end]))


def test_a_zip_within_an_archive_is_not_the_archive() -> None:
    inner = zipped({"other.png": b"2"}, zipfile.ZIP_STORED)
    assert dict(read(tarred({"a.png": b"1", "inner.zip": inner}))) == {"a.png": b"1", "inner.zip": inner}
    outer = zipped({"a.png": b"1", "inner.zip": inner, "c.png": bytes(100)}, zipfile.ZIP_STORED)
    end = outer.index(b"PK\3\4", outer.index(inner) + len(inner))
    with pytest.raises(UserError, match="its first file is missing in its directory"):
        list(read(outer[:end]))
    with pytest.raises(UserError, match="data follows its end"):
        list(read(outer[: end + 20]))


def test_a_zip_that_unpacks_itself_is_read() -> None:
    assert dict(read(b"MZ" + bytes(1000) + ARCHIVES["zip"])) == MEMBERS


def test_a_member_of_less_than_no_bytes_is_no_endless_loop() -> None:
    info = tarfile.TarInfo("a.png")
    info.size = -1024
    header = info.tobuf(tarfile.GNU_FORMAT)
    with pytest.raises(UserError, match="a member of negative size"):
        list(read(header + bytes(1024)))


def test_a_file_of_a_zip_that_is_called_as_a_folder_is_said() -> None:
    data = bytearray(zipped({"a.png": b"1", "b.png": b"2"}))
    data[data.rindex(b"a.png") + 4] = ord("/")  # in the directory alone
    assert isinstance(dict(read(bytes(data)))["a.pn"], RejectionError)
    both = bytes(data).replace(b"a.png", b"a.pn/")
    assert dict(read(both)) == {"a.pn": b"1", "b.png": b"2"}
    assert dict(read(zipped({"a/": b"", "a/b.png": b"2"}))) == {"a/b.png": b"2"}


@pytest.mark.parametrize("at", [12, 16])  # the directory's size, and its place
def test_a_zip_whose_directory_is_elsewhere_is_said_in_plain_words(at: int) -> None:
    data = bytearray(ARCHIVES["zip"])
    end = data.rindex(b"PK\5\6")
    for value in range(0, 2**16, 257):
        data[end + at : end + at + 2] = value.to_bytes(2, "little")
        messages = []
        try:
            messages = [str(content) for _, content in read(bytes(data)) if isinstance(content, RejectionError)]
        except UserError as error:
            messages = [str(error)]
        assert messages or bytes(data) == ARCHIVES["zip"]
        assert not [text for text in messages if "Invalid argument" in text or "Errno" in text]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([kind for kind in ARCHIVES if kind not in ("tar", "pax")]), st.data())
def test_flips_and_cuts_together(kind: str, data: st.DataObject) -> None:
    damaged = bytearray(ARCHIVES[kind])
    for at in data.draw(st.lists(st.integers(0, len(damaged) - 1), max_size=3)):
        damaged[at] ^= data.draw(st.integers(1, 255))
    assert holds_all_or_says(bytes(damaged[: data.draw(st.integers(0, len(damaged)))]))
