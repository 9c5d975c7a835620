"""Denoising: the options of the transform's second step, one module per method."""

from __future__ import annotations

from sightline.config.schema import Registry
from sightline.imaging.transform.step import Nothing, Step

DENOISE: Registry[Step] = Registry("preprocess/denoise", modules="sightline.imaging.transform.denoise.*")
DENOISE.register("none")(Nothing)
