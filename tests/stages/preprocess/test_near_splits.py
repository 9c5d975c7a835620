"""Near duplicates from the files to the written splits: what ingestion finds, preprocessing keeps together."""

from __future__ import annotations

import io
import itertools
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from sightline.datasets import raw_set
from sightline.datasets.processed_set import INDEX
from sightline.datasets.raw_set import ImageRecord
from sightline.sources.base import Source
from sightline.sources.digits import DigitsSource
from sightline.sources.folder import FolderSource
from sightline.stages.ingest import console, near_duplicates
from sightline.stages.ingest.image_quality import phash
from tests.stages.ingest import helpers
from tests.stages.ingest.test_audit import png, scene
from tests.stages.ingest.test_stage import Given
from tests.stages.preprocess.conftest import Run
from tests.stages.preprocess.sets import configuration

Pair = tuple[str, str]


def splits_of(run: Run, raw: Path, *overrides: str) -> dict[str, str]:
    """Returns the split of every image that preprocessing wrote."""
    index = pq.read_table(run(raw, configuration(*overrides)) / INDEX)
    return dict(zip(index["id"].to_pylist(), index["split"].to_pylist(), strict=True))


def pairs_of(raw: Path) -> list[Pair]:
    """Returns all pairs of near duplicates of a raw set, found by holding every image against every other."""
    images = [image for shard in raw_set.raw_shards(raw) for image in shard.images()]
    hashes = np.array([np.frombuffer(phash(grey(image.data)), np.uint8) for image in images]).view(np.uint64)
    found = []
    for place, image in enumerate(images):
        differing = np.bitwise_count(hashes[place] ^ hashes[place + 1 :]).sum(axis=1)
        found += [
            (image.id, images[place + 1 + other].id)
            for other in np.flatnonzero(differing <= near_duplicates.MAX_DISTANCE)
        ]
    return found


def grey(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("L"))


def ingested(source: Source, out: Path) -> Path:
    helpers.run(source, out)
    return out


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ingested(DigitsSource(), tmp_path_factory.mktemp("digits") / "raw")


@pytest.mark.parametrize("knobs", [(), ("split_seed=7",), ("fold='2 of 5'",)], ids=["", "seed", "fold"])
def test_no_pair_of_digits_straddles_splits(digits: Path, run: Run, knobs: tuple[str, ...]):
    pairs = pairs_of(digits)
    assert len(pairs) == 18
    table = raw_set.read_near(digits / raw_set.NEAR)
    assert set(table) == {identity for pair in pairs for identity in pair}
    assert all(table[one] == table[other] for one, other in pairs)
    assert len(set(table.values())) == 15
    where = splits_of(run, digits, *knobs)
    assert len(where) == 1797
    assert [pair for pair in pairs if where[pair[0]] != where[pair[1]]] == []
    assert set(where.values()) == {"train", "val", "test"}


def test_no_pair_of_photographs_straddles_splits(run: Run, tmp_path: Path):
    root = helpers.shared_data("sign-language-digits")
    paths = [path for path in sorted(root.rglob("*.[jJ][pP][gG]")) if path.stat().st_size < 2**16][::25]
    copies = {}
    for number, path in enumerate(paths):  # every other one comes again, as it does from messengers
        copies[f"{path.parent.name}/{path.name}"] = path.read_bytes()
        if number % 2:
            stream = io.BytesIO()
            Image.open(path).save(stream, "JPEG", quality=60)
            copies[f"{path.parent.name}/sent-{path.name}"] = stream.getvalue()
    raw = ingested(FolderSource(helpers.tree(tmp_path / "hands", copies), 2**25), tmp_path / "raw")
    pairs = pairs_of(raw)
    assert len(pairs) >= len(paths) // 2 * 0.9
    where = splits_of(run, raw)
    assert len(where) == len(copies)
    assert [pair for pair in pairs if where[pair[0]] != where[pair[1]]] == []


@pytest.mark.slow
def test_all_photographs_of_hands(run: Run, tmp_path: Path):
    raw = ingested(FolderSource(helpers.shared_data("sign-language-digits"), 2**25), tmp_path / "raw")
    pairs, where = pairs_of(raw), splits_of(run, raw)
    assert len(where) == 2062
    assert [pair for pair in pairs if where[pair[0]] != where[pair[1]]] == []


def test_bytes_groups_and_looks_connect(run: Run, tmp_path: Path):
    """One film has a copy of a picture that looks like one of another film: all of them are one group."""
    given = []
    for number in range(40):
        one, other, last = scene(3 * number), scene(3 * number + 1), scene(3 * number + 2)
        for name, data, group in (
            ("one", png(one), f"f{number}"),
            ("two", png(other), f"f{number}"),
            ("two again", png(other), None),
            ("two sent", png(other, "JPEG", quality=70), f"g{number}"),
            ("three", png(last), f"g{number}"),
        ):
            given.append(ImageRecord(f"{number}/{name}", data, "ab"[len(given) % 2], None, group))
    where = splits_of(run, ingested(Given(*given), tmp_path / "raw"))
    assert len(where) == 200
    chains = defaultdict(set)
    for identity, split in where.items():
        chains[identity.partition("/")[0]].add(split)
    assert all(len(splits) == 1 for splits in chains.values())
    assert set().union(*chains.values()) == {"train", "val", "test"}


def test_pictures_that_come_later_move_none(run: Run, tmp_path: Path):
    files = {f"{'ab'[number % 2]}/{number:03}.png": png(scene(number)) for number in range(60)}
    later = {f"{'ab'[number % 2]}/{number:03}.sent.jpg": png(scene(number), "JPEG", quality=70) for number in range(60)}
    before = splits_of(run, ingested(FolderSource(helpers.tree(tmp_path / "in", files), 2**25), tmp_path / "1"))
    grown = ingested(FolderSource(helpers.tree(tmp_path / "in", later), 2**25), tmp_path / "2")
    near_group = raw_set.read_near(grown / raw_set.NEAR)
    assert len(near_group) >= 110
    after = splits_of(run, grown)
    assert {identity: after[identity] for identity in before} == before
    assert all(after[identity] == before[first] for identity, first in near_group.items())


def test_the_sources_splits_stay_and_leaks_are_named(run: Run, tmp_path: Path):
    pictures = {f"train/{label}/{n}.png": png(scene(10 * n + k)) for k, label in enumerate("ab") for n in range(8)}
    pictures |= {
        f"test/{label}/{n}.png": png(scene(500 + 10 * n + k)) for k, label in enumerate("ab") for n in range(3)
    }
    leaked = {"test/a/again.jpg": png(scene(30), "JPEG", quality=70)}  # of train/a/3.png
    raw = tmp_path / "raw"
    made = helpers.run(FolderSource(helpers.tree(tmp_path / "in", {**pictures, **leaked}), 2**25), raw)
    assert made.summary["audit"]["two_splits"]["near_examples"] == [["test/a/again.jpg", "train/a/3.png"]]
    where = splits_of(run, raw)
    assert {identity for identity, split in where.items() if split == "test"} == {
        identity for identity in (*pictures, *leaked) if identity.startswith("test/")
    }
    assert set(pictures) - set(where) == {"train/a/3.png"}
    kept = splits_of(run, raw, "leaks=keep")
    assert kept["test/a/again.jpg"] == "test"
    assert set(kept) == {*pictures, *leaked}


def test_a_leak_by_another_copy_or_a_group_is_named(tmp_path: Path):
    """The copy without a split stands for its content; the leak is that of the other copy."""
    given = [
        ImageRecord("1", png(scene(1)), "a"),
        ImageRecord("2", png(scene(1)), "a", "test"),
        ImageRecord("3", png(scene(1), "JPEG", quality=70), "b", "train"),
        ImageRecord("4", png(scene(4)), "b", "train", "film"),
        ImageRecord("5", png(scene(5)), "b", "val", "film"),
        ImageRecord("6", png(scene(6)), "b", "val", "other film"),
    ]
    summary = helpers.run(Given(*given), tmp_path / "raw").summary
    found = summary["audit"]["two_splits"]
    assert (found["groups"], found["near_groups"], found["source_groups"]) == (0, 1, 1)
    assert found["source_examples"] == ["film"]
    assert any("2 groups" in line and "several splits" in line for line in console.summary_lines(summary))


def test_many_of_one_kind_are_found(tmp_path: Path):
    """Bursts of pictures that all look alike, more of them than a hash is held against neighbours."""
    base = scene(1)
    rng = np.random.default_rng(0)
    files = {
        f"a/{n:03}.png": png(np.clip(base.astype(int) + rng.integers(-3, 4, base.shape), 0, 255).astype(np.uint8))
        for n in range(150)
    }
    files |= {f"b/{n}.png": png(scene(n)) for n in range(2, 5)}
    raw = ingested(FolderSource(helpers.tree(tmp_path / "in", files), 2**25), tmp_path / "raw")
    groups = list(itertools.groupby(sorted(raw_set.read_near(raw / raw_set.NEAR).values())))
    assert len(groups) == 1
    assert len(raw_set.read_near(raw / raw_set.NEAR)) == 150
