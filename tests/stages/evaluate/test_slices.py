import numpy as np
import pytest
from scipy.stats import fisher_exact

from sightline.core.errors import UserError
from sightline.metrics.intervals import wilson
from sightline.stages.evaluate import slices


def test_properties_of_real_images(digits):
    split = digits.data.split("test")
    found = slices.properties(
        digits.raw, split.ids, ["size", "aspect", "brightness", "blur", "source", "group", "format"]
    )
    pixels = split.images()
    assert found["size"] == [8] * 300
    assert found["aspect"] == [1] * 300
    assert found["brightness"] == pytest.approx(list(pixels.mean(axis=(1, 2, 3)) / 255))
    assert found["group"] == ["ab"[int(i[-4:]) % 3 == 0] for i in split.ids]
    assert set(found["source"]) == {"sheet-0", "sheet-1", None}
    assert set(found["format"]) == {"PNG"}


def test_missing_images_are_an_error(digits):
    with pytest.raises(UserError, match="lacks 1 of the preprocessed images"):
        slices.properties(digits.raw, ["digit-0001", "digit-9999"], ["size"])


def test_blurred_images_are_less_sharp_at_any_size():
    import cv2

    rng = np.random.default_rng(0)
    sharp = rng.integers(0, 2, (64, 64), np.uint8) * 255
    blurred = cv2.GaussianBlur(sharp, (7, 7), 2)
    assert slices.blur(sharp[..., None]) > 2 * slices.blur(blurred[..., None])
    larger = cv2.resize(sharp, (256, 256), interpolation=cv2.INTER_NEAREST)
    assert slices.blur(larger[..., None]) == pytest.approx(slices.blur(sharp[..., None]))
    assert slices.blur(np.zeros((1, 500, 1), np.uint8)) == 0


def test_numbers_are_cut_into_quarters_and_ties_stay_together():
    groups = slices.groups([1.0] * 50 + list(np.arange(2.0, 52.0)))
    assert groups[0][0] == "1"
    assert sum(here.sum() for _, here in groups) == 100
    assert [int(here.sum()) for _, here in slices.groups(list(range(100)))] == [25, 25, 25, 25]


def test_few_numbers_get_a_slice_each():
    assert [(value, int(here.sum())) for value, here in slices.groups([28, 32, 28])] == [("28", 2), ("32", 1)]


def test_words_by_value_the_rarest_together():
    values = [f"camera {i:02d}" for i in range(30) for _ in range(30 - i)] + [None] * 50
    groups = dict(slices.groups(values))
    assert len(groups) == slices.MOST_VALUES + 1
    assert groups["(none)"].sum() == 50
    assert groups["(other)"].sum() == sum(30 - i for i in range(19, 30))


def test_a_planted_weakness_is_named_and_significant():
    rng = np.random.default_rng(0)
    camera = rng.choice(["good", "fine", "bad"], 900, p=[0.5, 0.35, 0.15])
    light = rng.random(900)
    correct = rng.random(900) < np.where(camera == "bad", 0.7, 0.95)
    found = slices.slices({"camera": list(camera), "light": list(light)}, correct, 10)
    worst = slices.worst(found)
    assert (worst.by, worst.value) == ("camera", "bad")
    assert worst.p_value < 1e-6
    assert worst.interval == wilson(worst.correct, worst.images)
    assert worst.accuracy == pytest.approx(correct[camera == "bad"].mean())
    assert all(s.p_value > 0.05 for s in found if s is not worst)
    table = [[worst.correct, worst.images - worst.correct]]
    table.append([int(correct.sum()) - worst.correct, int((~correct).sum()) - table[0][1]])
    # Holm multiplies the smallest of seven p-values by seven.
    assert len(found) == 7
    assert worst.p_value == pytest.approx(7 * fisher_exact(table, alternative="less").pvalue)


def test_a_small_slice_of_bad_luck_is_not_the_worst():
    correct = np.array([True] * 180 + [False] * 20 + [False] * 3 + [True] * 2)
    camera = ["big"] * 200 + ["tiny"] * 5
    found = slices.slices({"camera": camera}, correct, 1)
    assert slices.worst(found).value == "tiny"  # upper bound 0.77 against 0.93
    correct[200:204] = [True, True, False, True]
    assert slices.worst(slices.slices({"camera": camera}, correct, 1)).value == "big"


def test_what_divides_nothing_or_is_too_small_is_left_out():
    correct = np.ones(30, bool)
    assert slices.slices({"format": ["PNG"] * 30}, correct, 10) == []
    assert slices.slices({"id": [str(i) for i in range(30)]}, correct, 12) == []
    assert slices.worst([]) is None
