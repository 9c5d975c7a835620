"""The layout of a tree of images: how a path gives the class and the split (the ImageFolder convention)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sightline.core.text import composed, listed
from sightline.sources.name_pattern import NO_PATTERNS, PathPatterns

IMAGE_SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff",
    ".ppm", ".pgm", ".pbm", ".pnm",
    ".heic", ".heif", ".hif", ".avif", ".jxl", ".jp2", ".svg", ".dcm", ".psd", ".dng", ".cr2", ".cr3", ".nef", ".arw",
})  # fmt: skip

_SPLITS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip

LAYOUTS = ("auto", "classes", "splits")
"""Ways to read a tree: detect it, or take its first folders as classes, or as splits."""

_GENERIC = frozenset({
    "set", "data", "dataset", "images", "image", "img", "imgs", "pictures", "photos", "seg", "split", "part", "folder",
})  # fmt: skip


def split_of(name: str) -> str | None:
    """Returns the split that `name` denotes, or None.

    >>> split_of("Validation"), split_of("cats")
    ('val', None)
    """
    return _SPLITS.get(name.lower())


def split_in(name: str) -> str | None:
    """Returns the split that a word of `name` denotes; None if there is none, or more than one.

    >>> split_in("training_set"), split_in("seg_test"), split_in("val2017"), split_in("train_or_test")
    ('train', 'test', 'val', None)
    """
    splits = {_SPLITS[word] for word in _words(name) if word in _SPLITS}
    return splits.pop() if len(splits) == 1 else None


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z]+", name.lower())


def is_called_split(name: str) -> bool:
    """Returns whether a name denotes only a split, as `training_set` does and `bullet_train` does not."""
    return split_in(name) is not None and all(word in _SPLITS or word in _GENERIC for word in _words(name))


@dataclass(frozen=True, slots=True)
class Place:
    """The class and split of a file, derived from its path.

    Attributes:
        id: The path without the wrapper folders, in Unicode normal form C.
        label: The class, in that form; None for a file that is not in a class's folder.
        split: "train", "val" or "test", or None.
        fault: The reason why there is no label.
        group: The group found by a pattern; images of one group stay in one split.
    """

    id: str
    label: str | None
    split: str | None = None
    fault: str = ""
    group: str | None = None


@dataclass(frozen=True, slots=True)
class SplitFolder:
    """A folder that is a split: the split's name, and the folders between it and its classes, if any."""

    name: str
    inner: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """The shape of a tree of images, `[wrapper/...][split/]class/**/image`.

    Attributes:
        wrapper: Folders above the splits or classes that contain all images, as archives and downloads often have.
        splits: The folders that are splits; empty if the next folder is the class.
        class_depth: Number of folders that form a class's name.
        twins: Folders that exist twice, under names that differ only in their Unicode form.
        patterns: Patterns that are applied to the whole path instead of using the folders.
    """

    wrapper: tuple[str, ...] = ()
    splits: Mapping[str, SplitFolder] = field(default_factory=dict)
    class_depth: int = 1
    twins: frozenset[str] = frozenset()
    patterns: PathPatterns = NO_PATTERNS

    def place(self, path: str) -> Place:
        """Returns the class and split of the file at `path`."""
        whole = composed(path)
        if self.twins and path.rpartition("/")[0] != (folder := whole.rpartition("/")[0]) and folder in self.twins:
            identity = path  # the twin folder may have a file with the same name
        else:
            identity = whole
        parts = tuple(whole.split("/"))
        depth = len(self.wrapper)
        if parts[:depth] != self.wrapper or len(parts) == depth:
            return Place(identity, None, fault=f"outside of {'/'.join(self.wrapper)}, which contains the classes")
        identity = identity.split("/", depth)[depth]
        *folders, _ = parts[depth:]
        if not self.splits:
            return self._placed(whole, identity, tuple(folders), None)
        if not folders or folders[0] not in self.splits:
            name = folders[0] if folders else "it"
            return Place(
                identity, None, fault=f"{name}, beside the splits {', '.join(sorted(self.splits))}, is left out"
            )
        split = self.splits[folders[0]]
        end = 1 + len(split.inner)
        inside = tuple(folders[1:end]) == split.inner
        return self._placed(whole, identity, tuple(folders[end:]) if inside else (), split.name)

    def _placed(self, path: str, identity: str, folders: tuple[str, ...], split: str | None) -> Place:
        asked = self.patterns
        if asked.split:
            split = asked.split.value(path)
            split = split and (split_in(split) or split)  # ingestion rejects a value that is not a split
        group = asked.group.value(path) if asked.group else None
        if asked.label:
            label = asked.label.value(path)
            return Place(identity, label, split, "" if label else "ingest.class_from is not found in its path", group)
        if len(folders) < self.class_depth:
            return Place(identity, None, split, "it is in no class's folder", group)
        return Place(identity, "/".join(folders[: self.class_depth]), split, group=group)

    def lost(self, folders: Iterable[str], words: str) -> list[str]:
        """Returns a note that names the classes of these folders and describes the folders; empty if there are none."""
        lost = [f"class {label!r} ({folder})" for folder in sorted(folders) if (label := self.class_of(folder))]
        return [f"no image of {listed(lost, str)}: the folder is {words}"] if lost else []

    def class_of(self, folder: str) -> str | None:
        """Returns the class whose top folder `folder` is, or None."""
        if self.patterns.label:
            return None
        inside, outside = self.place(f"{folder}/x").label, self.place(folder).label
        return inside if outside is None else None
