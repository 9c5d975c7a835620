"""IDX files, the format of MNIST and its relatives (http://yann.lecun.com/exdb/mnist, "the IDX file format")."""

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

from sightline.config.schema import require
from sightline.core.errors import UserError, fault
from sightline.core.sampling import sample_filter
from sightline.core.text import is_litter
from sightline.datasets.raw_set import ImageRecord, Rejection
from sightline.imaging import png
from sightline.sources import content
from sightline.sources.base import SOURCES, Source, SourceConfig, SourceOption
from sightline.sources.content import NO_MEMORY, ContentMemory
from sightline.sources.layout import split_of

_UNSIGNED_BYTE = 8
_FILE = re.compile(r"(?P<stem>.+)[-._]idx(?P<dimensions>[134])([-._]ubyte)?(\.gz)?", re.IGNORECASE)
_ROLES = {
    "images",
    "image",
    "x",
    "data",
    "labels",
    "label",
    "y",
    "targets",
}  # words that distinguish the two files of a pair
_BLOCK = 2**20
_MAX_SIDE = 2**15


@dataclass(frozen=True)
class _Pair:
    prefix: str
    images: Path
    labels: Path

    @property
    def split(self) -> str | None:
        words = _words(self.prefix)
        return "test" if "t10k" in words else next(filter(None, map(split_of, words)), None)


@SOURCES.register("idx")
@dataclass
class IdxOption(SourceOption):
    """IDX files, the format of MNIST: `*-images-idx3-ubyte[.gz]` next to `*-labels-idx1-ubyte[.gz]`.

    Attributes:
        path: The folder. Files that begin with `train` form the split "train", those with `t10k` or `test` "test".
        class_names: Names of the classes in order of their number; empty to use the numbers as names.
    """

    path: str | None
    class_names: list[str]

    def __post_init__(self) -> None:
        require(self.path is not None, "path: has no value; set ingest.path to the folder of the IDX files")

    def open(self, config: SourceConfig) -> Source:
        return IdxSource(Path(self.path or ""), self.class_names, config.limit)


class IdxSource:
    """Images and their labels, in pairs of files, compressed or not.

    A file with `idx3` in its name (`idx4` for colour) contains images, one with `idx1` labels; the names of a pair are
    the same except for words like `images` and `labels`, `X` and `y`. They define splits if one of them is `train`.

    Args:
        root: The folder with the files.
        class_names: Names of the classes in order of their number; empty to use the numbers as names.
        limit: Maximum number of images, sampled evenly from each class; None for all.

    Attributes:
        notes: Human-readable notes on what was read; complete once all records have been read.
    """

    def __init__(self, root: Path, class_names: list[str], limit: int | None = None) -> None:
        self._root = root
        self._names = class_names
        self._limit = limit
        self.notes: list[str] = []

    def fingerprint(self, memory: ContentMemory = NO_MEMORY) -> dict[str, Any]:
        if content.is_here(self._root):
            self._pairs()
        return content.fingerprint(self._root, memory)

    def records(self) -> Iterator[ImageRecord | Rejection]:
        pairs = self._pairs()
        counts = [_checked_count(pair) for pair in pairs]  # checks all pairs before reading from any
        labelled = (
            (_id(pair, number), self._name(label))
            for pair, count in zip(pairs, counts, strict=True)
            for number, label in enumerate(_labels(pair, count))
        )
        self.notes = []
        is_chosen = sample_filter(labelled, self._limit, self.notes)
        has_splits = any(pair.split == "train" for pair in pairs)
        for pair in pairs:
            for number, (pixels, shape, label) in enumerate(_read(pair)):
                identity = _id(pair, number)
                if is_chosen(identity):
                    data = png.encode(pixels, *shape)
                    yield ImageRecord(identity, data, self._name(label), pair.split if has_splits else None)

    def _pairs(self) -> list[_Pair]:
        if not self._root.is_dir():
            remedy = content.how_to_get(self._root) or "name the one that holds the IDX files"
            raise UserError(f"ingest.path: {self._root} is not a folder; {remedy}")
        files: dict[str, tuple[str, Path, bool]] = {}
        for path in sorted(self._root.iterdir()):
            match = _FILE.fullmatch(path.name)
            name = path.name.removesuffix(".gz")
            if (
                match and path.is_file() and not is_litter(name) and name not in files
            ):  # in sorted order the uncompressed file comes first
                files[name] = match["stem"], path, match["dimensions"] == "1"
        images = [(stem, path) for stem, path, is_labels in files.values() if not is_labels]
        labels = [(stem, path) for stem, path, is_labels in files.values() if is_labels]
        if not images:
            raise UserError(f"ingest.path: {self._root} contains no *-images-idx3-ubyte or *-images-idx3-ubyte.gz")
        if len(images) == len(labels) == 1:
            return [_Pair(_prefix(images[0][0]), images[0][1], labels[0][1])]
        for stem, path in labels:
            _partner(stem, path, images, "images")
        return [_Pair(_prefix(stem), path, _partner(stem, path, labels, "labels")) for stem, path in images]

    def _name(self, label: int) -> str | None:
        if not self._names:
            return str(label)
        return self._names[label] if label < len(self._names) else None


def _id(pair: _Pair, number: int) -> str:
    return f"{pair.prefix}-{number:06}"


def _words(stem: str) -> list[str]:
    return re.split(r"[-._ ]+", stem.lower())


def _prefix(stem: str) -> str:
    return re.sub(r"[-._]images?$", "", stem)


def _partner(stem: str, path: Path, others: list[tuple[str, Path]], role: str) -> Path:
    """Returns the other file of a pair: the one whose name differs only in the words for its role."""
    key = [word for word in _words(stem) if word not in _ROLES]
    partners = [other for name, other in others if [word for word in _words(name) if word not in _ROLES] == key]
    if len(partners) == 1:
        return partners[0]
    if partners:
        raise UserError(
            f"ingest.path: {path} has several {role}: {', '.join(other.name for other in partners)}; leave one"
        )
    raise UserError(
        f"ingest.path: {path} has no {role} next to it: name the two like train-images-idx3-ubyte and "
        "train-labels-idx1-ubyte, compressed (.gz) or not"
    )


def _shapes(images: IO[bytes], labels: IO[bytes], pair: _Pair) -> tuple[int, tuple[int, int, int]]:
    """Reads the headers; returns the number of images and their (height, width, channels)."""
    count, *shape = _header(images, pair.images)
    (labelled, *rest) = _header(labels, pair.labels)
    if rest or labelled != count:
        raise UserError(
            f"{pair.labels}: holds {labelled:,} labels for {count:,} images of {pair.images}; fetch both again"
        )
    channels = shape[2] if len(shape) == 3 else 1
    if len(shape) not in (2, 3) or channels not in (1, 3) or not all(0 < side <= _MAX_SIDE for side in shape):
        raise UserError(f"{pair.images}: holds arrays of shape {shape}, not grey or RGB images")
    return count, (shape[0], shape[1], channels)


def _checked_count(pair: _Pair) -> int:
    """Returns the number of images in a pair, after checking that both files are as long as their headers say."""
    with _open(pair.images) as images, _open(pair.labels) as labels:
        count, shape = _shapes(images, labels, pair)
        for stream, path, size in ((images, pair.images, count * math.prod(shape)), (labels, pair.labels, count)):
            left = _size(stream, path, size)
            if left < size:
                raise UserError(f"{path}: ends before its last item, of {count:,} in its header; download it again")
            if left > size:
                raise UserError(f"{path}: continues after the {count:,} items of its header; download it again")
    return count


def _size(stream: IO[bytes], path: Path, most: int) -> int:
    """Returns the number of bytes left, or one above `most`; reading gzip to its end verifies the checksum."""
    if path.suffix != ".gz":
        return path.stat().st_size - stream.tell()
    size = 0
    while size <= most and (block := _some(stream, _BLOCK, path)):
        size += len(block)
    return size


def _read(pair: _Pair) -> Iterator[tuple[bytes, tuple[int, int, int], int]]:
    """Yields (pixels, (height, width, channels), label)."""
    with _open(pair.images) as images, _open(pair.labels) as labels:
        count, shape = _shapes(images, labels, pair)
        for label in _exactly(labels, count, pair.labels):
            yield _exactly(images, math.prod(shape), pair.images), shape, label


def _labels(pair: _Pair, count: int) -> bytes:
    with _open(pair.labels) as labels:
        _header(labels, pair.labels)
        return _exactly(labels, count, pair.labels)


def _header(stream: IO[bytes], path: Path) -> list[int]:
    zero, kind, dimensions = struct.unpack(">HBB", _exactly(stream, 4, path))
    if zero or kind != _UNSIGNED_BYTE or not 1 <= dimensions <= 4:
        raise UserError(f"{path}: not an IDX file of bytes")
    return list(struct.unpack(f">{dimensions}I", _exactly(stream, 4 * dimensions, path)))


def _exactly(stream: IO[bytes], size: int, path: Path) -> bytes:
    data = _some(stream, size, path)
    if len(data) < size:
        raise UserError(f"{path}: ends before its last item; download it again")
    return data


def _some(stream: IO[bytes], size: int, path: Path) -> bytes:
    try:
        return stream.read(size)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read: {error}; download it again") from None


def _open(path: Path) -> IO[bytes]:
    try:
        return gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]
    except OSError as error:
        raise fault(error) or UserError(f"{path}: {error.strerror}") from None
