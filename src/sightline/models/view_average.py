"""Test-time augmentation: the mean prediction for several views of an image (mirror image and crops)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

MIRROR, CROPS = "mirror", "crops"
VIEWS = (MIRROR, CROPS)
"""The views that `evaluate.tta` may list."""

CROPPED = 7 / 8
"""Side of a crop as a fraction of the image's side."""


class ViewAverage(nn.Module):
    """Averages a classifier's probabilities over views of each image.

    `mirror` adds the image flipped left to right. `crops` adds the four corners and the centre, with seven eighths of
    the image's height and width, resized to the full size. Both together also add the mirror images of the crops:
    twelve views in all.

    Args:
        classifier: Maps images [N, H, W, C], 0..255, to logits [N, K].
        views: Names in `VIEWS`; if empty, the classifier's probabilities are unchanged.
    """

    def __init__(self, classifier: nn.Module, views: Sequence[str]) -> None:
        super().__init__()
        self.classifier = classifier
        self.views = tuple(views)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Maps uint8 images [N, H, W, C] to logits [N, K]: logarithms of the mean probabilities."""
        seen = [images]
        if CROPS in self.views:
            seen += _crops(images)
        if MIRROR in self.views:
            seen += [view.flip(2) for view in seen]
        answers = torch.stack([torch.log_softmax(self.classifier(view).float(), dim=1) for view in seen])
        return torch.logsumexp(answers, dim=0) - math.log(len(seen))


def _crops(images: torch.Tensor) -> list[torch.Tensor]:
    height, width = images.shape[1:3]
    tall, wide = max(1, round(height * CROPPED)), max(1, round(width * CROPPED))
    down, right = height - tall, width - wide
    pixels = images.permute(0, 3, 1, 2).float()
    corners = [(0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)]
    cropped = [pixels[:, :, top : top + tall, left : left + wide] for top, left in corners]
    enlarge = nn.functional.interpolate
    enlarged = [enlarge(crop, size=(height, width), mode="bilinear", align_corners=False) for crop in cropped]
    return [view.permute(0, 2, 3, 1) for view in enlarged]
