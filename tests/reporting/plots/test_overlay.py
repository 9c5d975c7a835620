import io

import numpy as np
import pytest
from PIL import Image

from sightline.reporting.plots.overlay import PHOTO_MAX_SIDE, PIXELATED_MAX_SIDE, encode_picture, overlay, rgb


@pytest.mark.parametrize(("channels", "grey"), [(1, True), (2, True), (3, False), (4, False)])
def test_a_mask_is_not_shown(channels, grey):
    image = np.random.default_rng(0).integers(0, 256, (5, 4, channels), np.uint8)
    shown = rgb(image)
    assert shown.shape == (5, 4, 3)
    np.testing.assert_array_equal(shown, image[:, :, :1].repeat(3, 2) if grey else image[:, :, :3])


def test_where_nothing_speaks_the_image_shows_through():
    image = np.random.default_rng(0).integers(0, 256, (16, 8, 1), np.uint8)
    heat = np.zeros((16, 8))
    factor = PHOTO_MAX_SIDE // 16
    np.testing.assert_array_equal(overlay(image, heat), image.repeat(factor, 0).repeat(factor, 1).repeat(3, 2))
    heat[8:, :] = 1
    laid = overlay(image, heat).astype(int)
    upper, lower = laid[: 6 * factor], laid[10 * factor :]
    assert np.ptp(upper, axis=2).max() == 0
    assert np.ptp(lower, axis=2).min() > 50  # colour


@pytest.mark.parametrize("side", [1, 8, PIXELATED_MAX_SIDE, PIXELATED_MAX_SIDE + 1, 700])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_small_images_are_kept_and_large_ones_fit_a_page(side, channels):
    image = np.random.default_rng(0).integers(0, 256, (side, side, channels), np.uint8)
    data = encode_picture(image)
    assert data == encode_picture(image)
    with Image.open(io.BytesIO(data)) as opened:
        pixels = np.asarray(opened.convert("RGB"))
        assert opened.format == ("PNG" if side <= PIXELATED_MAX_SIDE else "JPEG")
    if side <= PIXELATED_MAX_SIDE:
        np.testing.assert_array_equal(pixels, rgb(image))
    else:
        assert max(pixels.shape) == min(side, PHOTO_MAX_SIDE)
        assert len(data) < 60_000
