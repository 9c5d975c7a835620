"""Heat maps that show which parts of an image are evidence for a class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from sightline.datasets.processed_set import Images
from sightline.imaging.occlusion import occlusion_map
from sightline.metrics.base import Floats, Labels

if TYPE_CHECKING:
    import torch
    from torch import nn

    from sightline.models.classifier import Classifier

BATCH = 16
_PLACES, _PIXELS = 7, 8
"""Least height and width of a layer's output for Grad-CAM, unless a place of it then stands for fewer pixels a side."""


@dataclass(frozen=True)
class Explainer:
    """A method of explaining predictions.

    Attributes:
        method: Human-readable name.
        meaning: A sentence on how to read its maps.
        maps: Maps images [n, height, width, channels] uint8 and a class for each, [n], to heat maps [n, height, width]
            in 0..1, which are larger where there is more evidence for the class. A map without any evidence is 0.
    """

    method: str
    meaning: str
    maps: Callable[[Images, Labels], Floats]


def explainer(classifier: Classifier, shape: tuple[int, int, int]) -> Explainer:
    """Returns Grad-CAM if the network has a suitable convolutional layer, else occlusion.

    Grad-CAM (Selvaraju et al. 2017) weights the maps of the last convolutional layer by the mean gradient of the
    class's logit. A dense network has no such layer, and a vision transformer's only convolution just divides the image
    into patches, so that its maps carry little information about the class. Both are explained by occlusion (Zeiler and
    Fergus 2014) instead: how far the logit falls when a window of the image is covered by the training pixels' mean.

    Args:
        classifier: The model, in evaluation mode, on the CPU.
        shape: (height, width, channels) of its images.
    """
    layer = last_convolution(classifier, shape)
    if layer is None:
        return Explainer(
            "Occlusion",
            "This network has no convolutional layer for Grad-CAM; the maps show how far the class's logit falls "
            "when a part of the image is covered.",
            lambda images, targets: _occlusion_maps(classifier, images, targets),
        )
    name, module = layer

    def grad_cam(network: nn.Module, pixels: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        from captum.attr import LayerAttribution, LayerGradCam

        maps = LayerGradCam(network, module).attribute(pixels, targets, relu_attributions=True)
        size = (pixels.shape[2], pixels.shape[3])
        scaled: torch.Tensor = LayerAttribution.interpolate(maps, size, "bilinear").detach().sum(dim=1)
        return scaled

    return Explainer(
        "Grad-CAM",
        f"Bright areas are evidence for the class, according to the last convolutional layer ({name}).",
        lambda images, targets: _explain(classifier, images, targets, grad_cam),
    )


def last_convolution(classifier: Classifier, shape: tuple[int, int, int]) -> tuple[str, nn.Module] | None:
    """Returns the name and module of the last convolution whose output is fine enough to show where the evidence is.

    That is 7 x 7 places, or one place for 8 x 8 pixels in images of less than 56 pixels. Coarser maps light up next to
    what the network looks at: at 64 pixels, `cnn` ends with 4 x 4. If no output has that many places, it is the last
    one of more than one place. It is found by a forward pass, which works for any network; the one-place convolutions
    of squeeze-and-excitation are skipped. The result is None if there is no such layer, or if the only one divides the
    image into patches that do not overlap.
    """
    import torch
    from torch import nn

    seen: list[tuple[str, nn.Module]] = []
    fine: list[tuple[str, nn.Module]] = []
    least = min(_PLACES, min(shape[:2]) // _PIXELS)

    def note(name: str) -> Callable[[nn.Module, tuple[torch.Tensor, ...], torch.Tensor], None]:
        def hook(module: nn.Module, _: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            if output.ndim == 4 and output.shape[2] * output.shape[3] > 1:
                seen.append((name, module))
                if min(output.shape[2:]) >= least:
                    fine.append((name, module))

        return hook

    named = [(n, m) for n, m in classifier.network.named_modules() if isinstance(m, nn.Conv2d)]
    hooks = [module.register_forward_hook(note(name)) for name, module in named]
    try:
        with torch.inference_mode():
            classifier(torch.zeros((1, *shape), dtype=torch.uint8))
    finally:
        for hook_handle in hooks:
            hook_handle.remove()
    if not seen or (len(named) == 1 and named[0][1].kernel_size == named[0][1].stride != (1, 1)):
        return None
    return (fine or seen)[-1]


def _occlusion_maps(classifier: Classifier, images: Images, targets: Labels) -> Floats:
    """Returns maps of how far a class's logit falls when parts of an image are covered by the training pixels' mean."""
    import torch

    filling = classifier.mean.reshape(-1).round().to(torch.uint8).numpy()
    height, width = images.shape[1:3]
    maps = np.zeros((len(images), height, width))
    for i, (image, target) in enumerate(zip(images, targets, strict=True)):

        def logits(covered: Images, target: int = int(target)) -> Floats:
            with torch.inference_mode():
                scores: Floats = classifier(torch.from_numpy(covered)).double().numpy()[:, target]
            return scores

        falls = occlusion_map(logits, image, float(logits(image[None])[0]), filling, BATCH).falls
        maps[i] = cv2.resize(falls, (width, height), interpolation=cv2.INTER_LINEAR)
    return _scaled(maps)


Attribute = Callable[["nn.Module", "torch.Tensor", "torch.Tensor"], "torch.Tensor"]
"""Network, normalised pixels [N, C, H, W], classes [N] -> maps [N, H, W], none below 0."""


def _explain(classifier: Classifier, images: Images, targets: Labels, attribute: Attribute) -> Floats:
    """Runs a method over images in batches, and scales each map to a maximum of 1."""
    import torch

    maps = [np.zeros((0, *images.shape[1:3]))]
    for start in range(0, len(images), BATCH):
        batch = torch.from_numpy(images[start : start + BATCH]).permute(0, 3, 1, 2).float()
        pixels = ((batch - classifier.mean) * classifier.scale).requires_grad_()
        found = attribute(classifier.network, pixels, torch.from_numpy(targets[start : start + BATCH]))
        maps.append(found.double().numpy())
    return _scaled(np.concatenate(maps))


def _scaled(maps: Floats) -> Floats:
    """Scales each map to a maximum of 1."""
    largest = maps.max(axis=(1, 2), keepdims=True, initial=0)
    scaled: Floats = maps / np.where(largest > 0, largest, 1)
    return scaled
