"""The kinds of findings that the audit of a raw set looks for, worded for the terminal and the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sightline.core.json_fields import field


@dataclass(frozen=True)
class FindingKind:
    """A kind of finding.

    Attributes:
        name: Its key in the part `audit` of `ingest.json`, which has its count and first examples.
        noun: The noun for the unit counted: "image" or "group".
        words: The finding, in words that follow the noun.
        remark: The consequence for the images, or the remedy.
        parts: Prefixes of the keys of its counts and examples, if there are several.
    """

    name: str
    noun: str
    words: str
    remark: str
    parts: tuple[str, ...] = ("",)

    @property
    def title(self) -> str:
        """The finding, without a number."""
        return f"{self.noun}s {self.words}"

    def count(self, audit: Mapping[str, Any]) -> int:
        """Returns the number of findings in an audit; raises ValueError if `audit` is not an audit."""
        counts = field(audit, self.name, dict)
        return sum(field(counts, f"{part}{self.noun}s", int) for part in self.parts)

    def examples(self, audit: Mapping[str, Any]) -> list[str | list[str]]:
        """Returns the first findings: an image's id, or the ids of a group."""
        content = field(audit, self.name, dict)
        return [example for part in self.parts for example in field(content, f"{part}examples", list)]


_TOGETHER = "kept in one split, unless the source defines splits"
_LOOK = "look at them"

FINDINGS = (
    FindingKind("exact_duplicates", "group", "of images with the same bytes", _TOGETHER),
    FindingKind("two_labels", "group", "of images with the same bytes under several labels", "one label is wrong"),
    FindingKind("near_duplicates", "group", "of near duplicates", _TOGETHER),
    FindingKind(
        "few_bits",
        "image",
        "with 16-bit samples that use 14 bits or fewer",
        "dark with few levels, unless preprocess.sample_bits is set",
    ),
    FindingKind("wrong_extension", "image", "whose extension names another format", "read by their content"),
    FindingKind("dark", "image", "suspiciously dark", _LOOK),
    FindingKind("bright", "image", "suspiciously bright", _LOOK),
    FindingKind("blurred", "image", "suspiciously blurred", _LOOK),
    FindingKind("odd_shape", "image", "of an unusual shape", _LOOK),
    FindingKind(
        "two_splits",
        "group",
        "of duplicates, of near duplicates or of the source, in several splits of the source",
        "left out of training, unless preprocess.leaks says otherwise",
        parts=("", "near_", "source_"),
    ),
)
