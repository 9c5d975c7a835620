"""The formats of records, to the field and to the byte: another way to write them is another set to every stage."""

from __future__ import annotations

import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sightline.core.errors import UserError
from sightline.datasets import raw_set, raw_shard_file
from sightline.datasets.processed_set import INDEX_SCHEMA, ProcessedSet, open_split
from sightline.datasets.raw_set import RawImage
from tests.datasets.test_processed_set import SPLITS, write_set

IMAGES = [
    RawImage("a", b"1", "cat", None, None, None, "0" * 64, "PNG", 3, 4),
    RawImage("é", b"22", "dog", "train", "g", "x/é.png", "1" * 64, "JPEG", 2**31 - 1, 1),
]


def test_the_fields_of_a_raw_shard() -> None:
    fields = {field.name: (str(field.type), field.nullable) for field in raw_shard_file.shard_schema()}
    text, number = ("string", False), ("int32", False)
    assert fields == {
        "id": text, "image": ("struct<bytes: binary, path: string>", False), "label": text,
        "split": ("string", True), "group": ("string", True), "sha256": text, "format": text,
        "width": number, "height": number,
    }  # fmt: skip


def test_the_fields_of_an_index() -> None:
    text, number = ("string", False), ("int32", False)
    assert {field.name: (str(field.type), field.nullable) for field in INDEX_SCHEMA} == {
        "id": text, "label": number, "split": text, "shard": text, "row": number, "origin": text, "sha256": text,
    }  # fmt: skip


def test_a_shard_has_the_name_that_it_always_had(tmp_path: Path) -> None:
    (shard,) = raw_set.write_raw_shards(IMAGES, tmp_path)
    assert shard.digest == "f34ea3235fff1d5a"
    assert shard.path.name == f"shard-{shard.digest}.parquet"


def test_shards_end_at_the_same_images_as_ever() -> None:
    assert (raw_set.TARGET_ROWS, raw_set.TARGET_BYTES) == (1024, 16_777_216)


def test_a_shard_with_a_column_more_is_refused(tmp_path: Path) -> None:
    (shard,) = raw_set.write_raw_shards(IMAGES, tmp_path)
    table = pq.read_table(shard.path)
    pq.write_table(table.append_column("more", pa.array(["x", "y"])), shard.path)
    with pytest.raises(UserError, match="its columns are not those that ingestion writes"):
        raw_shard_file.read_columns(shard.path)


def test_the_cause_of_a_damage_is_cut_to_a_line() -> None:
    error = raw_shard_file.damaged_error(Path("s"), "x\ny" + "z" * 200)
    assert f"(x y{'z' * 97})" in str(error)


def test_a_split_is_small_for_another_process(tmp_path: Path) -> None:
    write_set(tmp_path)
    split = ProcessedSet(tmp_path).split("train")
    sent = pickle.dumps(split)
    again = pickle.loads(sent)  # noqa: S301 - ours
    assert len(sent) < 500
    assert (again.ids, again.shape) == (split.ids, (3, 4, 2))
    assert (again.images() == split.images()).all()
    assert open_split(tmp_path, "val").ids == ProcessedSet(tmp_path).split("val").ids


def test_a_splits_digest_is_of_its_images_and_labels_alone(tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("two", 1)):  # other pixels, in other places
        write_set(tmp_path / name, seed=seed)
    one, two = (ProcessedSet(tmp_path / name) for name in ("one", "two"))
    digests = [one.split_digest(split) for split in SPLITS]
    assert digests == [two.split_digest(split) for split in SPLITS]
    assert len(set(digests)) == 3
    assert all(len(digest) == 64 for digest in digests)
    raw_set.write_classes(["a", "b", "c"], tmp_path / "two" / raw_set.CLASSES)
    assert ProcessedSet(tmp_path / "two").split_digest("test") != digests[2]
