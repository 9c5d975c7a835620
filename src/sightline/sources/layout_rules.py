"""The rules for detecting the layout of a tree of images, shared by folders, archives and URLs."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from sightline.core.errors import UserError
from sightline.core.text import composed, is_litter, listed
from sightline.sources.layout import IMAGE_SUFFIXES, Layout, SplitFolder, is_called_split, split_in, split_of
from sightline.sources.name_pattern import NO_PATTERNS, PathPatterns, PatternSurvey


class FolderNode:
    """A folder of a tree of images.

    Attributes:
        folders: Subfolders with images at any depth, by name in Unicode normal form C.
    """

    __slots__ = ("folders",)

    def __init__(self) -> None:
        self.folders: dict[str, FolderNode] = {}

    def chain(self) -> list[tuple[tuple[str, ...], FolderNode]]:
        """Returns this folder and the nested single subfolders below it, each with its path from here."""
        out: list[tuple[tuple[str, ...], FolderNode]] = [((), self)]
        while (only := out[-1][1].only()) and only[1].folders:
            out.append(((*out[-1][0], only[0]), only[1]))
        return out

    def only(self) -> tuple[str, FolderNode] | None:
        """Returns the only subfolder, with its name; None if there are several, or none."""
        return next(iter(self.folders.items())) if len(self.folders) == 1 else None


@dataclass(frozen=True)
class LayoutRules:
    """Rules for reading trees of images, wherever they are.

    Attributes:
        layout: "classes" (the first folders are), "splits" (folders named so are, others are left out), or "auto".
        class_depth: Number of folders that form a class's name: 2 makes `animal/cat` a single class.
        patterns: Patterns that are applied to the whole path. If one gives the class, folders can only be splits.
    """

    layout: str = "auto"
    class_depth: int = 1
    patterns: PathPatterns = NO_PATTERNS

    def read(self, paths: Iterable[str], folders: Iterable[str] = ()) -> tuple[Layout, list[str]]:
        """Detects the layout of a tree; memory holds its folders, not its files.

        Only files with an image's extension count. Folders are splits if all their siblings are named like splits, or
        if at least two are and contain the same classes.

        Args:
            paths: Paths of all files.
            folders: Folders that count even if no file was seen in them.

        Returns:
            The layout, and notes on anything that is not obvious about it.

        Raises:
            UserError: If the layout is ambiguous; the line says how to resolve that. If a pattern matches no path.
        """
        root = FolderNode()
        survey = PatternSurvey(self.patterns)
        twins = _fill(root, survey.watched(_images(paths)), folders)
        notes = survey.notes()
        wrapper: list[str] = []
        here = root
        while (only := here.only()) and only[1].folders and (self.layout == "classes" or not split_of(only[0])):
            wrapper.append(only[0])
            here = only[1]
        splits = self._splits(here)
        layout = Layout(tuple(wrapper), splits, self.class_depth, twins, self.patterns)
        return layout, notes + self._notes(here, splits)

    def _splits(self, here: FolderNode) -> dict[str, SplitFolder]:
        asked = self.layout == "splits"
        if self.layout == "classes":
            return {}
        if not self.patterns.label:
            return _unwrapped(here, _splits(here, asked))
        if self.patterns.split:
            return {}
        chosen = _splits(here, asked) if asked else _splits_alone(here)
        return {name: SplitFolder(split) for name, split in chosen.items()}

    def _notes(self, here: FolderNode, splits: dict[str, SplitFolder]) -> list[str]:
        notes = []
        rest = sorted(set(here.folders) - set(splits)) if splits else []
        if rest or any(split_of(name) is None for name in splits):
            places = ", ".join(f"{name} as {split.name}" for name, split in splits.items())
            notes.append(f"read as splits: {places}" + (f"; left out: {', '.join(rest)}" if rest else ""))
        if self.patterns.label:
            return notes
        tops = [_descend(here.folders[name], split.inner) for name, split in splits.items()] or [here]
        deep = sorted({name for top in tops for name, folder in _at(top, self.class_depth) if len(folder.folders) > 1})
        if deep:
            more = f" (and in {len(deep) - 1:,} more)" if len(deep) > 1 else ""
            notes.append(
                f"the images of all folders in {deep[0]!r}{more} are of that one class; "
                f"++ingest.source_options.class_depth={self.class_depth + 1} makes them classes of their own"
            )
        return notes


AUTO = LayoutRules()
"""Detects the layout of trees."""


def _images(paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        if posixpath.splitext(path)[1].lower() in IMAGE_SUFFIXES and not is_litter(path):
            yield path


def _fill(root: FolderNode, paths: Iterable[str], folders: Iterable[str]) -> frozenset[str]:
    seen: dict[str, str] = {}
    twins = set()
    for source in ((path.rpartition("/")[0] for path in paths), folders):
        for raw in source:
            folder = composed(raw)
            before = seen.get(folder)
            if before is not None:
                if before != raw:
                    twins.add(folder)
                continue
            seen[folder] = raw
            node = root
            for name in folder.split("/") if folder else ():
                node = node.folders.setdefault(name, FolderNode())
    return frozenset(twins)


def _splits(here: FolderNode, asked: bool) -> dict[str, str]:
    """Returns the folders that are splits, with the split's name; empty if they are classes."""
    like = {name: split for name in sorted(here.folders) if (split := split_in(name))}
    if asked:
        if not like:
            raise UserError(
                "++ingest.source_options.layout=splits: no folder is called train, val or test, as training_set is: "
                f"there are {_names(here.folders)}"
            )
        return like
    full = {name: split for name, split in like.items() if here.folders[name].folders}
    rest = sorted(set(here.folders) - set(full))
    if like and not full and len(like) == len(here.folders) and (len(like) > 1 or all(map(split_of, like))):
        raise UserError(
            f"{_names(like)}: named like splits, but without one folder per class; where their names tell the class, "
            "set ingest.class_from.pattern, where a list does, ingest.source=table; if these are the "
            "classes, set ++ingest.source_options.layout=classes"
        )
    if full and all(map(split_of, here.folders)):
        return full
    if len(set(full.values())) > 1 or sum(map(is_called_split, full)) > 1:  # several splits, or parts of the same one
        return _alike(here, full, rest)
    for name in filter(is_called_split, full):
        inside = set(here.folders[name].folders)
        others = [other for other in rest if not here.folders[other].folders or inside & {other}]
        if others or any(inside & set(here.folders[other].folders) for other in rest):
            raise _doubt(f"{name!r} is named like a split, but not {_names(rest)} next to it")
    return {}


def _splits_alone(here: FolderNode) -> dict[str, str]:
    """Returns the folders that are splits when no folder is a class, so that only their names are known."""
    called = {name: split for name in sorted(here.folders) if is_called_split(name) and (split := split_in(name))}
    rest = sorted(set(here.folders) - set(called))
    if rest and len(set(called.values())) > 1:
        raise _doubt(f"{_names(called)} are named like splits, but not {_names(rest)} next to them")
    return {} if rest else called


def _alike(here: FolderNode, full: dict[str, str], rest: list[str]) -> dict[str, str]:
    """Returns the folders that are named like splits if they contain the same classes, and no other folder does."""
    classes = {name: {inside for _, folder in here.folders[name].chain() for inside in folder.folders} for name in full}
    for name in full:
        if not classes[name] & set().union(*(classes[other] for other in full if other != name)):
            raise _doubt(f"{_names(full)} are named like splits, but {name!r} shares no class with the others")
    every = set().union(*classes.values())
    for name in rest:
        if {inside for _, folder in here.folders[name].chain() for inside in folder.folders} & every:
            raise _doubt(f"{_names(full)} are named like splits, but {name!r}, which contains the same classes, is not")
    return full


def _doubt(fault: str) -> UserError:
    return UserError(
        f"{fault}: set ++ingest.source_options.layout=splits to leave out what is no split, or "
        "++ingest.source_options.layout=classes to take every folder there for a class; or rename a folder to train, "
        "val or test"
    )


def _names(names: Iterable[str]) -> str:
    return listed(sorted(names), str)


def _unwrapped(here: FolderNode, chosen: Mapping[str, str]) -> dict[str, SplitFolder]:
    """Finds the folders between each split and its classes, as in `seg_train/seg_train/class`."""
    chains = {name: here.folders[name].chain() for name in chosen}
    level = {}
    for name, chain in chains.items():
        others = {i for other in chains if other != name for _, folder in chains[other] for i in folder.folders}
        shared = (place for place, (_, folder) in enumerate(chain) if others & set(folder.folders))
        level[name] = next(shared, 0)
    # A single folder at this level is not a class but another wrapper around all images of the splits.
    while len({i for name, chain in chains.items() for i in chain[level[name]][1].folders}) == 1 and all(
        len(chain) > level[name] + 1 for name, chain in chains.items()
    ):
        level = {name: at + 1 for name, at in level.items()}
    return {name: SplitFolder(split, chains[name][level[name]][0]) for name, split in chosen.items()}


def _descend(folder: FolderNode, names: Iterable[str]) -> FolderNode:
    for name in names:
        folder = folder.folders[name]
    return folder


def _at(folder: FolderNode, depth: int, above: str = "") -> Iterable[tuple[str, FolderNode]]:
    """Yields the folders at a depth, each with its path."""
    for name, inside in folder.folders.items():
        if depth == 1:
            yield above + name, inside
        else:
            yield from _at(inside, depth - 1, f"{above}{name}/")
