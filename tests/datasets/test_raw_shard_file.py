"""A raw shard that is not as it was written is refused, wherever the bit has flipped."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from sightline.core import files
from sightline.core.errors import UserError
from sightline.datasets import raw_set
from sightline.datasets.raw_set import RawImage, RawShard
from sightline.imaging.transform.pipeline import Transform
from sightline.stages.preprocess.pixel_task import PixelTask
from sightline.stages.preprocess.raw_table import RawSet
from sightline.stages.preprocess.stage import build_transform
from tests.stages.ingest.helpers import picture
from tests.stages.preprocess.sets import configuration

FLIPS = 400


def rows(count: int = 24, first: int = 0) -> Iterator[RawImage]:
    for n in range(first, first + count):
        data, split, group = picture(n, 8), (None, "train", "test")[n % 3], f"g{n // 10}" if n % 5 == 0 else None
        yield RawImage(f"é{n:03}", data, "ab"[n % 2], split, group, f"x/{n}.png", files.sha256(data), "PNG", 8, n + 1)


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A raw set of one shard."""
    monkeypatch.setattr(RawImage, "ends_shard", lambda _: False)
    root = tmp_path / "raw"
    root.mkdir()
    raw_set.write_raw_shards(rows(), root)
    raw_set.write_classes(["a", "b"], root / raw_set.CLASSES)
    raw_set.write_near([("é001", "é001"), ("é007", "é001")], root / raw_set.NEAR)
    return root


def as_rows(root: Path) -> Any:
    return [list(shard.images()) for shard in raw_set.raw_shards(root)]


@pytest.fixture
def transform() -> Transform:
    return build_transform(configuration())


def as_pixels(root: Path, transform: Transform, out: Path) -> Any:
    """Returns all that preprocessing makes of a raw set, without a cache."""
    images = RawSet.read(root)
    out.unlink(missing_ok=True)
    facts = PixelTask("key", images.shards[0], 0.0, transform.to_dict(), images.contents_of(0)).write(out)
    columns = images.table.to_pydict(), images.labels().tolist(), images.splits().tolist()
    return facts.pixels, columns, images.groups().codes.tolist()


@pytest.mark.parametrize("reader", ["rows", "preprocessing"])
def test_a_flipped_bit_is_noticed(reader: str, raw: Path, transform: Transform, tmp_path: Path) -> None:
    def read() -> Any:
        return as_rows(raw) if reader == "rows" else as_pixels(raw, transform, tmp_path / "pixels.npy")

    (shard,) = (each.path for each in raw_set.raw_shards(raw))
    whole, expected, details = shard.read_bytes(), read(), []
    rng = random.Random(0)
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    for number in range(FLIPS):
        at = rng.randrange(footer if number % 2 else 0, len(whole))
        changed = bytearray(whole)
        changed[at] ^= 1 << rng.randrange(8)
        shard.write_bytes(changed)
        try:
            assert read() == expected, at
        except UserError as error:
            details.append(str(error))
    assert len(details) > FLIPS // 4
    line = re.escape(f"{shard} is damaged (") + r".*\): run the ingest stage again \(dvc repro -f -s ingest\)"
    assert [one for one in details if not re.fullmatch(line, one)] == []


def rewritten(shard: Path, change: Callable[[dict[str, list[Any]]], None]) -> None:
    """Writes a shard anew, sound as Parquet, with other content."""
    table = pq.read_table(shard)
    columns = table.to_pydict()
    change(columns)
    pq.write_table(type(table).from_pydict(columns, schema=table.schema), shard, write_page_checksum=True)


@pytest.mark.parametrize("column", ["id", "label", "split", "group", "sha256", "format", "width", "height", "path"])
def test_another_cell_is_noticed(column: str, raw: Path) -> None:
    (shard,) = (each.path for each in raw_set.raw_shards(raw))

    def change(columns: dict[str, list[Any]]) -> None:
        if column == "path":
            columns["image"][3]["path"] = "elsewhere"
        else:
            columns[column][3] = 99 if column in ("width", "height") else "e" * 64

    rewritten(shard, change)
    for read in (as_rows, RawSet.read):
        with pytest.raises(UserError, match="is damaged"):
            read(raw)


def test_another_picture_is_noticed(raw: Path, transform: Transform, tmp_path: Path) -> None:
    (shard,) = (each.path for each in raw_set.raw_shards(raw))
    rewritten(shard, lambda columns: columns["image"][3].update(bytes=picture(99, 8)))
    with pytest.raises(UserError, match="the bytes of 'é003' have changed"):
        as_rows(raw)
    with pytest.raises(UserError, match="the bytes of image 3 have changed"):
        as_pixels(raw, transform, tmp_path / "pixels.npy")


def test_a_shard_under_anothers_name_is_noticed(raw: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (second,) = raw_set.write_raw_shards(rows(5, 100), other)
    (shard,) = raw_set.raw_shards(raw)
    shutil.copyfile(second.path, shard.path)
    with pytest.raises(UserError, match="do not match its name"):
        RawSet.read(raw)


def test_a_damaged_or_missing_table_of_near_duplicates_is_noticed(raw: Path) -> None:
    path = raw / raw_set.NEAR
    whole = path.read_bytes()
    at = whole.index("é007".encode())
    path.write_bytes(whole[:at] + b"\xc3\xaa" + whole[at + 2 :])
    with pytest.raises(UserError, match=r"near\.parquet is damaged"):
        RawSet.read(raw).groups()
    path.unlink()
    with pytest.raises(UserError, match=r"near\.parquet is missing: run the ingest stage again"):
        RawSet.read(raw).groups()


def test_a_missing_shard_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is missing"):
        list(RawShard(tmp_path / "shard-0123456789abcdef.parquet").images())
