"""A description of how the source changed since dvc.lock: by file names if the file lists of both states are here."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from sightline.changes import definitions
from sightline.changes.dataset_diff import DatasetState, LabelledImage, compare_datasets
from sightline.changes.values import by_dotted_name, yaml_text
from sightline.core import dvc_files, files
from sightline.core.project import located
from sightline.stages.watch.fingerprint import SOURCE, content_memory

_LONG = 32
"""Number of characters above which a value is shortened: a digest, or something just as unreadable."""
_DIGEST = re.compile(r"[0-9a-f]{32,64}(\.dir)?")
_DIGESTED = {
    "digest": "ids, labels, splits, groups or checksums",
    "labels": "the list of labels",
    "corrections": "the decisions on images",
}
"""The content behind the other digests in a fingerprint, by key."""
_LATER = "once dvc repro has run, sightline diff names the images"


def source_words(
    now: Mapping[str, Any], before: Mapping[str, Any] | None, locked: str | None, path: str | None, has_remote: bool
) -> str:
    """Describes what differs in a source's fingerprint, and how to find out more.

    Args:
        now: The fingerprint, as `watch` would write it.
        before: The fingerprint of the state in dvc.lock; None if it is not here.
        locked: The MD5 of that file.
        path: The source's location, as configured.
        has_remote: Whether DVC has a remote from which the earlier fingerprint could be fetched.
    """
    there = dvc_files.tracked(located(path)) if path is not None else None
    former = _former(there, now, locked) if there is not None else None
    counts = {pointer.md5: pointer.files for pointer in (there, former) if pointer is not None}
    if before is None and former is not None:
        before = _of(now, former)
    if before is None:
        known = ", ".join(f"{_name(key)} {value}" for key, value in by_dotted_name(now).items() if type(value) is int)
        more = (
            f"dvc fetch {SOURCE} brings the earlier fingerprint, so that check can say what changed; "
            if has_remote
            else ""
        )
        return f"it has changed{f' (now {known})' if known else ''}; {more}{_LATER}"
    old, new = by_dotted_name(before), by_dotted_name(now)
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    words, digests = [], False
    for key in keys:
        first, second = old.get(key), new.get(key)
        files_words = _files(str(first), str(second), counts)
        words.append(f"{_beside(key)}{files_words}" if files_words else _values(key, first, second))
        digests |= not files_words and _is_digest(first) and _is_digest(second)
    return ", ".join(words) + (f"; {_LATER}" if digests else "")


def _name(key: str) -> str:
    return key.removeprefix("fingerprint.").replace("_", " ")


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def _beside(key: str) -> str:
    """Returns the setting of files read in addition to the source, as a prefix of their description; else nothing."""
    first = key.partition(".")[0]
    return "" if first == "fingerprint" else f"ingest.{first} "


def _values(key: str, before: Any, after: Any) -> str:
    change = f"{_short(yaml_text(before))} -> {_short(yaml_text(after))}"
    if _is_digest(before) and _is_digest(after):
        return f"{_DIGESTED.get(_name(key), 'the content')} (digest {change})"
    return f"{_name(key)} {change}"


def _short(text: str) -> str:
    return f"{text[:8]}..." if len(text) > _LONG else text


def _files(before: str, after: str, counts: Mapping[str, int]) -> str:
    """Returns the number of files before and now, and which differ; empty if nothing is known about one of them."""
    memory = content_memory()
    old, new = memory.kept_list(before), memory.kept_list(after)
    known = [counts.get(digest) if states is None else len(states) for digest, states in ((before, old), (after, new))]
    if None in known:
        return ""
    numbers = " -> ".join(f"{count:,}" for count in known) + " files"
    if old is None or new is None:
        return numbers
    images = ({path: LabelledImage("", "", state) for path, state in states.items()} for states in (old, new))
    return f"{numbers}: {'; '.join(compare_datasets(*map(DatasetState, images)).kinds())}"


def _former(there: dvc_files.TrackedPath, now: Mapping[str, Any], locked: str | None) -> dvc_files.TrackedPath | None:
    """Returns what DVC tracked at a path when dvc.lock was committed, if that is the state in dvc.lock."""
    commit = definitions.commit_of("dvc.lock")
    content = definitions.file_at(commit, there.pointer.as_posix()) if commit is not None else None
    former = dvc_files.pointed(there.path, there.pointer, content) if content is not None else None
    if former is None:
        return None
    text = files.canonical_json(_of(now, former)).encode()
    return former if hashlib.md5(text, usedforsecurity=False).hexdigest() == locked else None


def _of(fingerprint: Mapping[str, Any], former: dvc_files.TrackedPath) -> dict[str, Any]:
    """Returns the fingerprint that a source had when DVC tracked it in that state."""
    return {**fingerprint, "fingerprint": {"md5": former.md5}}
