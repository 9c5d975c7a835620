"""The census of a set: numbers of images by class, counted without decoding them."""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

COUNT = 200_000
PATIENCE = 30.0
"""Maximum number of inputs, and maximum seconds, for counting: larger sets are counted in part."""

_NUMBER = "[-_. ]+(?:frame|img|shot|view|crop|tile|f|v)?[0-9]+"
_SERIES = re.compile(f"(.+?){_NUMBER}$", re.IGNORECASE)
SERIES_PATTERN = f"(?i)^(.+?){_NUMBER}[.][a-z]+$"
"""The same of a whole path, its class's folder included, as `ingest.group_from` takes it."""


class CountedImage(Protocol):
    """An image as it is counted: its id, class, split and group."""

    @property
    def id(self) -> str: ...
    @property
    def label(self) -> str | None: ...
    @property
    def split(self) -> str | None: ...
    @property
    def group(self) -> str | None: ...


@dataclass(frozen=True)
class Census:
    """Numbers of a set.

    Attributes:
        classes: Images of each class, by name.
        splits: Images of each split that the source itself gives, by name.
        groups: Groups that the source itself gives, of two images and more.
        prefixes: Groups of images of one class whose file names share a prefix; 0 if none are evident.
        complete: Whether every input was counted.
    """

    classes: dict[str, int]
    splits: dict[str, int]
    groups: int
    prefixes: int
    complete: bool

    @property
    def text_like(self) -> bool:
        """Whether all classes are named like digits or letters, or one like a direction."""
        return text_like(self.classes)


def count(images: Iterable[CountedImage], most: int = COUNT, patience: float = PATIENCE) -> Census:
    """Counts the images that have a class."""
    classes: Counter[str] = Counter()
    splits: Counter[str] = Counter()
    groups: Counter[str] = Counter()
    names: list[tuple[str, str]] = []
    complete, end = True, time.monotonic() + patience
    for number, image in enumerate(images):
        if number >= most or time.monotonic() > end:
            complete = False
            break
        if image.label is None:
            continue
        classes[image.label] += 1
        names.append((image.label, image.id))
        if image.split:
            splits[image.split] += 1
        if image.group:
            groups[image.group] += 1
    together = sum(number > 1 for number in groups.values())
    return Census(dict(sorted(classes.items())), dict(sorted(splits.items())), together, series(names), complete)


def series(names: Sequence[tuple[str, str]]) -> int:
    """Returns the number of groups that file names tell of: beginnings that several images of one class share.

    They are evident where most images belong to one, and there are several for each class: `bird07_frame12.jpg`. A
    beginning that all images of a class share, as a camera's `IMG_`, is none.

    Args:
        names: Class and id of each image.

    >>> series([("wren", f"wren/{bird}_{frame}.jpg") for bird in "abcd" for frame in range(5)])
    4
    >>> series([("wren", f"wren/IMG_{number}.jpg") for number in range(20)])
    0
    """
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for label, identity in names:
        stem = identity.rpartition("/")[2].rpartition(".")[0] or identity
        if match := _SERIES.fullmatch(stem):
            found[label][match[1]] += 1
    several = [number for counts in found.values() for number in counts.values() if number > 1]
    evident = sum(several) > len(names) / 2 and len(several) >= 3 * len({label for label, _ in names})
    return len(several) if evident else 0


def text_like(classes: Iterable[str]) -> bool:
    """Says whether classes are named like digits, letters or directions, which a mirror image would change.

    >>> text_like(["0", "1", "2"]), text_like(["turn left", "stop"]), text_like(["cat", "dog"])
    (True, True, False)
    """
    names = list(classes)
    one = re.compile(r"\d{1,3}|[A-Za-z]|zero|one|two|three|four|five|six|seven|eight|nine|ten", re.IGNORECASE)
    directed = re.compile(r"\b(left|right|clockwise|anticlockwise|counterclockwise)\b", re.IGNORECASE)
    return all(one.fullmatch(name) for name in names) or any(directed.search(re.sub(r"[_-]", " ", n)) for n in names)
