"""Files of pixels and the cache: complete or absent, never wrong."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.datasets import pixel_shard
from sightline.stages.preprocess import npy_writer
from sightline.stages.preprocess.cache import PIXELS, SUMMARY, PixelCache
from sightline.stages.preprocess.npy_writer import PixelWriter
from sightline.stages.preprocess.tasks import ShardSummary


def images(count: int, shape: tuple[int, int, int] = (3, 4, 2)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8)


def write(path: Path, of: np.ndarray) -> ShardSummary:
    with PixelWriter(path, of.shape[1:]) as writer:
        for image in of:
            writer.add(image)
    return ShardSummary(writer.file, writer.sums, bytes(32 * len(of)), {"blank": [1]}, {"segment_fallback": [0]})


@given(count=st.integers(0, 12), shape=st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4)))
@settings(max_examples=60, deadline=None)
def test_pixels_are_numpys_own_file_whatever_the_buffer(tmp_path_factory, count, shape):
    root = tmp_path_factory.mktemp("pixels")
    of = images(count, shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(npy_writer, "_BUFFER", 3 * int(np.prod(shape)))
        summary = write(root / "a.npy", of)
    np.save(root / "b.npy", of)
    assert (root / "a.npy").read_bytes() == (root / "b.npy").read_bytes()
    assert summary.pixels == pixel_shard.describe_shard(root / "a.npy")
    wide = of.astype(np.int64)
    np.testing.assert_array_equal(summary.sums, np.stack([wide.sum(axis=(1, 2)), (wide**2).sum(axis=(1, 2))], axis=2))


def test_summary_survive_as_bytes(tmp_path: Path):
    summary = write(tmp_path / "a.npy", images(3))
    again = ShardSummary.from_bytes(summary.to_bytes())
    assert (again.pixels, again.contents, again.rejected, again.notes) == (
        summary.pixels,
        summary.contents,
        summary.rejected,
        summary.notes,
    )
    np.testing.assert_array_equal(again.sums, summary.sums)
    assert again.kept.tolist() == [0, 2]


def add(cache: PixelCache, key: str) -> None:
    with tempfile.TemporaryDirectory(dir=cache.root.parent) as folder:
        made = Path(folder) / "made.npy"
        cache.store(key, made, write(made, images(3)))


@pytest.fixture
def cache(tmp_path: Path) -> PixelCache:
    cache = PixelCache(tmp_path / "memo")
    add(cache, "key")
    return cache


def test_an_entry_is_found_again(cache: PixelCache):
    summary = cache.find("key")
    assert summary is not None
    assert summary.pixels == pixel_shard.describe_shard(cache.pixels("key"))
    assert cache.find("other") is None


def test_an_entry_that_fails_leaves_nothing(cache: PixelCache, tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        cache.store("new", tmp_path / "nothing.npy", write(tmp_path / "a.npy", images(3)))
    assert [path.name for path in cache.root.iterdir()] == ["key"]


def test_an_entry_made_twice_stays(cache: PixelCache):
    add(cache, "key")
    assert [path.name for path in cache.root.iterdir()] == ["key"]
    assert cache.find("key") is not None


def test_a_cache_without_room_neither_keeps_nor_looks_up(cache: PixelCache, tmp_path: Path):
    none = PixelCache(cache.root, limit=0)
    add(none, "other")
    assert (none.find("key"), none.fetch("key", tmp_path), none.names()) == (None, None, [])
    assert cache.names() == ["key"]


def test_a_fetched_entry_stands_under_the_name_of_its_content(cache: PixelCache, tmp_path: Path):
    summary = cache.fetch("key", tmp_path)
    assert summary is not None
    assert pixel_shard.describe_shard(tmp_path / summary.pixels.name) == summary.pixels


@pytest.mark.parametrize("name", [SUMMARY, PIXELS])
@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone"])
def test_a_damaged_entry_counts_as_absent_and_is_removed(cache: PixelCache, name: str, damage: str):
    path = cache.root / "key" / name
    data = bytearray(path.read_bytes())
    path.unlink()
    if damage == "flip":
        data[-1] ^= 1
        path.write_bytes(data)
    elif damage == "cut":
        path.write_bytes(data[:-5])
    elif damage == "empty":
        path.write_bytes(b"")
    assert cache.find("key") is None
    assert not (cache.root / "key").exists()


def test_pixels_touched_but_whole_are_read_and_kept(cache: PixelCache):
    os.utime(cache.pixels("key"), (1, 1))
    assert cache.find("key") is not None


def test_pixels_appear_as_a_link_or_a_copy(cache: PixelCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cache.link("key", tmp_path / "linked.npy")
    cache.link("key", tmp_path / "linked.npy")  # two shards with the same pixels
    assert (tmp_path / "linked.npy").samefile(cache.pixels("key"))

    def no_links(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", no_links)
    cache.link("key", tmp_path / "copied.npy")
    assert not (tmp_path / "copied.npy").samefile(cache.pixels("key"))
    assert (tmp_path / "copied.npy").read_bytes() == cache.pixels("key").read_bytes()


def test_pruning_removes_what_was_used_longest_ago(tmp_path: Path):
    cache = PixelCache(tmp_path / "memo")
    for age, key in enumerate(["new", "middle", "old"]):
        add(cache, key)
        os.utime(cache.root / key, (1000 - age, 1000 - age))
    size = cache.entries()[0].bytes
    assert cache.prune(3 * size) == (0, 0)
    assert cache.find("old") is not None  # which is a use
    assert cache.prune(2 * size) == (1, size)
    assert {entry.key for entry in cache.entries()} == {"old", "new"}
    assert cache.prune(0) == (2, 2 * size)


def test_a_memo_that_is_not_there_is_empty(tmp_path: Path):
    cache = PixelCache(tmp_path / "none")
    assert cache.entries() == []
    assert cache.prune(0) == (0, 0)
    shutil.rmtree(tmp_path / "none", ignore_errors=True)


def test_pruning_spares_what_is_being_made_and_removes_what_a_killed_run_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store = PixelCache(tmp_path / "memo")
    to_bytes = ShardSummary.to_bytes

    def while_being_made(self: ShardSummary) -> bytes:
        (store.root / ".other.abcd1234").mkdir()
        (store.root / ".other.abcd1234" / PIXELS).write_bytes(b"half")
        assert store.prune(10**9) == (1, 4)
        assert store.prune(0) == (0, 0)
        assert [path.name for path in store.root.glob(".key*/*")] == [PIXELS]
        return to_bytes(self)

    monkeypatch.setattr(ShardSummary, "to_bytes", while_being_made)
    add(store, "key")
    assert [path.name for path in store.root.iterdir()] == ["key"]
    assert store.find("key") is not None


def test_only_what_is_used_counts_as_used(cache: PixelCache):
    os.utime(cache.root / "key", (1000, 1000))
    assert cache.find("key", use=False) is not None
    assert cache.entries()[0].used == 1000
    assert cache.find("key") is not None
    assert cache.entries()[0].used > 1000


def test_an_entry_that_was_pruned_cannot_be_linked(cache: PixelCache, tmp_path: Path):
    cache.prune(0)
    assert not cache.link("key", tmp_path / "linked.npy")
    assert not (tmp_path / "linked.npy").exists()
