import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.imaging import corruptions


def photo(side=32, channels=3, seed=0):
    """A smooth picture with edges: a sum of waves, and a square."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    waves = [np.sin(2 * np.pi * (a * x + b * y) + c) for a, b, c in rng.uniform(-2, 2, (channels, 3))]
    image = 110 + 60 * np.stack(waves, axis=2)
    image[side // 4 : side // 2, side // 4 : side // 2] += 60
    return image.clip(0, 255).astype(np.uint8)


def distance(image, name, severity, seeds=range(8)):
    return np.mean([np.abs(corruptions.corrupt(image, name, severity, s).astype(float) - image).mean() for s in seeds])


@given(
    st.sampled_from(corruptions.NAMES),
    st.integers(1, 5),
    st.tuples(st.integers(1, 70), st.integers(1, 70), st.sampled_from([1, 3])),
    st.integers(0, 2**63 - 1),
)
@settings(max_examples=150, deadline=None)
def test_any_image_keeps_its_shape_and_a_seed_its_pixels(name, severity, shape, seed):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    before = image.copy()
    result = corruptions.corrupt(image, name, severity, seed)
    assert result.dtype == np.uint8
    assert result.shape == image.shape
    assert not np.may_share_memory(result, image)
    assert (image == before).all()
    assert (result == corruptions.corrupt(image, name, severity, seed)).all()


@pytest.mark.parametrize("name", corruptions.NAMES)
@pytest.mark.parametrize("side", [32, 64, 224])
@pytest.mark.parametrize("channels", [1, 3])
def test_higher_severity_is_further_from_the_picture(name, side, channels):
    image = photo(side, channels)
    distances = [distance(image, name, severity, range(3)) for severity in range(1, 6)]
    # Blocks that fit the picture's edges by chance can leave more of it than smaller ones.
    least = 0.8 if name == "pixelate" else 0.99
    assert all(later >= least * earlier for earlier, later in itertools.pairwise(distances)), distances
    assert distances[-1] > distances[0]


@pytest.mark.parametrize("name", ["gaussian_noise", "shot_noise", "impulse_noise", "motion_blur", "fog"])
def test_another_seed_gives_other_pixels(name):
    image = photo()
    brighter = corruptions.corrupt(image, "brightness", 5, 0).max(axis=2)
    assert np.abs(brighter - np.minimum(image.max(axis=2) + 76.5, 255)).max() <= 0.5
    black = np.zeros((32, 32, 3), np.uint8)
    assert (corruptions.corrupt(black, "brightness", 1, 0) == 13).all()
    assert (corruptions.corrupt(black, "fog", 5, 0) == 0).all()  # the fog is as bright as the picture's brightest pixel
    flat = corruptions.corrupt(image, "contrast", 5, 0)
    assert flat.std(axis=(0, 1)) == pytest.approx(0.15 * image.std(axis=(0, 1)), rel=0.05)
    assert flat.mean(axis=(0, 1)) == pytest.approx(image.mean(axis=(0, 1)), abs=0.5)


def test_colours_stay_where_only_light_changes():
    image = np.full((32, 32, 3), (40, 80, 20), np.uint8)
    brighter = corruptions.corrupt(image, "brightness", 3, 0)[0, 0]
    assert brighter.tolist() == pytest.approx([40 * 118.25 / 80, 118.25, 20 * 118.25 / 80], abs=0.6)


def test_blur_keeps_the_light_and_spreads_a_point():
    point = np.zeros((224, 224, 1), np.uint8)
    point[112, 112] = 255
    disk = corruptions.corrupt(point, "defocus_blur", 1, 0)
    assert (disk > 4).sum() == 29  # whole pixels within 3 of the centre
    line = corruptions.corrupt(np.repeat(point, 3, axis=2), "motion_blur", 5, 0)[:, :, 0]
    _, columns = np.nonzero(line)
    assert columns.min() >= 112 or columns.max() <= 112  # to one side, as a camera moves
    assert np.ptp(columns) > 15


def test_pixels_become_blocks():
    image = photo(64, 1)
    blocks = corruptions.corrupt(image, "pixelate", 5, 0)[:, :, 0]
    assert (blocks.reshape(32, 2, 32, 2) == blocks.reshape(32, 2, 32, 2)[:, :1, :, :1]).all()


def test_the_nearest_published_size_counts():
    def share(side):
        return (corruptions.corrupt(np.full((side, side, 1), 128, np.uint8), "impulse_noise", 5, 0) != 128).mean()

    assert share(45) == pytest.approx(0.07, abs=0.02)
    assert share(46) == pytest.approx(0.14, abs=0.03)
    assert share(120) == pytest.approx(0.14, abs=0.02)
    assert share(121) == pytest.approx(0.27, abs=0.02)


def test_large_images_are_shrunk():
    image = photo(512, 1)
    small = corruptions.shrink(image[:, :300])
    assert small.shape == (256, 150, 1)
    assert small.mean() == pytest.approx(image[:, :300].mean(), abs=1)
    assert corruptions.shrink(small) is small
    assert corruptions.shrink(np.zeros((2000, 1, 3), np.uint8)).shape == (256, 1, 3)


@pytest.mark.parametrize(("name", "severity"), [("snow", 1), ("fog", 0), ("fog", 6)])
def test_what_there_is_not(name, severity):
    with pytest.raises(ValueError, match=f"no corruption '{name}' of severity {severity}"):
        corruptions.corrupt(photo(), name, severity, 0)
