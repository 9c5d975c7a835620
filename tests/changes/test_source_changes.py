"""Words on what of a source has changed: its files by name, their number by DVC's pointers, or the values."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sightline.changes.source_changes import source_words
from sightline.core import files
from sightline.sources.content import fingerprint
from sightline.stages.watch.fingerprint import content_memory
from tests.stages.ingest.helpers import picture, tree

SOURCE = Path("data/mine")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tree(SOURCE, {f"{'ab'[n % 2]}/{n}.png": picture(n) for n in range(6)})


def look() -> dict[str, Any]:
    return {"source": "folder", "fingerprint": fingerprint(SOURCE, content_memory())}


LATER = "once dvc repro has run, sightline diff names the images"


def line_of(
    before: dict[str, Any] | None, now: dict[str, Any], locked: dict[str, Any] | None = None, has_remote: bool = False
) -> str:
    text = files.canonical_json(locked or before).encode()
    return source_words(now, before, hashlib.md5(text, usedforsecurity=False).hexdigest(), str(SOURCE), has_remote)


def change() -> None:
    tree(SOURCE, {"a/8.png": picture(8), "a/0.png": picture(9), "b/10.png": picture(10), "b/11.png": picture(11)})
    (SOURCE / "b/1.png").unlink()
    (SOURCE / "a/2.png").rename(SOURCE / "b/2.png")


def test_files_that_came_went_changed_and_moved_are_named() -> None:
    before = look()
    change()
    assert line_of(before, look()) == (
        "6 -> 8 files: 3 added (a/8.png, b/10.png, ...); 1 removed (b/1.png); 1 with changed content (a/0.png); "
        "1 renamed (b/2.png)"
    )


def test_files_beside_the_source_are_named_by_their_setting() -> None:
    others = tree(Path("others"), {"1.png": picture(1)})
    before = look() | {"unknown": fingerprint(others, content_memory())}
    tree(others, {"2.png": picture(2)})
    after = look() | {"unknown": fingerprint(others, content_memory())}
    assert line_of(before, after) == "ingest.unknown 1 -> 2 files: 1 added (2.png)"


def test_the_list_that_is_compared_outlasts_others() -> None:
    before = look()
    for number in range(20, 26):
        tree(SOURCE, {f"a/{number}.png": picture(number)})
        assert line_of(before, look()).startswith(f"6 -> {number - 13} files: {number - 19} added (a/20.png")
    assert len(list(Path(".sightline/watched/lists").iterdir())) == 4


def test_without_a_list_the_values_are_said() -> None:
    before = look()
    shutil.rmtree(".sightline")
    change()
    line = line_of(before, look())
    assert line.startswith(f"the content (digest {before['fingerprint']['md5'][:8]}... -> ")
    assert line.endswith(f"; {LATER}")
    rows = {"source": "sql", "fingerprint": {"rows": 60}, "labels": "a"}
    assert line_of(rows, {**rows, "fingerprint": {"rows": 61}}) == "rows 60 -> 61"
    relabelled = [{**rows, "fingerprint": {"rows": 60, "digest": digit * 64}} for digit in "ab"]
    words = f"ids, labels, splits, groups or checksums (digest aaaaaaaa... -> bbbbbbbb...); {LATER}"
    assert line_of(*relabelled) == words
    assert line_of(None, look()) == f"it has changed; {LATER}"
    fetch = "dvc fetch data/source.json brings the earlier fingerprint, so that check can say what changed; "
    assert line_of(None, rows, has_remote=True) == f"it has changed (now rows 60); {fetch}{LATER}"


def test_a_fresh_clone_has_the_numbers_of_the_pointers() -> None:
    def track(count: int) -> dict[str, Any]:
        state = look()
        text = f"outs:\n- md5: {state['fingerprint']['md5']}\n  nfiles: {count}\n  hash: md5\n  path: mine\n"
        Path(f"{SOURCE}.dvc").write_text(text)
        return state

    before = track(6)
    Path("dvc.lock").write_text("stages: {}\n")
    who = {f"GIT_{name}_{part}": "a@b" for name in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
    for command in (["init", "--quiet"], ["add", f"{SOURCE}.dvc", "dvc.lock"], ["commit", "--quiet", "-m", "six"]):
        subprocess.run(["git", *command], env={**os.environ, **who}, check=True)
    change()
    now = track(8)
    shutil.rmtree(".sightline")
    assert line_of(None, now, locked=before) == "6 -> 8 files"
    assert line_of(None, now, locked=now) == f"it has changed; {LATER}"  # the commit's pointer is another
