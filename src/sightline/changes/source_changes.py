"""The change of a source since the state in dvc.lock, in words: its files by name where both states' lists are here."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from sightline.changes import definitions
from sightline.changes.dataset_diff import DatasetState, LabelledImage, compare
from sightline.changes.values import flat, shown
from sightline.core import dvc_files, files
from sightline.core.project import located
from sightline.stages.watch.fingerprint import content_memory

_LONG = 32
"""Characters of a value that is a digest, or as little to be read."""


def words(now: Mapping[str, Any], before: Mapping[str, Any] | None, locked: str | None, path: str | None) -> str:
    """Says what of a source's fingerprint is another.

    Args:
        now: The fingerprint, as `watch` would write it.
        before: That of the state in dvc.lock; None where it is not here.
        locked: The MD5 of that file.
        path: The source's place, as the configuration has it.
    """
    counts = ""
    if before is None and path is not None:
        there = dvc_files.tracked(located(path))
        former = _former(there, now, locked) if there is not None else None
        if there is not None and former is not None:
            counts = f"{former.files:,} -> {there.files:,} files"
            before = {**now, "fingerprint": {"md5": former.md5}}
    if before is None:
        return "another fingerprint"
    old, new = flat(before), flat(now)
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    return ", ".join(
        _files(str(old.get(key)), str(new.get(key))) or counts or _values(key, old.get(key), new.get(key))
        for key in keys
    )


def _values(key: str, before: Any, after: Any) -> str:
    return f"{key.removeprefix('fingerprint.')} {_short(shown(before))} -> {_short(shown(after))}"


def _short(text: str) -> str:
    return f"{text[:8]}..." if len(text) > _LONG else text


def _files(before: str, after: str) -> str:
    """Returns the numbers and first names of the files that differ between two lists; empty where one is not here."""
    memory = content_memory()
    old, new = memory.kept_list(before), memory.kept_list(after)
    if old is None or new is None:
        return ""
    states = (
        DatasetState({path: LabelledImage("", "", digest) for path, digest in listed.items()}) for listed in (old, new)
    )
    return f"{len(old):,} -> {len(new):,} files: {'; '.join(compare(*states).kinds())}"


def _former(there: dvc_files.TrackedPath, now: Mapping[str, Any], locked: str | None) -> dvc_files.TrackedPath | None:
    """Returns what DVC tracked at a path when dvc.lock was committed, if that is the state in dvc.lock."""
    commit = definitions.commit_of("dvc.lock")
    content = definitions.file_at(commit, there.pointer.as_posix()) if commit is not None else None
    former = dvc_files.pointed(there.path, there.pointer, content) if content is not None else None
    state = {**now, "fingerprint": {"md5": former.md5}} if former is not None else {}
    digest = hashlib.md5(files.canonical_json(state).encode(), usedforsecurity=False).hexdigest()
    return former if digest == locked else None
