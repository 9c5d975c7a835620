"""Test-time augmentation: the mean over views, the same for an image and its mirror image."""

from __future__ import annotations

import torch

from sightline.models.view_average import ViewAverage
from tests.models.conftest import make, pictures


def test_the_mirror_images_answer_is_the_images() -> None:
    classifier = make("cnn").eval()
    images = pictures(3)
    with torch.inference_mode():
        plain = torch.softmax(classifier(images), 1)
        mirrored = torch.softmax(classifier(images.flip(2)), 1)
        answer = torch.softmax(ViewAverage(classifier, ["mirror"])(images), 1)
        torch.testing.assert_close(answer, (plain + mirrored) / 2)
        both = ViewAverage(classifier, ["crops", "mirror"])
        torch.testing.assert_close(both(images), both(images.flip(2)), atol=1e-4, rtol=1e-4)
        assert not torch.allclose(torch.softmax(both(images), 1), answer, atol=1e-4)
