"""Findings of the audit."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from sightline.datasets import raw_set
from sightline.datasets.raw_set import ImageRecord
from sightline.sources.folder import FolderSource
from sightline.stages.ingest import audit, console, image_quality, near_duplicates
from sightline.stages.ingest.image_quality import measure_quality, phash
from tests.stages.ingest.helpers import picture, run, shared_data, tree
from tests.stages.ingest.test_stage import Given


def png(pixels: npt.NDArray[np.uint8], kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def scene(seed: int, side: int = 96) -> npt.NDArray[np.uint8]:
    """A picture with structure at all scales, as photographs have."""
    rng = np.random.default_rng(seed)
    total = np.zeros((side, side))
    for level in (3, 6, 12, 24, 48):
        total += cv2.resize(rng.normal(0, 1 / level, (level, level)), (side, side), interpolation=cv2.INTER_CUBIC) * 3
    grain = rng.normal(0, 10, (side, side))
    return np.asarray(np.clip(128 + 60 * total + grain, 0, 255), np.uint8)


def test_findings_are_counted_and_named(tmp_path: Path) -> None:
    one, two, three = scene(1), scene(2), scene(3)
    files = {
        "train/cat/one.png": png(one),
        "train/cat/same.png": png(one),
        "train/dog/same.png": png(one),
        "test/cat/same.png": png(one),
        "train/cat/two.png": png(two),
        "test/cat/again.jpg": png(two, "JPEG", quality=60),
        "train/cat/three.png": png(three),
        "train/dog/is-a.png": png(scene(4), "JPEG"),
        "train/dog/dark.png": png(scene(5) // 8),
        "train/dog/bright.png": png(255 - scene(6) // 30),
        "train/dog/blurred.png": png(np.asarray(cv2.GaussianBlur(scene(7, 256), (0, 0), 24), np.uint8)),
        "train/dog/long.png": png(scene(8)[:20]),
    }
    found = run(FolderSource(tree(tmp_path / "in", files), 2**20), tmp_path / "out").summary["audit"]
    written = raw_set.read_near(tmp_path / "out" / raw_set.NEAR)
    assert written == dict.fromkeys(["test/cat/again.jpg", "train/cat/two.png"], "test/cat/again.jpg")
    assert found["images"] == {"cat": {"test": 2, "train": 4}, "dog": {"train": 6}}
    assert found["exact_duplicates"] == {
        "groups": 1,
        "images": 4,
        "examples": [["test/cat/same.png", "train/cat/one.png", "train/cat/same.png", "train/dog/same.png"]],
    }
    assert found["two_labels"]["groups"] == 1
    assert found["near_duplicates"] == {"groups": 1, "examples": [["test/cat/again.jpg", "train/cat/two.png"]]}
    assert (found["two_splits"]["groups"], found["two_splits"]["near_groups"]) == (1, 1)
    assert found["wrong_extension"] == {"images": 1, "examples": ["train/dog/is-a.png is JPEG"]}
    assert found["dark"]["examples"] == ["train/dog/dark.png"]
    assert found["bright"]["examples"] == ["train/dog/bright.png"]
    assert "train/dog/blurred.png" in found["blurred"]["examples"]
    assert found["odd_shape"]["examples"] == ["train/dog/long.png"]
    assert found["sizes"]["width"] == {"min": 96, "median": 96, "max": 256}
    assert found["modes"] == {"L": 12}
    assert found["formats"] == {"JPEG": 2, "PNG": 10}
    text = "\n".join(audit.finding_lines(found))
    for words in (
        "same bytes under several labels",
        "near duplicates",
        "in several splits",
        "extension",
        "unusual shape",
    ):
        assert words in text


def test_ten_findings_of_a_kind_are_named_and_all_are_counted(tmp_path: Path) -> None:
    twins = [ImageRecord(f"{n:02}{copy}.jpg", png(scene(n)), "x", "train") for n in range(12) for copy in "ab"]
    near = [ImageRecord(f"{n:02}near.jpg", png(scene(n), "JPEG", quality=60), "x", "train") for n in range(12)]
    crowd = [ImageRecord(f"z{n:02}.png", png(scene(99)), "x", "train") for n in range(12)]
    found = run(Given(*twins, *near, *crowd), tmp_path / "out").summary["audit"]
    assert (found["exact_duplicates"]["groups"], found["exact_duplicates"]["images"]) == (13, 36)
    assert found["exact_duplicates"]["examples"] == [[f"{n:02}a.jpg", f"{n:02}b.jpg"] for n in range(10)]
    assert found["wrong_extension"]["images"] == 24
    assert found["wrong_extension"]["examples"] == [f"{n:02}{copy}.jpg is PNG" for n in range(5) for copy in "ab"]
    assert found["near_duplicates"]["groups"] == 12
    assert found["near_duplicates"]["examples"] == [[f"{n:02}a.jpg", f"{n:02}near.jpg"] for n in range(10)]
    assert found["two_splits"]["near_groups"] == 0  # the source has one alone
    crowd_alone = run(Given(*crowd), tmp_path / "crowd").summary["audit"]
    assert crowd_alone["exact_duplicates"]["examples"] == [[f"z{n:02}.png" for n in range(10)]]
    assert "12 groups of near duplicates, such as 00a.jpg = 00near.jpg" in audit.finding_lines(found)


def test_the_median_size_is_that_of_the_image_in_the_middle(tmp_path: Path) -> None:
    sides = (10, 20, 30, 40, 50, 60, 70)
    records = [ImageRecord(str(side), png(scene(1, side)), "x") for side in sides]
    sizes = run(Given(*records), tmp_path / "out").summary["audit"]["sizes"]
    assert sizes["width"] == sizes["height"] == {"min": 10, "median": 40, "max": 70}


def test_few_bits_of_sixteen_have_a_line_with_the_remedy(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(scene(1).astype(np.uint16) << 4).save(stream, "PNG")
    found = run(Given(ImageRecord("b", stream.getvalue(), "x")), tmp_path / "out").summary["audit"]
    (line,) = (line for line in audit.finding_lines(found) if "16-bit" in line)
    assert line.startswith(
        "1 image with 16-bit samples that use 14 bits or fewer, such as b: they become dark with few"
    )
    assert line.endswith("set preprocess.sample_bits=12")


def test_a_clean_set_has_nothing_said_about_it(tmp_path: Path) -> None:
    result = run(Given(*(ImageRecord(str(n), png(scene(n)), "ab"[n % 2]) for n in range(20))), tmp_path / "out")
    assert console.summary_lines(result.summary) == ["20 images of 2 classes in 1 shard"]


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (3, 4), (63, 64), (64, 200), (1000, 1200)])
def test_any_shape_can_be_looked_at(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    assert len(measure_quality(pixels).phash) == image_quality.HASH_BYTES
    assert measure_quality(pixels).phash == phash(pixels)


def distance(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> int:
    a, b = (np.frombuffer(phash(each), np.uint8) for each in (one, other))
    return int(np.bitwise_count(a ^ b).sum())


def saved_again(pixels: npt.NDArray[np.uint8], quality: int) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(png(pixels, "JPEG", quality=quality))))


def test_copies_are_near_and_others_far() -> None:
    scenes = [scene(n) for n in range(60)]
    copies = [
        [
            distance(one, np.asarray(cv2.resize(one, (48, 48), interpolation=cv2.INTER_AREA), np.uint8))
            for one in scenes
        ],
        [distance(one, saved_again(one, 30)) for one in scenes],
        [distance(one, np.clip(one.astype(int) + 12, 0, 255).astype(np.uint8)) for one in scenes],
    ]
    for kind in copies:
        assert np.mean(np.array(kind) <= near_duplicates.MAX_DISTANCE) >= 0.9
    assert min(distance(a, b) for a, b in itertools.pairwise(scenes)) > 40


def test_near_pairs_are_those_of_comparing_all() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 256, (300, image_quality.HASH_BYTES), np.uint8)
    for number in range(100):  # copies with 0 to 19 bits turned
        hashes[200 + number] = hashes[number]
        for bit in rng.choice(256, number % 20, replace=False):
            hashes[200 + number, bit // 8] ^= 1 << (bit % 8)
    every = [(i, j) for i in range(300) for j in range(i + 1, 300)]
    expected = [
        (i, j) for i, j in every if np.bitwise_count(hashes[i] ^ hashes[j]).sum() <= near_duplicates.MAX_DISTANCE
    ]
    assert [tuple(pair) for pair in near_duplicates.near_pairs(hashes).tolist()] == expected
    assert near_duplicates.near_pairs(hashes[:0]).shape == (0, 2)


@pytest.mark.parametrize(("differing", "near"), [(0, True), (12, True), (13, False)])
def test_near_duplicates_differ_in_twelve_bits_at_most(differing: int, near: bool) -> None:
    hashes = np.full((2, image_quality.HASH_BYTES), 0x55, np.uint8)
    hashes[1, :differing] ^= 1
    assert len(near_duplicates.near_pairs(hashes)) == near


@pytest.mark.parametrize(("bits", "telling"), [(63, False), (64, True), (192, True), (193, False)])
def test_a_hash_tells_something_where_a_quarter_to_three_quarters_of_its_bits_are_set(bits: int, telling: bool) -> None:
    hashes = np.packbits(np.arange(256) < bits)[None].repeat(2, axis=0)
    assert len(near_duplicates.near_pairs(hashes)) == telling


def test_a_pair_is_found_whatever_stands_between_and_however_alike_half_of_each_band_is() -> None:
    hashes = np.random.default_rng(0).integers(0, 256, (300, image_quality.HASH_BYTES), np.uint8)
    hashes[:, 1::2] = 0x0F
    hashes[299] = hashes[0]
    assert near_duplicates.near_pairs(hashes).tolist() == [[0, 299]]


@pytest.mark.parametrize(("between", "found"), [(62, True), (63, False)])
def test_a_hash_is_held_against_63_of_those_that_share_a_band(between: int, found: bool) -> None:
    """So that a crowd of pictures that look alike in part costs no square of its number."""
    rng = np.random.default_rng(0)
    hashes = np.zeros((between + 2, image_quality.HASH_BYTES), np.uint8)
    hashes[:, :8] = 0xFF  # four bands that all have; in every order of the rest the first is first and the last last
    hashes[-1, 8::2] = 0x80
    hashes[1:-1, 8::2] = np.arange(1, between + 1)[:, None]
    hashes[1:-1, 9::2] = rng.integers(0, 256, (between, 12))
    assert near_duplicates.near_pairs(hashes).tolist() == ([[0, between + 1]] if found else [])


def test_the_progress_of_comparing_counts_every_hash_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def counted(items: range, _what: str, total: int, each: float) -> range:
        assert len(items) * each == total == 40
        return items

    monkeypatch.setattr(near_duplicates, "track", counted)
    assert len(near_duplicates.near_pairs(np.full((40, image_quality.HASH_BYTES), 0x55, np.uint8))) == 40 * 39 // 2


def test_pictures_whose_hash_says_nothing_are_near_to_none() -> None:
    """Of one colour, or of a row or two, most frequencies are equal: unrelated pictures would have one hash."""
    rng = np.random.default_rng(0)
    thin = [rng.integers(0, 256, (2, 2000), np.uint8) for _ in range(12)]
    plain = [np.full((40, 40), level, np.uint8) for level in range(0, 250, 25)]
    photographs = [cv2.resize(rng.integers(0, 256, (6, 6), np.uint8), (64, 64)) for _ in range(3)]
    pictures = [*thin, *plain, photographs[0], photographs[1], photographs[0], photographs[2]]
    hashes = np.stack([np.frombuffer(phash(picture), np.uint8) for picture in pictures])
    first = len(thin) + len(plain)
    assert near_duplicates.near_pairs(hashes).tolist() == [[first, first + 2]]


def test_groups_are_what_pairs_connect() -> None:
    pairs = np.array([[4, 5], [0, 2], [2, 7], [7, 8]])
    assert near_duplicates.near_groups(pairs) == [[0, 2, 7, 8], [4, 5]]
    assert near_duplicates.near_groups(pairs[:0]) == []


def test_few_photographs_are_called_near_duplicates() -> None:
    root = shared_data("sign-language-digits")
    hashes = []
    for path in sorted(root.rglob("*.[jJ][pP][gG]"))[::7]:
        with Image.open(path) as image:
            hashes.append(np.frombuffer(phash(np.asarray(image.convert("L"))), np.uint8))
    assert len(hashes) > 200
    assert len(near_duplicates.near_pairs(np.array(hashes))) == 0


def test_a_picture_of_one_colour_is_blurred_and_no_error() -> None:
    assert image_quality.BLURRED in measure_quality(np.full((30, 30), 128, np.uint8)).flags


def test_an_unknown_extension_is_no_wrong_one(tmp_path: Path) -> None:
    result = run(Given(ImageRecord("a.dat", picture(1), "x"), ImageRecord("b", picture(2), "x")), tmp_path / "out")
    assert result.summary["audit"]["wrong_extension"]["images"] == 0


@pytest.mark.parametrize("side", [10, 1500], ids=["small", "large"])
def test_width_and_height_are_those_of_the_picture_as_seen(tmp_path: Path, side: int) -> None:
    """Phones store portraits lying, and turn them by EXIF; large files are decoded another way than small ones."""
    lying = np.asarray(cv2.resize(scene(1), (2 * side, side)), np.uint8)
    given = []
    for turn in range(1, 9):
        exif = Image.Exif()
        exif[274] = turn
        given.append(ImageRecord(str(turn), png(lying, "JPEG", exif=exif), "ab"[turn % 2]))
    result = run(Given(*given), tmp_path / "out")
    tall, wide = (side, 2 * side), (2 * side, side)
    found = {identity: (image.width, image.height) for identity, image in result.images.items()}
    assert found == {str(turn): tall if turn >= 5 else wide for turn in range(1, 9)}
    assert result.summary["audit"]["sizes"]["most_common"] == {f"{w}x{h}": 4 for w, h in (tall, wide)}
