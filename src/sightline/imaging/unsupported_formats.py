"""Unsupported file formats, recognized by their first bytes, each with a remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sightline.core.rejection import RejectionError, RejectionReason

_START = 1024
_PLAIN_PNM = re.compile(rb"P[1-6]\s+(\d|#)")  # an image as text
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_SVG = re.compile(rb"<svg[\s>]", re.IGNORECASE)
_HTML = re.compile(rb"\s*(<!doctype html|<html[\s>])", re.IGNORECASE)

_RAW = "a camera's raw file", "`darktable-cli FILE FILE.jpg`"
_JPEG_2000 = "JPEG 2000", "`opj_decompress -i FILE -o FILE.png`"
_SIGNATURES: tuple[tuple[int, bytes, tuple[str, str]], ...] = (
    (0, b"\xff\x0a", ("JPEG XL", "`djxl FILE FILE.png`")),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", ("JPEG XL", "`djxl FILE FILE.png`")),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", _JPEG_2000),
    (0, b"\xff\x4f\xff\x51", _JPEG_2000),
    (0, b"%PDF-", ("PDF", "`pdftoppm -png FILE FILE`")),
    (128, b"DICM", ("DICOM", "`dcmj2pnm --write-png FILE FILE.png`")),
    (0, b"8BPS", ("PSD", "`magick FILE[0] FILE.png`")),
    (8, b"CR\2", _RAW),
    (0, b"FUJIFILMCCD-RAW", _RAW),
    (0, b"IIRO", _RAW),
    (0, b"IIRS", _RAW),
    (0, b"MMOR", _RAW),
    (0, b"IIU\0", _RAW),
    (0, b"FOVb", _RAW),
    (0, b"\0MRM", _RAW),
    (6, b"HEAPCCDR", _RAW),
)
_ARCHIVES = (
    (0, b"PK\3\4"),
    (0, b"\x1f\x8b"),
    (0, b"BZh"),
    (0, b"\xfd7zXZ\0"),
    (0, b"\x28\xb5\x2f\xfd"),
    (0, b"7z\xbc\xaf\x27\x1c"),
    (0, b"Rar!\x1a\7"),
    (257, b"ustar"),
)
# The major brands of ISO base media files; a file of any other brand is a video.
_BRANDS = {
    **dict.fromkeys(
        (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"),
        ("HEIC", "`heif-convert FILE FILE.jpg`"),
    ),
    **dict.fromkeys((b"avif", b"avis"), ("AVIF", "`avifdec FILE FILE.png`")),
    b"crx ": _RAW,
}
_FILM = "a video", "`ffmpeg -i FILE FILE-%04d.png`"
# Files that stand in for images that have not been downloaded.
_POINTERS = (
    (b"version https://git-lfs.github.com/spec/", "Git LFS", "git lfs pull"),
    (b"/annex/objects/", "git-annex", "git annex get ."),
    (b"outs:\n- md5:", "DVC", "dvc pull"),
)
_DNG_VERSION, _NEW_SUBFILE_TYPE, _SUB_IFDS = 50706, 254, 330


def refusal(data: bytes) -> RejectionError | None:
    """Returns the rejection of a file that no decoder accepts, if its format is known.

    Args:
        data: The file.
    """
    start = data[:_START]
    if start[4:8] == b"ftyp":
        return unsupported(*_BRANDS.get(start[8:12], _FILM))
    for at, signature, (name, remedy) in _SIGNATURES:
        if start[at : at + len(signature)] == signature:
            return unsupported(name, remedy)
    if any(start[at : at + len(signature)] == signature for at, signature in _ARCHIVES):
        return RejectionError(RejectionReason.NOT_AN_IMAGE, "an archive among the images: unpack it")
    return _text_file(start) if _is_text(start) else None


def unsupported(name: str, remedy: str = "") -> RejectionError:
    """Returns the rejection of a format that cannot be read.

    Args:
        name: The format.
        remedy: A command that converts it, if one is known.
    """
    by = f", as {remedy} does" if remedy else ""
    return RejectionError(RejectionReason.UNSUPPORTED_FORMAT, f"{name}: convert it to JPEG or PNG{by}")


def require_no_preview(data: bytes, tags: Mapping[int, Any]) -> None:
    """Rejects a TIFF whose first image is only a preview of its content, as in cameras' raw files.

    Args:
        data: The file.
        tags: The tags of its first image.

    Raises:
        RejectionError: If it is such a file.
    """
    is_preview = tags.get(_NEW_SUBFILE_TYPE) == 1 and _SUB_IFDS in tags
    if data[8:11] == b"CR\2" or _DNG_VERSION in tags or is_preview:
        raise unsupported(*_RAW)


def _is_text(start: bytes) -> bool:
    try:
        text = start.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(start) - 3 or len(start) < _START:  # otherwise the end of `start` splits a character
            return False
        text = start[: error.start].decode("utf-8")
    return bool(text) and not _CONTROL.search(text) and not _PLAIN_PNM.match(start)


def _text_file(start: bytes) -> RejectionError:
    for signature, program, command in _POINTERS:
        if start.startswith(signature):
            return RejectionError(
                RejectionReason.NOT_AN_IMAGE, f"a {program} pointer, not the image itself: run `{command}`"
            )
    if _SVG.search(start):
        return unsupported("SVG", "`rsvg-convert FILE -o FILE.png`")
    if _HTML.match(start):
        return RejectionError(RejectionReason.NOT_AN_IMAGE, "an HTML page instead of an image: download it again")
    return RejectionError(RejectionReason.NOT_AN_IMAGE, "text")
