r"""A regular expression that reads a file's class, group or split from its path.

`ingest.class_from: {pattern: '([^/_]+)_\d+\.jpg$'}` reads `photos/wren_12.jpg` as a wren. The syntax is that of RE2,
which is part of PyArrow: whatever the expression, its time is linear in the path's length, so none can hang.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from sightline.config.schema import require
from sightline.core.errors import UserError
from sightline.core.text import composed


@dataclass
class NamePattern:
    """The setting `class_from`, `group_from` or `split_from`.

    Attributes:
        pattern: Searched for in a file's path below the source's root, with `/`; the value is the first named group or,
            if there is none, the first group. None for no pattern.
    """

    pattern: str | None

    def check(self, knob: str) -> None:
        """Raises ValueError, with the setting's name, if the expression cannot be used."""
        if self.pattern is not None:
            text, name = _with_one_name(self.pattern)
            require(
                name is not None,
                f"{knob}.pattern: {self.pattern!r} needs a capture group, in parentheses, around the part to take",
            )
            if fault := _fault(text):
                raise ValueError(
                    f"{knob}.pattern: {self.pattern!r} is not a usable regular expression: {fault} (it is read "
                    "by RE2, which has no look-ahead, look-behind or back-references)"
                )

    def value(self, path: str) -> str | None:
        r"""Returns the part of a path that matches; None if nothing matches, or the match is empty.

        >>> NamePattern(r"([^/_]+)_\d+").value("photos/wren_12.jpg")
        'wren'
        """
        return _value(self.pattern, path) if self.pattern is not None else None


@functools.lru_cache(maxsize=4096)  # a path is evaluated more than once: for the layout, a sample, the record
def _value(pattern: str, path: str) -> str | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    text, name = _with_one_name(pattern)
    found = pc.extract_regex(pa.scalar(path, pa.string()), pattern=text).as_py()
    return (found[name] or None) if found and name else None


def _fault(pattern: str) -> str:
    import pyarrow as pa
    import pyarrow.compute as pc

    names = [group.name for group in _groups(pattern)]
    if len(names) > len(set(names)):
        return "two groups of one name"
    try:
        pc.extract_regex(pa.scalar("", pa.string()), pattern=pattern)
    except pa.ArrowInvalid as error:
        return str(error).removeprefix("Invalid regular expression: ").replace("(?P<value>", "(")
    return ""


@functools.lru_cache
def _with_one_name(pattern: str) -> tuple[str, str | None]:
    """Returns the expression with a name for the chosen group and no other unnamed groups, and that name."""
    groups = list(_groups(pattern))
    named = [group for group in groups if group.name]
    chosen = next(iter(named or groups), None)
    parts, end = [], 0
    for group in groups:
        if not group.name:
            parts += [pattern[end : group.begin], "(?P<value>" if group is chosen else "(?:"]
            end = group.begin + 1
    text = "".join([*parts, pattern[end:]])
    return text, (chosen.name or "value") if chosen else None


class _Capture(NamedTuple):
    begin: int
    name: str


def _groups(pattern: str) -> Iterator[_Capture]:
    """Yields the capturing groups."""
    at, in_class = 0, False
    while at < len(pattern):
        letter, rest = pattern[at], pattern[at + 1 :]
        if letter == "\\":
            at += 1
        elif in_class:
            if rest.startswith(":") and letter == "[":  # [[:alpha:]]
                at = pattern.find(":]", at) + 1 if ":]" in rest else at
            else:
                in_class = letter != "]"
        elif letter == "[":
            in_class = True
            at += 2 if rest.startswith("^]") else 1 if rest.startswith(("]", "^")) else 0
        elif letter == "(":
            opening = next((mark for mark in ("?P<", "?<") if rest.startswith(mark)), "")
            name = rest[len(opening) :].partition(">")[0] if opening else ""
            if (opening and name[:1] not in ("=", "!", "")) or not rest.startswith("?"):
                yield _Capture(at, name)
        at += 1


@dataclass(frozen=True)
class PathPatterns:
    """Patterns that read values from paths, replacing the source's own values.

    Attributes:
        label: Pattern for the class, or None.
        group: Pattern for the group whose images stay in one split, or None.
        split: Pattern for the split, or None.
    """

    label: NamePattern | None = None
    group: NamePattern | None = None
    split: NamePattern | None = None

    def used(self) -> dict[str, NamePattern]:
        """Returns the patterns in use, by setting."""
        every = {"class_from": self.label, "group_from": self.group, "split_from": self.split}
        return {knob: pattern for knob, pattern in every.items() if pattern}


NO_PATTERNS = PathPatterns()

_WITHOUT = {
    "class_from": "they have no class, and are rejected",
    "group_from": "each of them is a group by itself",
    "split_from": "they have no split of their own",
}


class PatternSurvey:
    """Counts the paths that each pattern does not match.

    Args:
        patterns: The patterns to look for.
    """

    def __init__(self, patterns: PathPatterns) -> None:
        self._patterns = patterns.used()
        self._missed: dict[str, int] = dict.fromkeys(self._patterns, 0)
        self._first: dict[str, str] = {}
        self._paths = 0

    def watched(self, paths: Iterable[str]) -> Iterator[str]:
        """Yields paths unchanged, and counts them."""
        for path in paths:
            self._paths += 1
            for knob, pattern in self._patterns.items():
                if pattern.value(composed(path)) is None:
                    self._missed[knob] += 1
                    self._first.setdefault(knob, path)
            yield path

    def notes(self) -> list[str]:
        """Returns a line for each pattern that did not match some of the paths.

        Raises:
            UserError: If a pattern matched none.
        """
        lines = []
        for knob, missed in self._missed.items():
            if missed and missed == self._paths:
                raise UserError(
                    f"ingest.{knob}.pattern: {self._patterns[knob].pattern!r} matches none of {missed:,} path(s), "
                    f"such as {self._first[knob]!r}"
                )
            if missed:
                lines.append(
                    f"ingest.{knob}: does not match {missed:,} of {self._paths:,} paths, such as "
                    f"{self._first[knob]!r}: {_WITHOUT[knob]}"
                )
        return lines
