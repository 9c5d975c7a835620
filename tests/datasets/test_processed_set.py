"""A processed set opened by memory map: any rows, from any shards, and a digest that sees every change."""

from __future__ import annotations

import json
import mmap
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.core import files
from sightline.core.errors import UserError
from sightline.datasets import pixel_shard, raw_set
from sightline.datasets.processed_set import INDEX, INDEX_SCHEMA, TRANSFORM, Images, ProcessedSet

CLASSES = ["cat", "dog", "größe"]
SPLITS = ("train", "val", "test")
STATISTICS = {"mean": [0.25, 0.5], "std": [0.1, 0.2]}


def write_set(root: Path, sizes: tuple[int, ...] = (7, 1, 5), seed: int = 0) -> Images:
    """Writes a set whose rows lie in the shards in no order; returns all images in order of id."""
    rng = np.random.default_rng(seed)
    root.mkdir(parents=True, exist_ok=True)
    rows = sum(sizes)
    pixels = rng.integers(0, 256, (rows, 3, 4, 2), dtype=np.uint8)
    order = rng.permutation(rows)  # place of every image, shard after shard
    places: dict[int, tuple[str, int]] = {}
    for number, (start, size) in enumerate(zip(np.cumsum([0, *sizes]), sizes, strict=False)):
        name = f"shard-{number}.npy"
        here = order[start : start + size]
        np.save(root / name, pixels[here])
        places |= {int(image): (name, row) for row, image in enumerate(here)}
    columns: dict[str, list[Any]] = {
        "id": [f"{i:04d}" for i in range(rows)],
        "label": [i % len(CLASSES) for i in range(rows)],
        "split": [SPLITS[i % 2] if i % 5 else "test" for i in range(rows)],
        "shard": [places[i][0] for i in range(rows)],
        "row": [places[i][1] for i in range(rows)],
        "origin": [f"{i:04d}" for i in range(rows)],
        "sha256": [f"{i:064x}" for i in range(rows)],
    }
    pq.write_table(pa.table(columns, schema=INDEX_SCHEMA), root / INDEX)
    raw_set.write_classes(CLASSES, root / raw_set.CLASSES)
    files.write_json(root / TRANSFORM, {"statistics": STATISTICS})
    return pixels


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[ProcessedSet, Images]:
    root = tmp_path_factory.mktemp("shards") / "processed"
    pixels = write_set(root)
    return ProcessedSet(root), pixels


def test_what_a_set_says_of_itself(written: tuple[ProcessedSet, Images]) -> None:
    data, pixels = written
    assert data.classes == CLASSES
    assert data.shape == (3, 4, 2)
    assert data.statistics == (STATISTICS["mean"], STATISTICS["std"])
    assert data.transform == data.root / TRANSFORM
    assert data.index.num_rows == len(pixels)
    assert data.index.schema.equals(INDEX_SCHEMA)


def test_splits_share_the_rows_out(written: tuple[ProcessedSet, Images]) -> None:
    data, pixels = written
    splits = [data.split(name) for name in SPLITS]
    ids = [i for split in splits for i in split.ids]
    assert sorted(ids) == data.index["id"].to_pylist()
    assert len(ids) == sum(map(len, splits)) == len(pixels)
    for split in splits:
        assert split.ids == sorted(split.ids)
        assert split.labels.dtype == np.int64
        assert split.labels.tolist() == [int(i) % len(CLASSES) for i in split.ids]


@given(st.data())
def test_images_are_those_of_the_positions_in_any_order(written: tuple[ProcessedSet, Images], data: Any) -> None:
    opened, pixels = written
    split = opened.split(data.draw(st.sampled_from(SPLITS)))
    expected = pixels[[int(i) for i in split.ids]]
    within = st.integers(-len(split), len(split) - 1)
    positions = data.draw(st.lists(within, max_size=20) | st.slices(len(split)))
    if data.draw(st.booleans()) and not isinstance(positions, slice):
        positions = np.array(positions, np.int64)
    images = split.images(positions)
    wanted = expected[positions] if isinstance(positions, slice) else expected[np.array(positions, np.int64)]
    np.testing.assert_array_equal(images, wanted)
    assert images.dtype == np.uint8
    assert images.flags.c_contiguous


def test_all_images_by_default(written: tuple[ProcessedSet, Images]) -> None:
    data, pixels = written
    train = data.split("train")
    np.testing.assert_array_equal(train.images(), pixels[[int(i) for i in train.ids]])


def test_a_gathered_batch_is_the_callers_to_change(written: tuple[ProcessedSet, Images]) -> None:
    data, _ = written
    train = data.split("train")
    for positions in ([0], [0, 1, 2, 3], slice(None)):
        before = train.images(positions).copy()
        batch = train.images(positions)
        batch[:] = 0  # also: it is writable
        np.testing.assert_array_equal(train.images(positions), before)


@pytest.mark.parametrize("position", [10**6, -(10**6)])
def test_a_position_outside_is_an_error(written: tuple[ProcessedSet, Images], position: int) -> None:
    with pytest.raises(IndexError):
        written[0].split("train").images([position])


def test_one_shard_or_many_give_the_same_images(tmp_path: Path) -> None:
    one = write_set(tmp_path / "one", (13,))
    many = write_set(tmp_path / "many", (1,) * 13)
    np.testing.assert_array_equal(one, many)
    for name in SPLITS:
        np.testing.assert_array_equal(
            ProcessedSet(tmp_path / "one").split(name).images(), ProcessedSet(tmp_path / "many").split(name).images()
        )


def test_pixels_stay_on_disk_until_asked_for(tmp_path: Path) -> None:
    write_set(tmp_path)
    big = np.zeros((7, 2000, 1000, 2), np.uint8)  # 28 MB
    for shard in sorted(tmp_path.glob("shard-*.npy")):
        np.save(shard, big[: len(np.load(shard, mmap_mode="r"))])
    tracemalloc.start()
    try:
        data = ProcessedSet(tmp_path)
        split = data.split("train")
        opened = tracemalloc.get_traced_memory()[1]
        split.images([0])
        read = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert opened < 2_000_000
    assert read < 10_000_000  # one image of 4 MB, and a copy of it
    base = split._maps[0]
    while not isinstance(base, mmap.mmap):
        base = base.base  # type: ignore[assignment]


def test_an_empty_split_has_no_images(tmp_path: Path) -> None:
    write_set(tmp_path)
    table = pq.read_table(tmp_path / INDEX)
    keep = [split != "val" for split in table["split"].to_pylist()]
    pq.write_table(table.filter(pa.array(keep)), tmp_path / INDEX)
    val = ProcessedSet(tmp_path).split("val")
    assert len(val) == 0
    assert val.images().shape == (0, 3, 4, 2)
    assert val.labels.tolist() == []


def test_rows_of_another_split_are_never_seen(written: tuple[ProcessedSet, Images]) -> None:
    data, _ = written
    ids = [set(data.split(name).ids) for name in SPLITS]
    assert not ids[0] & ids[1]
    assert not ids[0] & ids[2]
    assert not ids[1] & ids[2]
    assert len(data.split("unheard-of")) == 0


# --- the digest ----------------------------------------------------------------------------------------------------


def _edit_index(root: Path, column: str, value: Any) -> None:
    table = pq.read_table(root / INDEX)
    place = table.schema.get_field_index(column)
    values = table[column].to_pylist()
    assert values[0] != value
    changed = pa.array([value, *values[1:]], table.schema.field(column).type)
    pq.write_table(table.set_column(place, table.schema.field(column), changed), root / INDEX)


CHANGES: dict[str, Any] = {
    **{column: (column, value) for column, value in (("id", "x"), ("split", "val"), ("origin", "y"), ("sha256", "z"))},
    "label": ("label", 2),
    "shard": ("shard", "shard-f.npy"),
    "row": ("row", 9),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_digest_sees_any_change_of_a_row(tmp_path: Path, change: str) -> None:
    write_set(tmp_path)
    np.save(tmp_path / "shard-f.npy", np.zeros((1, 3, 4, 2), np.uint8))
    before = ProcessedSet(tmp_path).digest
    _edit_index(tmp_path, *CHANGES[change])
    assert ProcessedSet(tmp_path).digest != before


def test_the_digest_sees_the_transform_and_the_classes(tmp_path: Path) -> None:
    write_set(tmp_path)
    digests = [ProcessedSet(tmp_path).digest]
    raw_set.write_classes([*CLASSES, "new"], tmp_path / raw_set.CLASSES)
    digests.append(ProcessedSet(tmp_path).digest)
    files.write_json(tmp_path / TRANSFORM, {"statistics": {**STATISTICS, "mean": [0.25, 0.6]}})
    digests.append(ProcessedSet(tmp_path).digest)
    assert len(set(digests)) == 3
    assert all(len(digest) == 64 for digest in digests)


def test_the_digest_is_of_the_content_alone(tmp_path: Path) -> None:
    for name in ("here", "there"):
        write_set(tmp_path / name)
    (tmp_path / "there" / "note.txt").write_text("not part of the set")
    assert ProcessedSet(tmp_path / "here").digest == ProcessedSet(tmp_path / "there").digest


# --- what is not there, or not whole -------------------------------------------------------------------------------


def refused(root: Path) -> str:
    """Returns the one line that a set is refused with."""
    with pytest.raises(UserError) as caught:
        ProcessedSet(root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", [raw_set.CLASSES, INDEX, "shard-1.npy"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    write_set(tmp_path)
    (tmp_path / name).unlink()
    assert refused(tmp_path) == f"{tmp_path / name} is missing: run the preprocess stage"


@pytest.mark.parametrize("name", [raw_set.CLASSES, INDEX, "shard-1.npy"])
@pytest.mark.parametrize("content", [b"", b"{", b"PAR1"])
def test_a_damaged_file_is_an_error_that_says_what_to_do(tmp_path: Path, name: str, content: bytes) -> None:
    write_set(tmp_path)
    (tmp_path / name).write_bytes(content)
    assert refused(tmp_path).endswith("run the preprocess stage again")


def test_a_truncated_shard_is_refused(tmp_path: Path) -> None:
    write_set(tmp_path)
    shard = tmp_path / "shard-0.npy"
    shard.write_bytes(shard.read_bytes()[:-1])
    assert "is damaged" in refused(tmp_path)


def test_a_flipped_bit_in_a_shard_is_never_trained_on(tmp_path: Path) -> None:
    write_set(tmp_path)
    names = {
        old: pixel_shard.describe_shard(tmp_path / old).name for old in ("shard-0.npy", "shard-1.npy", "shard-2.npy")
    }
    for old, name in names.items():
        (tmp_path / old).rename(tmp_path / name)
    table = pq.read_table(tmp_path / INDEX)
    shards = pa.array([names[old] for old in table["shard"].to_pylist()])
    place = table.schema.get_field_index("shard")
    pq.write_table(table.set_column(place, table.schema.field("shard"), shards), tmp_path / INDEX)
    assert len(ProcessedSet(tmp_path).split("train").images())
    damaged = tmp_path / names["shard-2.npy"]
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 4
    damaged.write_bytes(content)
    line = (
        f"^{damaged} is damaged, its pixels have changed since they were written: rm -rf .sightline/memo/preprocess && "
    )
    with pytest.raises(UserError, match=line):
        ProcessedSet(tmp_path).split("train")


def test_a_pickled_shard_is_never_loaded(tmp_path: Path) -> None:
    write_set(tmp_path)
    np.save(tmp_path / "shard-0.npy", np.array([{"object": 1}], dtype=object), allow_pickle=True)
    assert "is damaged" in refused(tmp_path)


def test_classes_out_of_order_are_refused(tmp_path: Path) -> None:
    write_set(tmp_path)
    (tmp_path / raw_set.CLASSES).write_text(json.dumps({"classes": ["dog", "cat"]}))
    assert "class names must be sorted and unique" in refused(tmp_path)
