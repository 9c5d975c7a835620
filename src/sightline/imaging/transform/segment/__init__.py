"""Segmentation: the options of the transform's fourth step, one module per method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline.config.schema import Option, Registry, require_one_of
from sightline.imaging.transform.step import between

if TYPE_CHECKING:
    from sightline.imaging.transform.masks import Mask
    from sightline.imaging.transform.ops import Pixels

SIDES = ("auto", "bright", "dark")
_USES = ("mask", "crop", "channel")


@dataclass
class Segmentation(Option):
    """Base class of the step's options."""

    def __call__(self, image: Pixels, background: Sequence[int]) -> tuple[Pixels, bool]:
        """Finds the foreground and applies it.

        Args:
            image: [h, w, c] uint8.
            background: A level for each channel, for masked-out pixels.

        Returns:
            The image, and whether no foreground could be separated from the background.
        """
        raise NotImplementedError


SEGMENT: Registry[Segmentation] = Registry("preprocess/segment", modules="sightline.imaging.transform.segment.*")


@SEGMENT.register("none")
@dataclass
class NoSegmentation(Segmentation):
    """Leaves the image unchanged."""

    def __call__(self, image: Pixels, background: Sequence[int]) -> tuple[Pixels, bool]:  # noqa: ARG002 - common signature
        """Returns the image itself."""
        return image, False


@dataclass
class Foreground(Segmentation):
    """Base class of the segmentation methods: finding the foreground, and applying its mask.

    If the mask is empty or full the image stays unchanged, which is reported.

    Attributes:
        use: "mask" replaces the background by the transform's, "crop" crops to the foreground's bounding box, "channel"
            adds the mask as a last channel (0 or 255).
        margin: Added on each side of the box, as a fraction of its longer side, 0..1; for "crop" only.
    """

    use: str
    margin: float

    def __post_init__(self) -> None:
        require_one_of("use", self.use, _USES)
        between("margin", self.margin, 0, 1)

    def find(self, image: Pixels) -> Mask:
        """Returns the mask of the foreground, [h, w] bool; all or nothing if it cannot be found.

        Args:
            image: [h, w, c] uint8, its longer side at most `max_side` if the option has that field.
        """
        raise NotImplementedError

    def mask(self, image: Pixels) -> Mask:
        """Returns the mask of the foreground of an image of any size, [h, w] bool."""
        import cv2
        import numpy as np

        from sightline.imaging.transform.ops import shrink_to

        mask = self.find(shrink_to(image, getattr(self, "max_side", max(image.shape[:2]))))
        if mask.shape == image.shape[:2]:
            return mask
        full = cv2.resize(mask.astype(np.uint8), image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        return np.asarray(full, np.bool_)

    def __call__(self, image: Pixels, background: Sequence[int]) -> tuple[Pixels, bool]:
        """Finds the foreground and applies it according to `use`.

        Returns:
            The image, with an additional channel for `use: channel`, and whether the mask was empty or full: then the
            image is unchanged (and the additional channel marks everything as foreground).
        """
        import numpy as np

        from sightline.imaging.transform.masks import crop

        mask = self.mask(image)
        useless = bool(mask.all() or not mask.any())
        if self.use == "channel":
            return np.dstack([image, np.where(mask | useless, np.uint8(255), np.uint8(0))]), useless
        if useless:
            return image, True
        if self.use == "crop":
            return crop(image, mask, self.margin), False
        return np.where(mask[:, :, None], image, np.asarray(background, np.uint8)), False
