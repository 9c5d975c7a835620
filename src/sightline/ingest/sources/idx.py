"""IDX files, as MNIST and its relatives come in (http://yann.lecun.com/exdb/mnist, "the IDX file format")."""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from sightline.errors import UserError
from sightline.ingest import png, tree
from sightline.records import ImageRecord, Rejection
from sightline.sample import chosen

_UNSIGNED_BYTE = 8
_IMAGES = re.compile(r"(?P<prefix>.*)-images[-.]idx[34]-ubyte(\.gz)?")
_MAX_SIDE = 2**15


@dataclass(frozen=True)
class _Pair:
    prefix: str
    images: Path
    labels: Path

    @property
    def split(self) -> str | None:
        if "train" in self.prefix:
            return "train"
        return "test" if "t10k" in self.prefix or "test" in self.prefix else None


class IdxSource:
    """Images and their labels, in pairs of files, compressed or not.

    Args:
        root: The folder that holds them.
        class_names: Names in order of the class's number; empty to call them by number.
        limit: At most so many images, an even sample of all.
    """

    def __init__(self, root: Path, class_names: list[str], limit: int | None = None) -> None:
        self._root = root
        self._names = class_names
        self._limit = limit

    def fingerprint(self, deep: bool = False) -> dict[str, Any]:
        self._pairs()
        return tree.fingerprint(self._root, deep)

    def records(self) -> Iterator[ImageRecord | Rejection]:
        pairs = self._pairs()
        is_chosen = chosen((_id(pair, number) for pair in pairs for number in range(_count(pair))), self._limit)
        for pair in pairs:
            for number, (pixels, shape, label) in enumerate(_read(pair)):
                identity = _id(pair, number)
                if is_chosen(identity):
                    data = png.encode(pixels, *shape)
                    yield ImageRecord(identity, data, self._name(label), pair.split)

    def _pairs(self) -> list[_Pair]:
        if not self._root.is_dir():
            raise UserError(f"ingest.path: {self._root} is no folder; name the one that holds the IDX files")
        found: dict[str, _Pair] = {}
        for path in sorted(self._root.iterdir()):
            match = _IMAGES.fullmatch(path.name)
            if match is None or match["prefix"] in found:  # sorted, the file that is not compressed comes first
                continue
            stem = re.sub(r"-images([-.])idx[34]", r"-labels\1idx1", path.name.removesuffix(".gz"))
            labels = next((p for p in (path.with_name(stem), path.with_name(f"{stem}.gz")) if p.is_file()), None)
            if labels is None:
                raise UserError(f"ingest.path: {path} has no labels: {stem} or {stem}.gz is missing beside it")
            found[match["prefix"]] = _Pair(match["prefix"], path, labels)
        if not found:
            raise UserError(f"ingest.path: {self._root} holds no *-images-idx3-ubyte or *-images-idx3-ubyte.gz")
        return list(found.values())

    def _name(self, label: int) -> str | None:
        if not self._names:
            return str(label)
        return self._names[label] if label < len(self._names) else None


def _id(pair: _Pair, number: int) -> str:
    return f"{pair.prefix}-{number:06}"


def _count(pair: _Pair) -> int:
    with _open(pair.labels) as stream:
        return _header(stream, pair.labels)[0]


def _read(pair: _Pair) -> Iterator[tuple[bytes, tuple[int, int, int], int]]:
    """Yields (pixels, (height, width, channels), label)."""
    with _open(pair.images) as images, _open(pair.labels) as labels:
        count, *shape = _header(images, pair.images)
        (labelled, *rest) = _header(labels, pair.labels)
        if rest or labelled != count:
            raise UserError(f"{pair.labels}: holds {labelled:,} labels for {count:,} images")
        channels = shape[2] if len(shape) == 3 else 1
        if len(shape) not in (2, 3) or channels not in (1, 3) or not all(0 < side <= _MAX_SIDE for side in shape):
            raise UserError(f"{pair.images}: holds arrays of shape {shape}, not grey or RGB images")
        size = math.prod(shape)
        for label in _exactly(labels, count, pair.labels):
            yield _exactly(images, size, pair.images), (shape[0], shape[1], channels), label


def _header(stream: IO[bytes], path: Path) -> list[int]:
    zero, kind, dimensions = struct.unpack(">HBB", _exactly(stream, 4, path))
    if zero or kind != _UNSIGNED_BYTE or not 1 <= dimensions <= 4:
        raise UserError(f"{path}: no IDX file of bytes")
    return list(struct.unpack(f">{dimensions}I", _exactly(stream, 4 * dimensions, path)))


def _exactly(stream: IO[bytes], size: int, path: Path) -> bytes:
    try:
        data = stream.read(size)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    if len(data) < size:
        raise UserError(f"{path}: ends before its last item; fetch it again")
    return data


def _open(path: Path) -> IO[bytes]:
    try:
        return gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
