"""What is said of splits that are not as they were asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightline.core.errors import UserError
from sightline.stages.preprocess.division import lines, require_splits
from sightline.stages.preprocess.stage import preprocess
from tests.stages.preprocess.sets import Picture, configuration, pictures, write_set

SEED = "another preprocess.split_seed may come closer"


def divided(tmp_path: Path, of: list[Picture], *overrides: str) -> dict:
    out = tmp_path / "out"
    out.mkdir(parents=True)
    return preprocess(write_set(tmp_path / "raw", of), configuration(*overrides, "backend.workers=1"), out)


def test_a_split_as_asked_is_not_spoken_of(tmp_path: Path):
    assert lines(divided(tmp_path, pictures(600))) == []


def test_a_small_set_may_come_closer_by_another_seed(tmp_path: Path):
    summary = divided(tmp_path, pictures(30), "split_seed=1")
    assert summary["division"] == {
        "asked": {"val": 0.15, "test": 0.2},
        "groups": 30,
        "largest_group": 1,
        "effective_groups": 30,
    }
    said = lines(summary)
    assert said
    assert all(SEED in line for line in said)


def test_few_large_groups_are_named_as_the_cause_with_the_shares(tmp_path: Path):
    of = [Picture(f"i{n:05}", n, "ab"[n % 2], group=f"g{n % 5}") for n in range(600)]
    summary = divided(tmp_path, of)
    said = lines(summary)
    share = summary["images_per_split"]["test"] / 600
    assert abs(share - 0.2) > 0.05, "choose other groups"
    assert f"test has {share:.1%} of the images, not the 20.0% that were asked: they are 5 groups" in said[-1] + said[0]
    assert any("the largest of 120 images; only smaller groups come closer" in line for line in said)
    assert not any("split_seed" in line for line in said)


def test_the_sources_own_split_is_not_blamed_on_a_seed(tmp_path: Path):
    of = [Picture(f"i{n:05}", n, "a" if n % 4 else "b", ("train", "val", "test")[n % 3]) for n in range(60)]
    of += [Picture(f"j{n:05}", 100 + n, "b", "test") for n in range(20)]
    said = lines(divided(tmp_path, of))
    assert len(said) == 1
    assert said[0].endswith("away from its share of all: so the source itself divides it")


def test_what_is_asked_of_a_source_with_a_test_split_is_of_its_training_images(tmp_path: Path):
    of = [Picture(f"i{n:05}", n, "ab"[n % 2], "train" if n < 600 else "test") for n in range(1200)]
    summary = divided(tmp_path, of)
    assert summary["division"]["asked"] == {"val": 0.15}
    assert lines(summary) == []
    assert divided(tmp_path / "fold", of, "fold='1 of 4'")["division"]["asked"] == {"val": 0.25}


def test_a_class_without_a_training_image_is_named(tmp_path: Path):
    of = [*pictures(40, split="train"), *pictures(20, 100, split="test"), Picture("z", 500, "c", "test")]
    summary = divided(tmp_path, of)
    assert any(line.startswith("no training image of 'c': the network cannot learn it") for line in lines(summary))
    require_splits(summary)


@pytest.mark.parametrize(
    ("of", "overrides", "message"),
    [
        (
            [Picture(f"i{n}", n, f"c{n}") for n in range(3)],
            ("split_seed=1",),
            r"no image is left for .*of 3 classes.*add images",
        ),
        (
            [Picture(f"i{n:03}", n, "ab"[n % 2], group="one") for n in range(40)],
            ("split_seed=0",),
            r"in 1 group\(s\) that stay together, .*smaller groups would do",
        ),
        (
            [Picture(f"i{n}", n, "a", "train") for n in range(9)]
            + [Picture(f"j{n}", 50 + n, "b", "test") for n in range(9)],
            ("val_fraction=0",),
            r"fewer than two of 2 classes have an image to train on \('b' have none\)",
        ),
    ],
)
def test_a_split_without_images_ends_the_stage(
    of: list[Picture], overrides: tuple[str, ...], message: str, tmp_path: Path
):
    summary = divided(tmp_path, of, *overrides)
    with pytest.raises(UserError, match=message):
        require_splits(summary)


def test_a_split_that_was_not_asked_for_may_be_empty(tmp_path: Path):
    require_splits(divided(tmp_path, pictures(40), "val_fraction=0", "test_fraction=0"))
