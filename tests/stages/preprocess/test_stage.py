"""The stage: a processed set is a pure function of the raw set and the configuration, and costs what changed."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sightline.core.code_digest import CodeDigests
from sightline.core.errors import UserError
from sightline.datasets import raw_set
from sightline.datasets.processed_set import INDEX, INDEX_SCHEMA, TRANSFORM, ProcessedSet
from sightline.imaging.transform.pipeline import Transform
from sightline.stages.preprocess import code_version, stage
from sightline.stages.preprocess.cache import PixelCache
from sightline.stages.preprocess.console import set_lines
from sightline.stages.preprocess.copy_task import CopyTask
from sightline.stages.preprocess.raw_table import RawSet
from sightline.stages.preprocess.stage import preprocess
from tests.stages.preprocess.conftest import Run
from tests.stages.preprocess.sets import Picture, configuration, content, pictures, write_set

SPLITS = raw_set.SPLITS


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The digests of the pixels of all images that the transform runs over."""
    seen: list[str] = []
    run = Transform.run

    def counting(self: Transform, image: np.ndarray) -> tuple[np.ndarray, list[str]]:
        seen.append(image.tobytes().hex())
        return run(self, image)

    monkeypatch.setattr(Transform, "run", counting)
    monkeypatch.setattr("sightline.stages.preprocess.plan_tasks.seconds_per_image", lambda *_: 0.0)
    return seen


def by_id(folder: Path) -> dict[str, tuple[str, int, bytes]]:
    """Returns (split, label, pixels) of every row."""
    data = ProcessedSet(folder)
    out = {}
    for split in SPLITS:
        rows = data.split(split)
        for place, (identity, label) in enumerate(zip(rows.ids, rows.labels.tolist(), strict=True)):
            out[identity] = split, label, rows.images([place]).tobytes()
    return out


def test_every_image_is_the_contracts(run: Run, tmp_path: Path):
    of = pictures(60)
    out = run(write_set(tmp_path / "raw", of), configuration("clean=standard"))
    transform = Transform.load(out / TRANSFORM)
    rows = by_id(out)
    assert set(rows) == {picture.id for picture in of}
    for picture in of:
        assert rows[picture.id][1:] == ("ab".index(picture.label), transform(picture.pixels()).tobytes())


def test_the_index_is_complete_and_sorted(run: Run, tmp_path: Path):
    out = run(write_set(tmp_path / "raw", pictures(60)), configuration())
    index = pq.read_table(out / INDEX)
    assert index.schema.equals(INDEX_SCHEMA)
    assert index["id"].to_pylist() == sorted(index["id"].to_pylist())
    assert index["origin"].equals(index["id"])
    rows = set(zip(index["shard"].to_pylist(), index["row"].to_pylist(), strict=True))
    assert len(rows) == 60
    shapes = {path.name: np.load(path).shape for path in out.glob("*.npy")}
    assert len(shapes) > 2
    assert rows == {(name, row) for name, shape in shapes.items() for row in range(shape[0])}


def test_statistics_are_those_of_the_training_split(run: Run, tmp_path: Path):
    for more in ((), ("augment=light", "copies=2")):
        out = run(write_set(tmp_path / f"raw{len(more)}", pictures(40)), configuration(*more))
        data = ProcessedSet(out)
        levels = data.split("train").images().astype(np.float64) / 255
        mean, std = data.statistics
        np.testing.assert_allclose(mean, levels.mean(axis=(0, 1, 2)), atol=1e-6)
        np.testing.assert_allclose(std, levels.std(axis=(0, 1, 2)), atol=1e-6)


def test_a_set_grown_image_by_image_is_the_set_made_at_once(run: Run, tmp_path: Path):
    cache = tmp_path / "memo"
    for count in (20, 21, 35, 60):
        grown = run(write_set(tmp_path / f"raw-{count}", pictures(count)), configuration(), cache)
    assert content(grown) == content(run(tmp_path / "raw-60", configuration()))


def test_growing_changes_few_files_and_moves_no_image(run: Run, tmp_path: Path):
    before = run(write_set(tmp_path / "a", pictures(100)), configuration())
    after = run(write_set(tmp_path / "b", [*pictures(100), Picture("i00050x", 1000)]), configuration())
    changed = {path.name for path in before.glob("*.npy")} - {path.name for path in after.glob("*.npy")}
    assert len(changed) == 1
    rows = by_id(after)
    assert {identity: rows[identity] for identity in by_id(before)} == by_id(before)


def test_nothing_is_computed_twice(run: Run, tmp_path: Path, counted: list[str]):
    cache = tmp_path / "memo"
    raw = write_set(tmp_path / "raw", pictures(60))
    first = run(raw, configuration(), cache)
    assert len(counted) == 60
    second = run(raw, configuration(), cache)
    assert len(counted) == 60
    assert content(first) == content(second)


@pytest.mark.parametrize("more", ["val_fraction=0.3", "split_seed=5", "fold='1 of 4'", "leaks=keep", "augment_seed=3"])
def test_another_split_computes_no_pixels(run: Run, tmp_path: Path, counted: list[str], more: str):
    raw = write_set(tmp_path / "raw", pictures(40))
    run(raw, configuration(), tmp_path / "memo")
    run(raw, configuration(more), tmp_path / "memo")
    assert len(counted) == 40


def test_other_labels_compute_no_pixels(run: Run, tmp_path: Path, counted: list[str]):
    of = pictures(40)
    run(write_set(tmp_path / "raw", of), configuration(), tmp_path / "memo")
    relabelled = [dataclasses.replace(picture, label="c", id=f"x{picture.id}") for picture in of]
    monkey = write_set(tmp_path / "other", relabelled)
    run(monkey, configuration(), tmp_path / "memo")
    assert len(counted) <= 40 + 40  # other ids may cut other shards ...
    same_ids = [dataclasses.replace(picture, label="c") for picture in of]
    before = len(counted)
    out = run(write_set(tmp_path / "third", same_ids), configuration(), tmp_path / "memo")
    assert len(counted) == before  # ... but other labels cost nothing
    assert ProcessedSet(out).classes == ["c"]


def test_one_changed_image_costs_one_image(run: Run, tmp_path: Path, counted: list[str]):
    of = pictures(100)
    run(write_set(tmp_path / "raw", of), configuration(), tmp_path / "memo")
    counted.clear()
    changed = [dataclasses.replace(p, look=5000) if p.id == "i00042" else p for p in of]
    raw = write_set(tmp_path / "changed", changed)
    out = run(raw, configuration(), tmp_path / "memo")
    assert len(counted) == 1
    assert content(out) == content(run(raw, configuration()))


def test_notes_and_refusals_come_with_images_known_from_before(run: Run, tmp_path: Path, counted: list[str]):
    """Blank images are refused again, images on which segmentation fell back are counted again."""
    options = ("clean=standard", "segment=threshold")
    blank = [dataclasses.replace(p, side=1) if number % 9 == 0 else p for number, p in enumerate(pictures(60))]
    run(write_set(tmp_path / "raw", blank), configuration(*options), tmp_path / "memo")
    more = [*blank, Picture("i00030x", 777)]
    raw = write_set(tmp_path / "more", more)
    out = run(raw, configuration(*options), tmp_path / "memo")
    assert content(out) == content(run(raw, configuration(*options)))
    summary = json.loads((out / "preprocess.json").read_text())
    assert summary["notes"]["blank"] == 7
    assert summary["images"] == 61 - 7


def test_a_damaged_memo_is_mended(run: Run, tmp_path: Path):
    cache = tmp_path / "memo"
    raw = write_set(tmp_path / "raw", pictures(60))
    first = content(run(raw, configuration(), cache))
    entry = PixelCache(cache).entries()[0]
    path = cache / entry.key / "pixels.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 255
    path.unlink()
    path.write_bytes(data)
    assert content(run(raw, configuration(), cache)) == first


@pytest.mark.parametrize("warm", [False, True])
def test_what_another_run_prunes_is_made_again(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[str], warm: bool
):
    cache = tmp_path / "memo"
    raw = write_set(tmp_path / "raw", pictures(60))
    options = ("augment=digits", "copies=2")
    expected = content(run(raw, configuration(*options)))
    if warm:
        run(raw, configuration(*options), cache)
    counted.clear()
    link, pruned = PixelCache.link, set()

    def prune_first(self: PixelCache, key: str, to: Path) -> bool:
        if key not in pruned:
            pruned.add(key)
            shutil.rmtree(self.root / key)
        return link(self, key, to)

    with monkeypatch.context() as patch:
        patch.setattr(PixelCache, "link", prune_first)
        assert content(run(raw, configuration(*options), cache)) == expected
    assert len(counted) == 60


def test_known_images_that_another_run_prunes_are_made_again(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: list[str]
):
    cache = tmp_path / "memo"
    run(write_set(tmp_path / "raw", pictures(100)), configuration(), cache)
    raw = write_set(tmp_path / "more", [*pictures(100), Picture("i00050x", 1000)])
    expected = content(run(raw, configuration()))
    counted.clear()
    before = stage.run_tasks

    def prune_first(tasks: Any, of: PixelCache, *others: Any) -> Any:
        of.prune(0)
        return before(tasks, of, *others)

    monkeypatch.setattr(stage, "run_tasks", prune_first)
    assert content(run(raw, configuration(), cache)) == expected


def test_looking_through_the_memo_is_no_use_of_all_of_it(run: Run, tmp_path: Path):
    cache = PixelCache(tmp_path / "memo")
    run(write_set(tmp_path / "other", pictures(60, first=500)), configuration(), cache.root)
    run(write_set(tmp_path / "raw", pictures(60)), configuration(), cache.root)
    for entry in cache.entries():
        os.utime(cache.root / entry.key, (1000, 1000))
    # One shard has another image: it takes the others from the entry that the set no longer has.
    run(write_set(tmp_path / "more", [*pictures(60), Picture("i00030x", 1000)]), configuration(), cache.root)
    unused = [entry for entry in cache.entries() if entry.used == 1000]
    raw = RawSet.read(tmp_path / "other")
    assert len(unused) == len({raw.contents_of(shard) for shard in range(len(raw.shards))})


def test_the_output_may_become_read_only_and_go(run: Run, tmp_path: Path):
    """As DVC treats it: protects files, and removes them before the next run."""
    cache = tmp_path / "memo"
    raw = write_set(tmp_path / "raw", pictures(40))
    out = run(raw, configuration(), cache)
    expected = content(out)
    for path in out.iterdir():
        path.chmod(0o444)
    for path in out.iterdir():
        path.unlink()
    assert content(run(raw, configuration(), cache)) == expected


def test_a_memo_without_room_keeps_nothing(run: Run, tmp_path: Path):
    raw = write_set(tmp_path / "raw", pictures(40))
    expected = content(run(raw, configuration()))
    assert content(run(raw, configuration("memo_gib=0"), tmp_path / "memo")) == expected
    assert not (tmp_path / "memo").exists()
    assert content(run(raw, configuration("memo_gib=1e-9"), tmp_path / "memo")) == expected
    assert PixelCache(tmp_path / "memo").entries() == []


def test_other_code_is_another_key(run: Run, tmp_path: Path, counted: list[str], monkeypatch: pytest.MonkeyPatch):
    raw = write_set(tmp_path / "raw", pictures(20))
    run(raw, configuration(), tmp_path / "memo")
    monkeypatch.setattr(code_version, "version", lambda _: "another")
    run(raw, configuration(), tmp_path / "memo")
    assert len(counted) == 40


def test_code_that_makes_pixels_is_part_of_their_key_alone():
    code = CodeDigests(memory=None)
    pixels, copies = (code.closure(code_version.MODULES[kind]).keys() for kind in ("pixels", "copies"))
    transform = {"sightline.imaging.transform.denoise.filters", "sightline.imaging.decode", "sightline.imaging.convert"}
    shared = {"sightline.config.schema", "sightline.stages.preprocess.npy_writer"}
    assert transform | shared | {"sightline.core.rejection"} <= pixels
    assert shared | {"sightline.core.seeds", "sightline.imaging.augment.albumentations_backend"} <= copies
    assert not transform & copies
    assert "sightline.imaging.augment.options" not in pixels


@pytest.mark.parametrize("name", ["numpy", "opencv-python-headless", "pillow", "pywavelets", "simplejpeg"])
def test_libraries_that_make_pixels_are_part_of_the_key(monkeypatch: pytest.MonkeyPatch, name: str):
    before, real = code_version.version.__wrapped__("pixels"), importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda of: "0.1" if of == name else real(of))
    assert code_version.version.__wrapped__("pixels") != before


def test_two_shards_of_the_same_images_are_one_file(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(raw_set.RawImage, "ends_shard", lambda _: True)
    out = run(write_set(tmp_path / "raw", [Picture(f"i{n}", n % 4, "ab"[n % 2]) for n in range(12)]), configuration())
    assert len(list(out.glob("*.npy"))) == 4
    assert len(pq.read_table(out / INDEX)) == 12


# --- splits --------------------------------------------------------------------------------------------------------


def test_near_duplicates_and_groups_stay_together(run: Run, tmp_path: Path):
    of = [
        *pictures(200),
        *(Picture(f"g{n:03}", 500 + n, "a", group=f"film-{n // 5}") for n in range(50)),
    ]
    near = {f"i{n:05}": f"i{n // 4 * 4:05}" for n in range(80)}
    rows = by_id(run(write_set(tmp_path / "raw", of, near), configuration()))
    for first in range(0, 80, 4):
        assert len({rows[f"i{n:05}"][0] for n in range(first, first + 4)}) == 1
    for first in range(0, 50, 5):
        assert len({rows[f"g{n:03}"][0] for n in range(first, first + 5)}) == 1


def test_leaks_are_left_out_and_counted(run: Run, tmp_path: Path):
    of = [*pictures(30, split="train"), *pictures(10, first=100, split="test"), Picture("z", 3, "a", "test")]
    raw = write_set(tmp_path / "raw", of, near={"i00007": "n", "i00101": "n"})
    out = run(raw, configuration())
    rows = by_id(out)
    assert {identity for identity, (split, *_) in rows.items() if split == "test"} == {
        "z",
        *(f"i{n:05}" for n in range(100, 110)),
    }
    assert "i00003" not in rows  # the bytes of z
    assert "i00007" not in rows  # looks like i00101
    summary = json.loads((out / "preprocess.json").read_text())
    assert summary["leaks"] == {"found": 2, "left_out": 2}
    kept = run(raw, configuration("leaks=keep"))
    assert len(by_id(kept)) == 41
    assert json.loads((kept / "preprocess.json").read_text())["leaks"] == {"found": 2, "left_out": 0}
    with pytest.raises(UserError, match=r"preprocess\.leaks=fail: 2 image\(s\).*'i00003' \(train\)"):
        run(raw, configuration("leaks=fail"))


def test_deviation_is_the_largest_difference_of_a_classs_share(run: Run, tmp_path: Path):
    out = run(write_set(tmp_path / "raw", pictures(80)), configuration())
    rows = by_id(out)
    summary = json.loads((out / "preprocess.json").read_text())
    for split in SPLITS:
        labels = [label for where, label, _ in rows.values() if where == split]
        share = np.mean(labels)
        assert summary["largest_class_share_deviation"][split] == pytest.approx(abs(share - 0.5), abs=1e-4)
        assert summary["images_per_split"][split] == len(labels)
        assert summary["images_per_class"]["a"][split] == labels.count(0)


def test_what_leaves_nothing_to_do_is_one_line(run: Run, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no images"):
        run(tmp_path / "empty", configuration())
    with pytest.raises(UserError, match="no training images are left of 3"):
        run(write_set(tmp_path / "raw", pictures(3, split="test")), configuration())
    names = [Picture(f"{split}{n}", 10 * n + len(split), "a", split) for split in SPLITS for n in range(4)]
    with pytest.raises(UserError, match=r"preprocess\.fold=1 of 3: the source names a validation and a test split"):
        run(write_set(tmp_path / "named", names), configuration("fold='1 of 3'"))


# --- augmented copies ----------------------------------------------------------------------------------------------


def test_copies_are_rows_of_the_training_split_that_name_their_origin(run: Run, tmp_path: Path):
    raw = write_set(tmp_path / "raw", pictures(60))
    plain, out = run(raw, configuration()), run(raw, configuration("augment=light", "copies=2"))
    index = pq.read_table(out / INDEX)
    assert index["id"].to_pylist() == sorted(index["id"].to_pylist())
    rows, originals = {row["id"]: row for row in index.to_pylist()}, by_id(plain)
    copies = {identity: row for identity, row in rows.items() if row["origin"] != identity}
    training = {identity for identity, (split, *_) in originals.items() if split == "train"}
    assert set(copies) == {f"{identity}#aug{copy}" for identity in training for copy in (1, 2)}
    for identity, row in copies.items():
        origin = rows[row["origin"]]
        assert identity.startswith(f"{row['origin']}#aug")
        assert (row["label"], row["split"], row["sha256"]) == (origin["label"], "train", origin["sha256"])
    pixels = by_id(out)
    assert {identity: pixels[identity] for identity in originals} == originals
    assert sum(pixels[identity][2] != originals[row["origin"]][2] for identity, row in copies.items()) > len(copies) / 2
    assert len({pixels[identity][2] for identity in copies}) > 0.9 * len(copies)
    assert json.loads((out / "preprocess.json").read_text())["augmented_copies"] == len(copies)


def test_a_copy_depends_on_its_origin_alone(run: Run, tmp_path: Path):
    few = run(write_set(tmp_path / "few", pictures(30)), configuration("augment=light"))
    many = run(write_set(tmp_path / "many", pictures(60)), configuration("augment=light", "copies=3"))
    rows = by_id(many)
    assert {identity: rows[identity] for identity in by_id(few)} == by_id(few)


def test_copies_are_made_once_and_again_for_another_seed(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    done: list[str] = []
    write = CopyTask.write
    monkeypatch.setattr(CopyTask, "write", lambda self, out: (done.append(self.key), write(self, out))[1])
    raw = write_set(tmp_path / "raw", pictures(30))
    first = run(raw, configuration("augment=light"), tmp_path / "memo")
    done.clear()
    assert content(run(raw, configuration("augment=light"), tmp_path / "memo")) == content(first)
    assert not done
    other = run(raw, configuration("augment=light", "augment_seed=1"), tmp_path / "memo")
    assert done
    assert all(key.startswith("copies-") for key in done)
    assert by_id(other) != by_id(first)


def test_an_id_that_a_copy_would_need_is_named(run: Run, tmp_path: Path):
    of = [Picture(f"i{n}", n, "a", "train") for n in range(9)] + [Picture("i4#aug1", 99, "a", "train")]
    raw = write_set(tmp_path / "raw", of)
    with pytest.raises(UserError, match=r"an image has the id 'i4#aug1', which is what a copy of 'i4'"):
        run(raw, configuration("augment=light", "val_fraction=0"))


def test_no_copies_means_no_albumentations(tmp_path: Path):
    import subprocess
    import sys

    raw = write_set(tmp_path / "raw", pictures(20))
    code = f"""
import sys
from pathlib import Path
from typing import Any
from tests.stages.preprocess.sets import configuration
from sightline.stages.preprocess.stage import preprocess
out = Path({str(tmp_path)!r}) / "out"
out.mkdir()
preprocess(Path({str(raw)!r}), configuration(), out)
heavy = {{"torch", "albumentations", "mlflow", "pytorch_lightning", "ray", "distributed", "scipy"}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_labels_outside_the_class_map_are_one_line(run: Run, tmp_path: Path):
    raw = write_set(tmp_path / "raw", pictures(20))
    raw_set.write_classes(["a"], raw / raw_set.CLASSES)
    with pytest.raises(UserError, match="lacks a class"):
        run(raw, configuration())


def test_ids_of_any_letters_are_sorted_as_code_points(run: Run, tmp_path: Path):
    ids = ["ä", "Z", "a", "é", "日本", "\U0001f600", "a b", "a/b", "a#b"]
    of = [Picture(identity, n, "a", "train") for n, identity in enumerate(ids)]
    out = run(write_set(tmp_path / "raw", of), configuration())
    assert pq.read_table(out / INDEX)["id"].to_pylist() == sorted(ids)


def test_the_raw_shards_order_says_nothing(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    raw = write_set(tmp_path / "raw", pictures(60))
    expected = content(run(raw, configuration()))
    listed = raw_set.raw_shards
    monkeypatch.setattr("sightline.stages.preprocess.raw_table.raw_shards", lambda root: listed(root)[::-1])
    assert content(run(raw, configuration())) == expected
    assert isinstance(pq.read_table(raw / raw_set.NEAR), pa.Table)


def test_no_memo_means_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(Path(__file__).parents[3])
    out = tmp_path / "out"
    out.mkdir()
    before = set(Path().iterdir())
    preprocess(write_set(tmp_path / "raw", pictures(20)), configuration(), out)
    assert set(Path().iterdir()) == before


def summary_of(folder: Path, width: tuple[int, int], modes: dict[str, int]) -> Path:
    """Writes what ingestion says of the sizes and the kinds of pixel of a set."""
    side = {"min": width[0], "median": width[1], "max": width[1]}
    (folder / raw_set.SUMMARY).write_text(
        json.dumps({"audit": {"sizes": {"width": side, "height": side}, "modes": modes}})
    )
    return folder


@pytest.mark.parametrize(
    ("width", "modes", "size", "channels", "line"),
    [
        (
            (100, 100),
            {"RGB": 9},
            16,
            1,
            "100 x 100 RGB, prepared to 16 x 16 grey: preprocess.size, preprocess.channels",
        ),
        ((100, 100), {"RGB": 9}, 16, 3, "100 x 100 RGB, prepared to 16 x 16 RGB: preprocess.size"),
        ((20, 100), {"L": 2, "CMYK": 9}, 64, 1, "mostly 100 x 100 CMYK, prepared to 64 x 64 grey: preprocess.channels"),
        ((100, 100), {"I;16": 9}, 16, 1, "100 x 100 grey, prepared to 16 x 16 grey: preprocess.size"),
        ((28, 28), {"L": 9}, 16, 1, None),
        ((8, 8), {"RGB": 9}, 16, 3, None),
    ],
)
def test_detail_and_colour_that_the_settings_give_up_are_said(
    tmp_path: Path, width: tuple[int, int], modes: dict[str, int], size: int, channels: int, line: str | None
) -> None:
    config = configuration(f"size={size}", f"channels={channels}")
    counts = {"images": 9, "augmented_copies": 0, "images_per_split": {}, "notes": {}, "leaks": {"found": 0}}
    counts |= {"division": {"asked": {}}, "images_per_class": {}, "largest_class_share_deviation": {"test": 0}}
    printed = set_lines(counts, config, summary_of(tmp_path, width, modes))
    assert printed[1:] == ([line] if line else [])


def test_a_set_without_its_summary_is_one_line(tmp_path: Path) -> None:
    counts = {"images": 9, "augmented_copies": 0, "images_per_split": {}}
    with pytest.raises(UserError, match=r"ingest\.json is missing: run the ingest stage"):
        set_lines(counts, configuration(), tmp_path)
