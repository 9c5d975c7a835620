"""What a path below the root says: the class, and the split where the tree has splits (the ImageFolder convention)."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

IMAGE_SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff",
    ".ppm", ".pgm", ".pbm", ".pnm",
})  # fmt: skip

_SPLITS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


def split_of(name: str) -> str | None:
    """Returns the split that `name` stands for, or None.

    >>> split_of("Validation"), split_of("cats")
    ('val', None)
    """
    return _SPLITS.get(name.lower())


@dataclass(frozen=True)
class Layout:
    """The shape of a tree of images, `[wrapper/][split/]class/**/image`.

    Attributes:
        depth: Folders above the split or the class: 1 where a single folder wraps all (as archives often have), or 0.
        splits: Whether the next folder is a split.
    """

    depth: int
    splits: bool

    @classmethod
    def of(cls, paths: Iterable[str]) -> Layout:
        """Finds the layout of a tree; memory holds its two topmost levels.

        Only visible files that are called as images count. A folder is a split where all its siblings are, so that a
        class called "train" among others stays a class.
        """
        first: dict[str, set[str]] = {}
        shallow = False
        for path in paths:
            parts = path.split("/")
            if not _counts(parts):
                continue
            shallow = shallow or len(parts) < 3
            first.setdefault(parts[0], set()).update(parts[1:2] if len(parts) > 2 else ())
        if len(first) == 1 and not shallow and not all(map(split_of, first)):
            (inside,) = first.values()
            return cls(depth=1, splits=all(map(split_of, inside)))
        return cls(depth=0, splits=bool(first) and all(map(split_of, first)))

    def place(self, path: str) -> tuple[str, str | None, str | None]:
        """Returns (id, label, split) of the file at `path`; the label is None for a file that is in no class's folder.

        The id is the path without the wrapping folder; the label is in Unicode's normal form C, since file systems and
        archives write one name in several ways.
        """
        parts = path.split("/")
        inner = parts[self.depth :] if len(parts) > self.depth else parts
        split = split_of(inner[0]) if self.splits and len(inner) > 1 else None
        folders = inner[1:-1] if self.splits else inner[:-1]
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in folders[:1])
        label = unicodedata.normalize("NFC", folders[0]) if folders and not hidden else None
        return "/".join(inner), label, split


def _counts(parts: list[str]) -> bool:
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return not hidden and len(parts) > 1 and PurePosixPath(parts[-1]).suffix.lower() in IMAGE_SUFFIXES
