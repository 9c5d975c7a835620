"""Targets of fuzzing: each takes any bytes and may refuse them in one way, as `RejectionError` or `UserError`.

Anything else that a target raises, and memory or time beyond its limits, is a fault of ours.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from starlette.requests import Request

from sightline.core.errors import UserError
from sightline.core.rejection import RejectionError
from sightline.imaging.decode import decode
from sightline.imaging.image_file import Limits
from sightline.predict import manifest
from sightline.serve.config import ServeConfig
from sightline.serve.request_body import RequestError, request_images
from sightline.sources.archives import open_archive
from sightline.sources.archives.member import UnpackBudget
from sightline.sources.file import LocalFile
from sightline.sources.idx import IdxSource
from sightline.sources.table_rows import read_rows

LIMITS = Limits(max_pixels=2**20, max_bytes=2**20)
UNPACKED = 2**22
"""Bytes that one input may unpack to."""
FORM = "multipart/form-data; boundary=sightline"
_FOLDER = Path(tempfile.mkdtemp(prefix="sightline-fuzz-"))


def decoding(data: bytes) -> None:
    """An encoded image, in grey and in colours: refused alike, or decoded to the same size."""
    sizes = set()
    for channels in (1, 3):
        try:
            pixels = decode(data, channels, limits=LIMITS, sample_bits=None)
            assert pixels.dtype == np.uint8
            assert pixels.shape[2] == channels
            assert pixels.shape[0] * pixels.shape[1] <= LIMITS.max_pixels
            sizes.add(pixels.shape[:2])
        except RejectionError:
            sizes.add(())
    assert len(sizes) == 1


def archives(data: bytes) -> None:
    """A zip or a tar, compressed or not: every member is read or refused, and no path leads out."""
    budget = UnpackBudget(UNPACKED)
    unpacked = 0
    try:
        for member in open_archive(io.BytesIO(data), "fuzz", LIMITS.max_bytes, budget):
            try:
                unpacked += len(member.read())
            except RejectionError:
                continue
            assert ".." not in Path(member.path).parts
            assert not member.path.startswith("/")
    except UserError:
        pass
    assert unpacked <= UNPACKED


def idx(data: bytes) -> None:
    """A file of images in IDX, gzipped or not, beside one of labels."""
    folder = _folder("idx")
    end = ".gz" if data.startswith(b"\x1f\x8b") else ""
    (folder / f"train-images-idx3-ubyte{end}").write_bytes(data)
    (folder / "train-labels-idx1-ubyte").write_bytes(_idx((3,), bytes(3)))
    _refused_or_read(lambda: list(IdxSource(folder, []).records()))


def tables(data: bytes) -> None:
    """A table; its first byte tells which kind."""
    kinds = ("csv", "tsv", "jsonl", "parquet")
    if not data:
        return
    path = _folder("tables") / f"table.{kinds[data[0] % len(kinds)]}"
    path.write_bytes(data[1:])
    _refused_or_read(lambda: list(read_rows(LocalFile(path), {"path_column": "path", "label_column": "label"})))


def manifests(data: bytes) -> None:
    """The manifest of a bundle; and what it lists is never read outside of the bundle."""
    folder = _folder("bundle")
    (folder / manifest.MANIFEST).write_bytes(data)
    _refused_or_read(lambda: manifest.verify_files(folder))


def requests(data: bytes) -> None:
    """The body of a request: its first byte tells of which kind."""
    kinds = (FORM, "application/json", "image/png")
    if not data:
        return
    kind, body = kinds[data[0] % len(kinds)], data[1:]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", kind.encode())]
    request = Request({"type": "http", "method": "POST", "path": "/", "headers": headers, "query_string": b""}, receive)
    try:
        found = asyncio.run(request_images(request, _SERVER, lambda _: None))
        assert 1 <= len(found) <= _SERVER.max_images
        json.dumps([image.name for image in found]).encode()  # a name can be sent back
    except RequestError as error:
        assert 400 <= error.status < 500


_SERVER = ServeConfig()


def _refused_or_read(read: Callable[[], Any]) -> None:
    try:
        read()
    except (RejectionError, UserError) as error:
        assert "\n" not in str(error).strip(), f"more than one line: {error!r}"


def _folder(name: str) -> Path:
    folder = _FOLDER / name
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    return folder


# --- seeds -----------------------------------------------------------------------------------------------------------


def _pixels() -> np.ndarray:
    return np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)


def _pictures() -> Iterator[bytes]:
    image = Image.fromarray(_pixels())
    exif = Image.Exif()
    exif[0x0112] = 6
    for mode in ("RGB", "L", "P", "1", "RGBA", "LA", "CMYK", "I;16"):
        for form in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"):
            stream = io.BytesIO()
            picture = (
                Image.fromarray(_pixels()[..., 0].astype(np.uint16) * 255) if mode == "I;16" else image.convert(mode)
            )
            try:
                picture.save(stream, form, **({"exif": exif} if form in ("PNG", "JPEG", "WEBP") else {}))
            except (OSError, KeyError, ValueError):
                continue  # a form that has no such mode
            yield stream.getvalue()


def _archives() -> Iterator[bytes]:
    members = {"a/1.png": next(_pictures()), "b/2.txt": b"text", "../out.png": b"no"}
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", compression) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        yield stream.getvalue()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("x", b"a name that is cut to nothing")
    yield stream.getvalue().replace(b"x", b"\0")
    yield b"not a zip's start" + b"PK\6\7" + bytes(12) + (9).to_bytes(4, "little") + b"PK\5\6" + bytes(18)
    for mode in ("w", "w:gz", "w:bz2", "w:xz"):
        for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
            stream = io.BytesIO()
            with tarfile.open(fileobj=stream, mode=mode, format=form) as tar:
                for name, data in members.items():
                    entry = tarfile.TarInfo(name)
                    entry.size = len(data)
                    tar.addfile(entry, io.BytesIO(data))
            yield stream.getvalue()


def _idx(shape: tuple[int, ...], content: bytes) -> bytes:
    return bytes([0, 0, 8, len(shape)]) + b"".join(size.to_bytes(4, "big") for size in shape) + content


def _idx_files() -> Iterator[bytes]:
    for shape in ((3, 2, 2), (0, 2, 2), (2**31, 28, 28), (3, 65535, 65535)):
        data = _idx(shape, bytes(12))
        yield data
        yield gzip.compress(data)


def _tables() -> Iterator[bytes]:
    yield b'\x00path,label\na.png,cat\n"b,""c""",\xc3\xa4\n'
    yield b"\x01path\tlabel\na.png\tcat\n"
    yield b'\x02{"path": "a.png", "label": "cat"}\n{"path": null, "label": 7}\n'
    stream = io.BytesIO()
    pq.write_table(pa.table({"path": ["a.png", None], "label": ["cat", "dog"]}), stream)
    yield b"\x03" + stream.getvalue()


def _manifests() -> Iterator[bytes]:
    for name in (*("model.onnx", "calibration.json", manifest.TRANSFORM, manifest.CLASSES), "../x", "a\0b", "\ud800"):
        part = {name: {"bytes": 0, "sha256": "0" * 64}}
        yield json.dumps({"format": manifest.FORMAT, "files": part, "lineage": {}, "default": "fp32"}).encode()


def _requests() -> Iterator[bytes]:
    part = (
        b'--sightline\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\nx\r\n--sightline--\r\n'
    )
    yield b"\x00" + part
    yield b'\x01{"images": ["aGVsbG8=", {"name": "a.png", "data": "data:image/png;base64,aGVsbG8="}]}'
    yield b'\x01{"image": {"name": "\\ud800", "data": ""}}'
    yield b"\x02" + next(_pictures())


@dataclass(frozen=True)
class Target:
    """A target, and the inputs that its corpus begins with."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]


TARGETS = {
    "decoding": Target(decoding, _pictures),
    "archives": Target(archives, _archives),
    "idx": Target(idx, _idx_files),
    "tables": Target(tables, _tables),
    "manifests": Target(manifests, _manifests),
    "requests": Target(requests, _requests),
}
