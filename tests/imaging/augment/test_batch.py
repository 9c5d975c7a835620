"""Augmenting whole batches: what a sample becomes depends on its key and on nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.imaging.augment import draws as augment_draws
from sightline.imaging.augment import tensor_operations, torch_backend
from sightline.imaging.augment.options import POLICIES, BasicAugment
from tests.pipeline.project import ROOT

NAMES = [name for name in POLICIES if name != "none"]
STILL = dict.fromkeys(
    ("flip", "crop", "translate", "rotate", "scale", "brightness", "contrast", "saturation", "cutout"), 0.0
)


def policy(name: str):
    return POLICIES[name](**yaml.safe_load((ROOT / "conf/train/augment" / f"{name}.yaml").read_text()))


def mix(**changes: float):
    function = torch_backend.build(BasicAugment(name="light", **{**STILL, **changes}))
    assert function is not None
    return function


def pictures(count: int = 12, size: int = 16, channels: int = 3) -> torch.Tensor:
    random = np.random.default_rng(1)
    coarse = random.integers(0, 256, (count, 4, 4, channels), np.uint8)
    return torch.from_numpy(coarse.repeat(size // 4, 1).repeat(size // 4, 2))


def some_keys(count: int = 12, epoch: int = 0) -> torch.Tensor:
    return torch.from_numpy(augment_draws.keys(augment_draws.sample_hashes([str(i) for i in range(count)]), 0, epoch))


def test_none_is_nothing():
    assert torch_backend.build(POLICIES["none"](name="none")) is None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_sample_is_a_function_of_its_key(name, channels):
    function = torch_backend.build(policy(name))
    images, keys = pictures(channels=channels), some_keys()
    whole = function(images, keys)
    assert whole.shape == images.shape
    assert whole.dtype == torch.float32
    assert whole.min() >= 0
    assert whole.max() <= 255
    order = torch.tensor([5, 2, 11, 0])
    assert torch.allclose(function(images[order], keys[order]), whole[order], atol=1e-3)
    assert not torch.equal(whole, images.float())
    assert not torch.allclose(function(images, some_keys(epoch=1)), whole)


def test_switched_off_changes_nothing():
    images = pictures()
    assert torch.equal(mix()(images, some_keys()), images.float())


def test_a_flip_is_exact_and_happens_as_often_as_asked():
    images = pictures(400, 8)
    flipped = mix(flip=0.25)(images, some_keys(400))
    turned = (flipped == images.flip(2).float()).flatten(1).all(1)
    kept = (flipped == images.float()).flatten(1).all(1)
    assert (turned | kept).all()
    assert 0.17 < turned.float().mean() < 0.33


@pytest.mark.parametrize("name", ["digits", "light"])
def test_what_must_not_be_mirrored_is_not(name):
    # A wedge that is bright on the left stays so, however it is shifted, turned a little or scaled.
    wedge = torch.zeros(200, 16, 16, 1, dtype=torch.uint8)
    wedge[:, :, :5] = 255
    result = torch_backend.build(policy(name))(wedge, some_keys(200))
    assert (result[:, :, :8].mean((1, 2, 3)) > result[:, :, 8:].mean((1, 2, 3))).all()


def test_a_shift_goes_both_ways_and_no_further_than_asked():
    dot = torch.zeros(300, 20, 20, 1, dtype=torch.uint8)
    dot[:, 9:11, 9:11] = 255
    moved = mix(translate=0.2)(dot, some_keys(300))[..., 0]
    at = (moved.sum(1) * torch.arange(20)).sum(1) / moved.sum((1, 2)) - 9.5
    assert at.abs().max() <= 0.2 * 20 + 1e-3
    assert at.min() < -3
    assert at.max() > 3
    assert abs(at.mean()) < 0.5


def test_brightness_moves_every_pixel_of_an_image_alike():
    grey = torch.full((200, 4, 4, 1), 128, dtype=torch.uint8)
    result = mix(brightness=0.2)(grey, some_keys(200))
    assert (result == result[:, :1, :1]).all()
    change = result[:, 0, 0, 0] - 128
    assert change.abs().max() <= 0.2 * 255
    assert 0.35 < (change == 0).float().mean() < 0.65


def test_cutout_erases_one_square_of_the_asked_size_in_every_second_image():
    white = torch.full((300, 16, 16, 3), 255, dtype=torch.uint8)
    erased = (mix(cutout=0.25)(white, some_keys(300)) == 0).all(3).flatten(1).sum(1)
    assert set(erased.tolist()) == {0, 16}
    assert 0.4 < (erased > 0).float().mean() < 0.6


@pytest.mark.parametrize("name", NAMES)
def test_a_mask_moves_along_and_keeps_its_levels(name):
    # Picture and mask are the same plane: where light is not changed, they stay the same.
    plane = pictures(40, 16, 1)
    both = torch_backend.build(policy(name))(torch.cat([plane, plane], 3), some_keys(40))
    mask = both[..., 1]
    assert mask.min() >= plane.min() - 1e-3
    assert mask.max() <= plane.max() + 1e-3


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**62), st.integers(0, 10**6))
def test_draws_are_uniform_and_independent_of_neighbours(seed, epoch):
    keys = torch.from_numpy(augment_draws.keys(augment_draws.sample_hashes([str(i) for i in range(500)]), seed, epoch))
    draws = augment_draws.Draws(keys)
    first, second = draws.uniform(), draws.uniform()
    for values in (first, second):
        assert values.min() >= 0
        assert values.max() < 1
        assert abs(values.mean() - 0.5) < 0.08
    assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1]) < 0.25
    again = augment_draws.Draws(keys[100:103]).uniform()
    assert torch.equal(again, first[100:103])


def test_the_generator_is_splitmix64():
    # The first outputs for the state 0, of the published reference implementation: the top 24 bits of each.
    draws = augment_draws.Draws(torch.zeros(1, dtype=torch.int64))
    for output in (0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F):
        assert draws.uniform().item() == (output >> 40) / 2**24


def test_draws_go_on_beyond_a_block_as_the_generator_does():
    mask = 2**64 - 1
    keys = [0, 1, -1, 2**63 - 1, -(2**63), 123456789]
    draws = augment_draws.Draws(torch.tensor(keys, dtype=torch.int64))
    for count in range(1, 3 * augment_draws.Draws.BLOCK):
        expected = []
        for key in keys:
            state = (key + count * 0x9E3779B97F4A7C15) & mask
            state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & mask
            state = (state ^ (state >> 27)) * 0x94D049BB133111EB & mask
            expected.append(((state ^ (state >> 31)) >> 40) / 2**24)
        assert draws.uniform().tolist() == expected


def test_equalize_spreads_levels_evenly_and_autocontrast_to_the_ends():
    ramp = torch.arange(64, dtype=torch.float32).view(1, 8, 8, 1) + 60
    equal = tensor_operations.equalize(ramp)
    assert torch.allclose(equal.flatten(), torch.arange(64) / 63 * 255, atol=1e-3)
    contrast = tensor_operations.autocontrast(ramp)
    assert contrast.min() == 0
    assert torch.isclose(contrast.max(), torch.tensor(255.0))
    flat = torch.full((1, 4, 4, 1), 7.0)
    assert torch.equal(tensor_operations.equalize(flat), flat)
    assert torch.equal(tensor_operations.autocontrast(flat), flat)
