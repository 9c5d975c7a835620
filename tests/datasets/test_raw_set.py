"""Raw shards follow content."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.core.rejection import RejectionReason
from sightline.datasets import raw_set
from sightline.datasets.raw_set import RawImage, Rejection


def raw(identity: str, data: bytes = b"x", label: str = "a") -> RawImage:
    return RawImage(identity, data, label, None, None, None, hashlib.sha256(data).hexdigest(), "PNG", 1, 1)


def write(images: list[RawImage], root: Path) -> dict[str, bytes]:
    root.mkdir()
    raw_set.write_raw_shards(sorted(images, key=lambda image: image.id), root)
    return {path.name: path.read_bytes() for path in root.iterdir()}


def shard_contents(ids: list[str]) -> set[tuple[str, ...]]:
    """The ids in each shard of a set of tiny images, without writing them."""
    shards: list[list[str]] = [[]]
    for identity in sorted(ids):
        shards[-1].append(identity)
        if raw(identity).ends_shard():
            shards.append([])
    return {tuple(shard) for shard in shards if shard}


def test_round_trip(tmp_path: Path) -> None:
    images = [raw("é", b"1"), raw("日本", b"22"), raw("a\x01b", b"")]
    write(images, tmp_path / "out")
    found = [image for shard in raw_set.raw_shards(tmp_path / "out") for image in shard.images(batch_size=1)]
    assert sorted(found, key=lambda image: image.id) == sorted(images, key=lambda image: image.id)


def test_unsorted_and_doubled_ids_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'a' came after 'b'"):
        raw_set.write_raw_shards([raw("b"), raw("a")], tmp_path)
    with pytest.raises(ValueError, match="sorted by unique id"):
        raw_set.write_raw_shards([raw("a"), raw("a")], tmp_path)


def test_shards_say_that_they_hold_images_to_hugging_face(tmp_path: Path) -> None:
    write([raw("a")], tmp_path / "out")
    (shard,) = raw_set.raw_shards(tmp_path / "out")
    schema = pq.read_schema(shard.path)
    assert json.loads(schema.metadata[b"huggingface"])["info"]["features"]["image"] == {"_type": "Image"}
    assert schema.field("image").type.field("bytes").type == "binary"


@settings(max_examples=25, deadline=None)
@given(st.sets(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=40), st.randoms())
def test_any_set_is_written_whole_whatever_its_ids(
    tmp_path_factory: pytest.TempPathFactory, ids: set[str], rng: random.Random
) -> None:
    images = [raw(identity, rng.randbytes(20)) for identity in ids]
    out = tmp_path_factory.mktemp("set") / "out"
    write(images, out)
    found = [image for shard in raw_set.raw_shards(out) for image in shard.images()]
    assert {image.id: image.data for image in found} == {image.id: image.data for image in images}


def test_growing_one_by_one_gives_the_files_of_building_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw_set, "TARGET_ROWS", 8)  # many shards of few images
    images = [raw(f"{hashlib.md5(bytes([n])).hexdigest()}", bytes([n])) for n in range(120)]  # noqa: S324
    for count in (1, 2, 3, 60, 119, 120):
        grown = write(images[:count], tmp_path / f"grown-{count}")
    assert grown == write(images[::-1], tmp_path / "at-once")
    assert len(grown) > 4


def test_one_image_among_60_000_changes_at_most_two_shards() -> None:
    ids = [f"{n:06}.png" for n in range(60_000)]
    before = shard_contents(ids)
    changed = [len(shard_contents([*ids, f"{n:06}.new.png"]) - before) for n in range(0, 60_000, 15_000)]
    assert 40 < len(before) < 80
    assert max(changed) <= 2


def test_a_shard_of_large_images_is_bounded_by_bytes() -> None:
    one = raw("", b"\0" * (4 * 2**20))
    big = [one._replace(id=f"{n:05}") for n in range(400)]
    ends = sum(image.ends_shard() for image in big)
    assert 400 * 4 * 2**20 / ends < 2 * raw_set.TARGET_BYTES


def test_what_an_image_says_is_in_its_shards_name(tmp_path: Path) -> None:
    (one,) = write([raw("a", label="cat")], tmp_path / "1")
    (two,) = write([raw("a", label="dog")], tmp_path / "2")
    assert one != two


def test_rejections_are_sorted(tmp_path: Path) -> None:
    rejections = [
        Rejection("b", RejectionReason.EMPTY),
        Rejection("a", RejectionReason.TRUNCATED, "z"),
        Rejection("a", RejectionReason.CORRUPT),
    ]
    raw_set.write_rejected(rejections, tmp_path / "r.parquet")
    raw_set.write_rejected([], tmp_path / "none.parquet")
    table = pq.read_table(tmp_path / "r.parquet")
    assert table.to_pylist() == [
        {"id": "a", "reason": "corrupt", "detail": ""},
        {"id": "a", "reason": "truncated", "detail": "z"},
        {"id": "b", "reason": "empty", "detail": ""},
    ]
    assert pq.read_table(tmp_path / "none.parquet").num_rows == 0


def test_a_class_map_that_was_tampered_with_is_refused(tmp_path: Path) -> None:
    raw_set.write_classes(["b", "a"], tmp_path / "classes.json")
    assert raw_set.read_classes(tmp_path / "classes.json") == ["a", "b"]
    (tmp_path / "classes.json").write_text('{"classes": ["b", "a"]}')
    with pytest.raises(ValueError, match="sorted and unique"):
        raw_set.read_classes(tmp_path / "classes.json")
