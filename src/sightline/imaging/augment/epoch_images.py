"""Images as the network sees them in each epoch of training: augmented by the policy, with the same draws."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sightline.config.schema import Option

Images = npt.NDArray[np.uint8]
_POSITIVE = 2**63 - 1


def epoch_images(images: Images, ids: Sequence[str], policy: Option, engine: str, seed: int, epoch: int) -> Images:
    """Returns images [n, height, width, channels] uint8 as the network gets them in an epoch, counted from 0.

    Args:
        images: [n, height, width, channels] uint8, preprocessed.
        ids: [n] their ids, which determine the draws.
        policy: The augmentation policy: `train.augment`.
        engine: `train.augment_on`: batch or albumentations.
        seed: `train.seed`.
        epoch: The epoch.
    """
    import torch

    from sightline.imaging.augment import albumentations_backend, draws, torch_backend

    keys = draws.keys(draws.sample_hashes(list(ids)), seed, epoch)
    if engine == "batch":
        of_batch = torch_backend.build(policy)
        if of_batch is None:
            return images
        return of_batch(torch.from_numpy(images), torch.from_numpy(keys)).round().clamp(0, 255).byte().numpy()
    of_image = albumentations_backend.build(policy, (images.shape[1], images.shape[2], images.shape[3]))
    if of_image is None:
        return images
    return np.stack([of_image(image, key & _POSITIVE) for image, key in zip(images, keys.tolist(), strict=True)])
