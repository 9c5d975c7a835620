"""Resizing: the options of the transform's last step before colour conversion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.config.schema import Option, Registry

if TYPE_CHECKING:
    from sightline.imaging.transform.ops import Pixels


@dataclass
class Resize(Option):
    """Base class of the ways to bring an image to a fixed size."""

    def __call__(self, image: Pixels, size: int, background: Sequence[int]) -> Pixels:
        """Returns the image at its fixed size, [size, size, c] uint8.

        Args:
            image: [h, w, c] uint8.
            size: Height and width of the result in pixels.
            background: A level for each channel, for areas that the image does not fill.
        """
        raise NotImplementedError


RESIZE: Registry[Resize] = Registry("preprocess/resize")


@RESIZE.register("stretch")
@dataclass
class Stretch(Resize):
    """Scales width and height independently to fit: keeps every pixel, but distorts shapes.

    Shrinking averages over areas, so that every pixel counts; enlarging is bilinear.
    Source: Quiring et al., Adversarial Preprocessing: image-scaling attacks, USENIX Security 2020 (why areas).
    """

    def __call__(self, image: Pixels, size: int, background: Sequence[int]) -> Pixels:  # noqa: ARG002 - common signature
        """Returns the image at its fixed size, [size, size, c] uint8."""
        from sightline.imaging.transform.ops import scale

        return scale(image, size, size)


@RESIZE.register("pad")
@dataclass
class Pad(Resize):
    """Scales to fit inside and fills the rest with the background (letterbox): keeps every pixel and all shapes."""

    def __call__(self, image: Pixels, size: int, background: Sequence[int]) -> Pixels:
        """Returns the image at its fixed size, [size, size, c] uint8."""
        import numpy as np

        from sightline.imaging.transform.ops import fit_side

        small = fit_side(image, size)
        out = np.empty((size, size, image.shape[2]), np.uint8)
        out[:] = np.asarray(background, np.uint8)
        top, left = (size - small.shape[0]) // 2, (size - small.shape[1]) // 2
        out[top : top + small.shape[0], left : left + small.shape[1]] = small
        return out


@RESIZE.register("crop")
@dataclass
class Crop(Resize):
    """Crops the central square and scales it: keeps shapes, but loses both ends of the longer side."""

    def __call__(self, image: Pixels, size: int, background: Sequence[int]) -> Pixels:  # noqa: ARG002 - common signature
        """Returns the image at its fixed size, [size, size, c] uint8."""
        import numpy as np

        from sightline.imaging.transform.ops import scale

        height, width = image.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        return scale(np.ascontiguousarray(image[top : top + side, left : left + side]), size, size)
