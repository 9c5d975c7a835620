"""Lines about splits that are not as they were asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sightline.core.errors import UserError
from sightline.stages.preprocess.division import require_splits, split_lines
from sightline.stages.preprocess.stage import preprocess
from tests.stages.preprocess.sets import Picture, configuration, pictures, write_set

BALANCE = "preprocess.balance: images comes closer"
SEED = "another preprocess.split_seed may come closer"


def divided(tmp_path: Path, of: list[Picture], *overrides: str) -> dict:
    out = tmp_path / "out"
    out.mkdir(parents=True)
    return preprocess(write_set(tmp_path / "raw", of), configuration(*overrides, "backend.workers=1"), out)


def test_a_split_as_asked_is_not_spoken_of(tmp_path: Path):
    assert split_lines(divided(tmp_path, pictures(600))) == []


def test_a_small_set_comes_closer_by_balance_and_by_another_seed(tmp_path: Path):
    summary = divided(tmp_path, pictures(30), "split_seed=1")
    assert summary["division"] == {
        "asked": {"val": 0.15, "test": 0.2},
        "balance": "groups",
        "groups": 30,
        "largest_group": 1,
        "effective_groups": 30,
    }
    printed = split_lines(summary)
    assert printed
    assert all(BALANCE in line for line in printed)
    balanced = split_lines(divided(tmp_path / "balanced", pictures(30), "split_seed=1", "balance=images"))
    assert len(balanced) < len(printed)
    assert all(SEED in line for line in balanced)


def test_few_large_groups_are_named_as_the_cause_with_the_shares(tmp_path: Path):
    of = [Picture(f"i{n:05}", n, "ab"[n % 2], group=f"g{n % 3}") for n in range(600)]
    summary = divided(tmp_path, of, "val_fraction=0")
    share = summary["images_per_split"]["test"] / 600
    printed = split_lines(summary)
    assert f"test has {share:.1%} of the images, not the requested 20.0%: they are 3 groups" in "".join(printed)
    assert any("the largest of 200 images; only smaller groups come closer" in line for line in printed)
    assert not any("split_seed" in line for line in printed)


def test_five_equal_groups_are_divided_as_asked(tmp_path: Path):
    """A class of which a hash alone would as soon put three images into the test split."""
    of = [Picture(f"i{n:05}", n, "ab"[n % 2], group=f"g{n % 5}") for n in range(600)]
    summary = divided(tmp_path, of)
    assert summary["images_per_split"] == {"train": 360, "val": 120, "test": 120}
    (line,) = split_lines(summary)
    assert line.startswith("val has 20.0% of the images, not the requested 15.0%: they are 5 groups")


def test_classes_without_an_image_in_a_split_are_named(tmp_path: Path):
    of = [Picture(f"{name}{n:04}", len(name) * n, name, group=f"{name}{n // 40}") for name in "abc" for n in range(80)]
    of = [Picture(p.id, place, p.label, group=p.group) for place, p in enumerate(of)]
    summary = divided(tmp_path, of)
    without = [name for name, counts in summary["images_per_class"].items() if counts["train"] and not counts["val"]]
    assert without
    named = ", ".join(map(repr, without))
    assert any(
        line.startswith(f"no val image of {len(without)} of 3 classes, {named}: they are")
        for line in split_lines(summary)
    )


def test_the_sources_own_split_is_not_blamed_on_a_seed(tmp_path: Path):
    of = [Picture(f"i{n:05}", n, "a" if n % 4 else "b", ("train", "val", "test")[n % 3]) for n in range(60)]
    of += [Picture(f"j{n:05}", 100 + n, "b", "test") for n in range(20)]
    printed = split_lines(divided(tmp_path, of))
    assert len(printed) == 1
    assert printed[0].endswith("points: so the source itself divides it")


def test_what_is_asked_of_a_source_with_a_test_split_is_of_its_training_images(tmp_path: Path):
    of = [Picture(f"i{n:05}", n, "ab"[n % 2], "train" if n < 600 else "test") for n in range(1200)]
    summary = divided(tmp_path, of)
    assert summary["division"]["asked"] == {"val": 0.15}
    assert split_lines(summary) == []
    assert divided(tmp_path / "fold", of, "fold='1 of 4'")["division"]["asked"] == {"val": 0.25}


def test_a_class_without_a_training_image_is_named(tmp_path: Path):
    of = [*pictures(40, split="train"), *pictures(20, 100, split="test"), Picture("z", 500, "c", "test")]
    summary = divided(tmp_path, of)
    assert any(
        line.startswith("no training image of 'c': the network cannot learn it") for line in split_lines(summary)
    )
    require_splits(summary)


@pytest.mark.parametrize(
    ("of", "overrides", "message"),
    [
        (
            [Picture(f"i{n}", n, f"c{n}") for n in range(3)],
            ("split_seed=1",),
            r"no image is left for .*of 3 classes.*preprocess.balance=images may help, and so would more images",
        ),
        (
            [Picture(f"i{n:03}", n, "ab"[n % 2], group="one") for n in range(40)],
            ("split_seed=0",),
            r"in 1 group\(s\) that stay together, .*smaller groups",
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


def summary(
    train: int,
    val: int,
    test: int,
    classes: dict[str, int] | None = None,
    effective: int | None = None,
    **division: Any,
) -> dict[str, Any]:
    """The remarks of preprocessing on a set, with the images of each class that train."""
    images = train + val + test
    return {
        "images": images,
        "images_per_split": {"train": train, "val": val, "test": test},
        "images_per_class": {name: {"train": of} for name, of in (classes or {"a": 1, "b": 1}).items()},
        "largest_class_share_deviation": division.pop("deviation", {}),
        "division": {
            "asked": {"val": 0.15, "test": 0.2},
            "balance": "images",
            "groups": images,
            "largest_group": 1,
            "effective_groups": images if effective is None else effective,
            **division,
        },
    }


@pytest.mark.parametrize(
    ("train", "val", "test", "printed"),
    [
        (65, 15, 20, []),
        (61, 15, 24, []),
        (59, 15, 26, ["test has 26.0% of the images, not the requested 20.0%"]),
        (71, 15, 14, ["test has 14.0% of the images, not the requested 20.0%"]),
        (73, 7, 20, ["val has 7.0% of the images, not the requested 15.0%"]),
        (40, 30, 30, ["val has 30.0%", "test has 30.0%"]),
    ],
)
def test_a_share_is_spoken_of_where_it_is_more_than_five_points_away(
    train: int, val: int, test: int, printed: list[str]
):
    assert [
        line.startswith(start) for line, start in zip(split_lines(summary(train, val, test)), printed, strict=True)
    ] == [True] * len(printed)


def test_five_points_are_not_yet_worth_a_line():
    assert split_lines(summary(95, 5, 0, asked={"val": 0.0})) == []
    assert split_lines(summary(95, 5, 0, asked={}, deviation={"val": 0.05})) == []


def test_the_share_is_of_what_is_drawn_from():
    """Of the images that train and of the splits that are drawn, without those that the source names."""
    assert split_lines(summary(85, 15, 100, asked={"val": 0.15})) == []


@pytest.mark.parametrize(("effective", "cause"), [(49, "groups that stay together"), (50, SEED), (51, SEED)])
def test_groups_are_the_cause_where_they_count_for_less_than_half_of_the_images(effective: int, cause: str):
    (line,) = split_lines(summary(50, 15, 35, effective=effective))
    assert cause in line


@pytest.mark.parametrize(
    ("split", "asked", "cause"),
    [
        ("test", {"test": 0.2}, SEED),
        ("train", {"test": 0.2}, SEED),
        ("val", {"test": 0.2}, "so the source itself divides it"),
        ("train", {}, "so the source itself divides it"),
    ],
)
def test_a_class_whose_share_is_off_has_its_cause(split: str, asked: dict[str, float], cause: str):
    others = {other: 0.01 for other in ("train", "val", "test") if other != split}
    (line,) = split_lines(summary(80, 0, 20, asked=asked, deviation={**others, split: 0.123}))
    assert line.startswith(f"a class's share of {split} differs from its share of all images by 12.3 points")
    assert cause in line


@pytest.mark.parametrize(
    ("count", "printed"), [(1, "'c0':"), (5, "'c0', 'c1', 'c2', 'c3', 'c4':"), (6, "'c3', 'c4' and 1 more:")]
)
def test_of_classes_without_training_images_five_are_named(count: int, printed: str):
    (line,) = split_lines(summary(65, 15, 20, {**{f"c{n}": 0 for n in range(count)}, "d": 1, "e": 1}))
    assert printed in line


def test_two_classes_of_one_training_image_each_are_enough():
    require_splits(summary(65, 15, 20, {"a": 1, "b": 1, "c": 0}))
    with pytest.raises(UserError, match=r"fewer than two of 3 classes .* \('b', 'c' have none\)"):
        require_splits(summary(65, 15, 20, {"a": 9, "b": 0, "c": 0}))


@pytest.mark.parametrize(("effective", "remedy"), [(32, "make smaller groups"), (33, "some 20 per class")])
def test_an_empty_split_has_the_remedy_of_its_cause(effective: int, remedy: str):
    with pytest.raises(UserError, match=f"no image is left for the split 'test'.*20% of them: .*{remedy}"):
        require_splits(summary(50, 15, 0, effective=effective))
