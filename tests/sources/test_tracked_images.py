"""Images that come as raw shards; the whole way, with a remote, is in `tests/pipeline/test_tracked_source.py`."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from sightline.core import dvc_cache
from sightline.sources import tracked_images
from tests.stages.ingest.helpers import picture, tree

LOCK = """schema: '2.0'
stages:
  ingest:
    params: {params.yaml: {ingest: {source: folder, path: data/mine}}}
    outs: [{path: data/raw, md5: 0123.dir}, {path: data/raw.settings.json, md5: 4567}]
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("lock", "setting", "found"),
    [
        (LOCK, "data/mine", "0123.dir"),
        (LOCK, "data/others", None),  # what another place gave
        (LOCK, None, None),
        (LOCK.replace("data/raw,", "data/other,"), "data/mine", None),
        ("stages: {}\n", "data/mine", None),
        ("", "data/mine", None),
        (None, "data/mine", None),
    ],
)
def test_the_locks_shards_are_those_of_the_same_place(lock: str | None, setting: str | None, found: str | None) -> None:
    if lock is not None:
        Path("dvc.lock").write_text(lock)
    assert tracked_images._locked_shards(setting) == found


def test_a_file_stands_in_the_cache_as_dvc_has_it() -> None:
    data, cache = picture(1), Path(".dvc/cache")
    assert tracked_images._put(cache, data)
    assert not tracked_images._put(cache, data)
    (file,) = (path for path in cache.rglob("*") if path.is_file())
    assert file.read_bytes() == data
    assert stat.S_IMODE(file.stat().st_mode) == 0o444
    assert dvc_cache.cached_path(file.parent.name + file.name) == file


def test_where_nothing_is_missing_nothing_is_done() -> None:
    tree(Path("data/mine"), {"a/1.png": picture(1)})
    assert tracked_images.pull_images(Path("data/mine"), "data/mine") == ""
    Path("data/mine.dvc").write_text("outs: [{md5: 89.dir, nfiles: 5000, path: mine}]\n")
    assert tracked_images.pull_images(Path("data/mine"), "data/mine") == ""
