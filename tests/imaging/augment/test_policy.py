"""Policies: a pure function of image and seed, and what each may and may not do."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.config.schema import Option
from sightline.imaging.augment.albumentations_backend import build
from sightline.imaging.augment.options import POLICIES, BasicAugment, RandAugment
from sightline.stages.preprocess.options import AUGMENT

CONF = Path(__file__).parents[3] / "conf"
ACTIVE = [name for name in POLICIES if name != "none"]
NOTHING = BasicAugment("mine", 0, 0, 0, 0, 0, 0, 0, 0, 0)


def option(name: str) -> Option:
    return POLICIES[name](**yaml.safe_load((CONF / f"train/augment/{name}.yaml").read_text()))


def image(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def test_every_policy_has_both_files_and_they_agree():
    for stage, known in (("train", POLICIES), ("preprocess", AUGMENT)):
        assert {path.stem for path in (CONF / stage / "augment").glob("*.yaml")} == set(known)
    for name in POLICIES:
        online, offline = (
            yaml.safe_load((CONF / s / f"augment/{name}.yaml").read_text()) for s in ("train", "preprocess")
        )
        assert offline.pop("copies") == (0 if name == "none" else "${preprocess.copies}")
        assert online == offline
        assert online["name"] == name


def test_none_is_nothing():
    assert build(option("none"), (8, 8, 1)) is None


@given(
    name=st.sampled_from(ACTIVE),
    side=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    channels=st.integers(1, 4),
    seed=st.integers(0, 2**63 - 1),
)
@settings(max_examples=60, deadline=None)
def test_a_result_is_a_function_of_image_and_seed(name, side, channels, seed):
    shape = (*side, channels)
    of = image(shape)
    before = of.copy()
    first, second = build(option(name), shape), build(option(name), shape)
    second(of, seed + 1)  # what came before has no say
    result = first(of, seed)
    assert (result.shape, result.dtype) == (shape, np.uint8)
    np.testing.assert_array_equal(result, second(of, seed))
    np.testing.assert_array_equal(of, before)


@pytest.mark.parametrize("name", ACTIVE)
def test_seeds_differ(name: str):
    augment = build(option(name), (24, 24, 3))
    assert len({augment(image((24, 24, 3)), seed).tobytes() for seed in range(40)}) > 20


def test_draws_of_one_image_are_independent():
    """Albumentations starts all transforms of a list with the same numbers: a flip would always bring one change."""
    of = np.zeros((16, 16, 1), np.uint8)
    of[:, :8] = 100  # the left half; a flip puts it to the right
    augment = build(dataclasses.replace(NOTHING, flip=0.5, brightness=0.4), of.shape)
    results = [augment(of, seed) for seed in range(400)]
    flipped = np.array([result[0, 0, 0] < result[0, -1, 0] for result in results])
    brighter = np.array([result.max() != 100 for result in results])
    assert flipped.mean() == pytest.approx(0.5, abs=0.1)
    assert brighter[flipped].mean() == pytest.approx(brighter[~flipped].mean(), abs=0.15)


@pytest.mark.parametrize("name", ["light", "digits"])
def test_what_must_not_flip_does_not(name: str):
    of = np.zeros((32, 32, 1), np.uint8)
    of[4:28, 4:8] = 255  # a bar at the left
    augment = build(option(name), of.shape)
    for seed in range(200):
        columns = augment(of, seed).sum(axis=(0, 2))
        assert columns[:16].sum() > columns[16:].sum()


@pytest.mark.parametrize("name", ACTIVE)
def test_a_mask_moves_with_its_picture_and_keeps_its_levels(name: str):
    of = np.full((32, 32, 4), 40, np.uint8)
    of[..., 3] = 0
    of[8:24, 8:24, :3] = 200
    of[8:24, 8:24, 3] = 255
    augment = build(option(name), of.shape)
    overlaps = []
    for seed in range(60):
        result = augment(of, seed)
        assert set(np.unique(result[..., 3])) <= {0, 255}
        bright, mask = result[..., :3].mean(axis=2) > 120, result[..., 3] == 255
        overlaps.append((bright & mask).sum() / max(1, (bright | mask).sum()))
    assert np.median(overlaps) > 0.8


def test_a_flip_is_a_flip():
    augment = build(dataclasses.replace(NOTHING, flip=1.0), (9, 7, 3))
    np.testing.assert_array_equal(augment(image((9, 7, 3)), 5), image((9, 7, 3))[:, ::-1])


def test_cutout_erases_one_square_in_every_second_image():
    augment = build(dataclasses.replace(NOTHING, cutout=0.5), (20, 20, 1))
    of = np.full((20, 20, 1), 200, np.uint8)
    erased = np.array([(augment(of, seed) == 0).sum() for seed in range(300)])
    assert np.mean(erased > 0) == pytest.approx(0.5, abs=0.1)
    assert set(erased) == {0, 100}


def test_randaugment_without_strength_changes_little():
    of = image((24, 24, 3))
    strong, weak = (build(RandAugment("randaugment", 0, 2, m), of.shape) for m in (1.0, 0.05))

    def change(augment) -> float:
        return float(np.median([np.abs(augment(of, s).astype(int) - of).mean() for s in range(60)]))

    assert change(weak) < change(strong)


@pytest.mark.parametrize(
    ("key", "value"), [("flip", 1.5), ("crop", 1.0), ("rotate", 181.0), ("scale", -0.1), ("cutout", 2.0)]
)
def test_values_out_of_range_are_named(key: str, value: float):
    with pytest.raises(ValueError, match=rf"^{key}: must be in"):
        dataclasses.replace(NOTHING, **{key: value})


def test_offline_options_name_their_copies():
    given = yaml.safe_load((CONF / "preprocess/augment/light.yaml").read_text())
    with pytest.raises(ValueError, match=r"^copies: must be 1 to 100, not 0"):
        AUGMENT["light"](**{**given, "copies": 0})
    with pytest.raises(ValueError, match=r"^copies: augment=none leaves images as they are"):
        AUGMENT["none"](name="none", copies=2)
