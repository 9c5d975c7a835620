"""The fingerprint of a set of images."""

from __future__ import annotations

import re

import numpy as np
import pytest

from sightline.datasets.raw_set import ImageRecord
from sightline.project_setup.census import SERIES_PATTERN, count, series, text_like
from sightline.project_setup.mirror import accuracy_kept


def records(*names: str) -> list[ImageRecord]:
    return [ImageRecord(name, b"", name.split("/")[0]) for name in names]


def test_mirror_images_of_chiral_classes_are_taken_for_others() -> None:
    random = np.random.default_rng(0)
    left = np.zeros((12, 12), np.float32)
    left[:, :4] = 200
    top = left.T
    noise = random.normal(0, 10, (40, 12, 12)).astype(np.float32)
    chiral = np.concatenate([left + noise[:20], left[:, ::-1] + noise[20:]])
    same = np.concatenate([top + noise[:20], top[::-1] + noise[20:]])
    labels = ["a"] * 20 + ["b"] * 20
    assert accuracy_kept(chiral, labels) == pytest.approx(0, abs=0.1)
    assert accuracy_kept(same, labels) == pytest.approx(1, abs=0.1)
    assert accuracy_kept(noise, labels) is None


def test_groups_are_evident_in_names_only_where_several_share_a_beginning_in_each_class() -> None:
    birds = [("wren", f"wren/bird{bird:02}_frame{frame}.jpg") for bird in range(6) for frame in range(4)]
    assert series(birds) == 6
    pattern = re.compile(SERIES_PATTERN)
    assert {match[1] for _, name in birds if (match := pattern.search(name))} == {f"wren/bird{n:02}" for n in range(6)}
    assert series([("wren", f"wren/IMG_{number}.jpg") for number in range(20)]) == 0
    assert series([("wren", f"wren/wren.{number}.jpg") for number in range(20)]) == 0
    assert series([("wren", f"wren/{number}.jpg") for number in range(20)]) == 0


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["0", "1", "10"], True),
        (["A", "B"], True),
        (["one", "Two"], True),
        (["turn_left", "stop"], True),
        (["cat", "dog"], False),
        (["a", "dog"], False),
        (["leftover", "bread"], False),
    ],
)
def test_classes_named_like_text_or_directions(names: list[str], expected: bool) -> None:
    assert text_like(names) is expected


def test_counting_ends_at_its_bound_and_says_so() -> None:
    images = records(*(f"{'ab'[n % 2]}/{n}" for n in range(10)))
    assert count(images).complete
    assert count(images).classes == {"a": 5, "b": 5}
    part = count(images, most=4)
    assert not part.complete
    assert sum(part.classes.values()) == 4
