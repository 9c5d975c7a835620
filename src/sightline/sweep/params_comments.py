"""Comments of params.yaml that give reasons for its values, as `sightline init` writes them."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping
from typing import Any

from sightline.config.params import parse_yaml

REASONED = "# `sightline init` chose them"
"""Start of a line at the top of files whose comments are reasons for the values."""


def commented(content: str, comments: Mapping[str, str]) -> str:
    """Returns the file's content with other comments.

    Args:
        content: The file's content, with one setting per line.
        comments: The new comments by key, such as `train.lr`.
    """
    lines, section = [], ""
    for line in content.splitlines():
        if found := re.match(r"(\w+):", line):
            section = found[1]
        found = re.match(r"  (\w+): ", line)
        if found and (comment := comments.get(f"{section}.{found[1]}")):
            setting, mark, _ = line.rpartition("  # ")
            line = f"{(setting if mark else line).rstrip():<34}  # {' '.join(comment.split())}"
        lines.append(line)
    return "\n".join(lines) + "\n"


def remarked(before: str, after: str, source: str) -> str:
    """Returns a changed file's content, with the comments of changed values updated.

    The comments of a project that `sightline init` made are reasons for the values, and are kept as such: `adopted from
    1f0c29ab; was 0.003 (for so many images)`. Those of other projects tell what a knob is, and stay.

    Args:
        before: The content before the change.
        after: The content.
        source: The origin of the new values.
    """
    if REASONED not in after:
        return after
    new, values = _commented_values(after), (parse_yaml(before), parse_yaml(after))
    # Values are compared after YAML parsing, since DVC writes null as an empty value.
    changed = {
        key: old
        for key, old in _commented_values(before).items()
        if key in new and operator.ne(*(_value(content, key) for content in values))
    }
    comments = {}
    for key, (value, comment) in changed.items():
        first = re.fullmatch(r"adopted from .*?; was (.*)", comment)
        reason = first[1] if first else f"{value or 'null'} ({comment})"
        comments[key] = f"adopted from {source}; was {reason}"
    return commented(after, comments)


def _value(content: Any, key: str) -> Any:
    section, name = key.split(".")
    return content[section][name]


def _commented_values(content: str) -> dict[str, tuple[str, str]]:
    """Returns value and comment of each line, by key."""
    found, section = {}, ""
    for line in content.splitlines():
        if top := re.match(r"(\w+):", line):
            section = top[1]
        if row := re.fullmatch(r"  (\w+): (.*?) +# (.*)", line):
            found[f"{section}.{row[1]}"] = row[2], row[3]
    return found
